import { ImportConflict, KeyReuse, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import type {
  AcquireOrder,
  BatchOrder,
  CreateKeyOrder,
  ImportOrder,
  KeySettings,
  Report,
} from '../../src/store/store.ts';

/** Orders to a store as the service makes them, with what a test does not care about filled in. */
export function acquireOrder(order: Partial<AcquireOrder> = {}): AcquireOrder {
  return {
    caller: 'local',
    pool: 'default',
    model: '',
    affinityKey: '',
    leaseTtlMs: undefined,
    maxWaitMs: 0,
    excludeKeyIds: [],
    excludeProjects: [],
    estimatedTokens: 0,
    priority: 0,
    sessionId: '',
    requireProject: '',
    requireKeyId: '',
    idempotency: undefined,
    ...order,
  };
}

export function batchOrder(order: Partial<BatchOrder> = {}): BatchOrder {
  return {
    caller: 'local',
    pool: 'default',
    model: '',
    batchSizes: [1],
    leaseTtlMs: undefined,
    maxWaitMs: 0,
    keyReuse: KeyReuse.ALLOWED,
    allowPartial: false,
    idempotency: undefined,
    ...order,
  };
}

export function report(leaseId: string, order: Partial<Report> = {}): Report {
  return {
    caller: 'local',
    leaseId,
    outcome: Outcome.SUCCESS,
    finding: undefined,
    latencyMs: undefined,
    inputTokens: 0,
    outputTokens: 0,
    cachedTokens: 0,
    keepLease: false,
    idempotency: undefined,
    relaxed: false,
    ...order,
  };
}

export function keySettings(settings: Partial<KeySettings> = {}): KeySettings {
  return {
    project: '',
    weight: 1,
    maxConcurrentLeases: undefined,
    models: [],
    source: 'test',
    labels: {},
    tier: 0,
    disabled: false,
    ...settings,
  };
}

export function createKeyOrder(apiKey: string, settings: Partial<KeySettings> = {}): CreateKeyOrder {
  return { pool: 'default', apiKey, settings: keySettings(settings), idempotency: undefined };
}

export function importOrder(apiKeys: readonly string[], order: Partial<ImportOrder> = {}): ImportOrder {
  return {
    pool: 'default',
    items: apiKeys.map((apiKey) => ({
      key: {
        apiKey,
        weight: undefined,
        project: '',
        models: [],
        labels: {},
        tier: 0,
        maxConcurrentLeases: undefined,
        source: '',
        disabled: false,
        history: undefined,
      },
    })),
    source: 'test',
    onConflict: ImportConflict.KEEP,
    validateOnly: false,
    idempotency: undefined,
    ...order,
  };
}

/** API keys of no real project. */
export function apiKeys(count: number, prefix = 'AQ.test-key-'): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${String(index).padStart(6, '0')}`);
}
