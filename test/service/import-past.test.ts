import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { expect, test } from 'vitest';
import {
  ErrorClass,
  GetKeyRequestSchema,
  GetStatsRequestSchema,
  ImportConflict,
  ImportKeysRequestSchema,
  ImportStatus,
  type Key,
  KeyState,
  type KeyToImportSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { getStats } from '../../src/server/service/get-stats.ts';
import { importKeys } from '../../src/server/service/import-keys.ts';
import type { Probe } from '../../src/store/probe.ts';
import { movedClock, openService, START_TIME, type TestService } from '../support/service.ts';
import { tempDir } from '../support/temp-dir.ts';

const apiKey = 'AQ.test-key-000001';
const DAY_MS = 86_400_000;
const NOW = START_TIME + 1_000;

async function imported(
  { context, call }: TestService,
  key: MessageInitShape<typeof KeyToImportSchema>,
  onConflict: ImportConflict = ImportConflict.KEEP,
) {
  const request = create(ImportKeysRequestSchema, { source: 'of all', keys: [{ apiKey, ...key }], onConflict });
  const { results } = await importKeys(context, request, call);
  return results[0]!;
}

async function keyOf({ admin, call }: TestService): Promise<Key> {
  const { key } = await admin.getKey(create(GetKeyRequestSchema, { keyId: 'key-00000001' }), call);
  return key!;
}

const HISTORY = {
  healthFactor: 0.4,
  consecutiveFailures: 3,
  lastErrorClass: ErrorClass.SERVER_ERROR,
  lastAcquireTime: timestampFromMs(NOW - DAY_MS),
  lastFailureTime: timestampFromMs(NOW - 2 * DAY_MS),
  createTime: timestampFromMs(NOW - 30 * DAY_MS),
  failed: 12n,
};

test('a key comes with a cap, a source and a switch of its own', async () => {
  const service = await openService();
  await imported(service, { maxConcurrentLeases: 0, source: 'its own', disabled: true });
  expect(await keyOf(service)).toMatchObject({
    maxConcurrentLeases: 0,
    source: 'its own',
    disabled: true,
    health: { state: KeyState.DISABLED_ADMIN },
  });
  expect((await imported(service, {}, ImportConflict.UPDATE)).status).toBe(ImportStatus.UPDATED);
  expect(await keyOf(service)).toMatchObject({ source: 'of all', disabled: true });
});

test('what became of a key elsewhere is taken over, and is the same after a restart', async () => {
  const dataDir = tempDir();
  const first = await openService({ dataDir, clock: movedClock() });
  await imported(first, { weight: 2, history: HISTORY });
  const before = await keyOf(first);
  expect(before).toMatchObject({
    weight: 2,
    createTime: HISTORY.createTime,
    health: {
      state: KeyState.AVAILABLE,
      effectiveWeight: 0.8,
      consecutiveFailures: 3,
      lastErrorClass: ErrorClass.SERVER_ERROR,
      lastAcquireTime: HISTORY.lastAcquireTime,
      lastFailureTime: HISTORY.lastFailureTime,
    },
    usage: { acquired: 12n, failed: 12n, succeeded: 0n },
  });
  const stats = await getStats(first.context, create(GetStatsRequestSchema), first.call);
  expect(stats.total?.usage?.failed).toBe(0n);
  await first.close();
  expect(await keyOf(await openService({ dataDir, clock: movedClock() }))).toEqual(before);
});

test('of a key that is here already the history changes nothing', async () => {
  const service = await openService({ clock: movedClock() });
  await imported(service, {});
  const before = await keyOf(service);
  const again = { history: { ...HISTORY, quarantined: true } };
  expect((await imported(service, again)).status).toBe(ImportStatus.UNCHANGED);
  expect((await imported(service, again, ImportConflict.UPDATE)).status).toBe(ImportStatus.UNCHANGED);
  expect(await keyOf(service)).toEqual(before);
});

test('times that are still to come count as now', async () => {
  const service = await openService({ clock: movedClock() });
  const later = timestampFromMs(NOW + DAY_MS);
  await imported(service, { history: { lastAcquireTime: later, lastFailureTime: later, createTime: later } });
  const now = timestampFromMs(NOW);
  expect(await keyOf(service)).toMatchObject({
    createTime: now,
    health: { lastAcquireTime: now, lastFailureTime: now },
  });
});

test('a key that was out of use is quarantined until Gemini takes it, also over a restart', async () => {
  const dataDir = tempDir();
  const asked: string[] = [];
  const probe: Probe = async (order) => {
    asked.push(order.apiKey);
    return { latencyMs: 1, error: undefined };
  };
  const clock = movedClock();
  const first = await openService({ dataDir, clock, probe });
  await imported(first, { history: { quarantined: true } });
  expect((await keyOf(first)).health).toMatchObject({
    state: KeyState.QUARANTINED,
    verification: { nextTime: timestampFromMs(NOW + 60_000) },
  });
  await first.close();
  const second = await openService({ dataDir, clock, probe });
  expect((await keyOf(second)).health?.state).toBe(KeyState.QUARANTINED);
  expect(asked).toEqual([]);
  clock.move(60_000);
  // Whatever is imported next wakes whoever asks.
  await imported(second, {});
  await expect.poll(async () => (await keyOf(second)).health?.state).toBe(KeyState.AVAILABLE);
  expect(asked).toEqual([apiKey]);
});

test('a key that was out of use is disabled where nobody asks Gemini', async () => {
  const service = await openService({ verify: false });
  await imported(service, { history: { quarantined: true } });
  expect((await keyOf(service)).health?.state).toBe(KeyState.DISABLED_AUTO);
});

test.each<[field: string, wrong: MessageInitShape<typeof KeyToImportSchema>, says: string]>([
  ['max_concurrent_leases', { maxConcurrentLeases: -1 }, '-1; allowed: 0 to 2147483647'],
  ['source', { source: 'x'.repeat(129) }, 'at most 128 characters'],
  ['history.health_factor', { history: { healthFactor: 0 } }, '0; allowed: 0.1 to 1'],
  ['history.health_factor', { history: { healthFactor: 1.1 } }, '1.1; allowed: 0.1 to 1'],
  ['history.health_factor', { history: { healthFactor: Number.NaN } }, 'NaN; allowed: 0.1 to 1'],
  ['history.consecutive_failures', { history: { consecutiveFailures: -1 } }, '-1; allowed: 0 to '],
  ['history.last_error_class', { history: { lastErrorClass: 99 as ErrorClass } }, 'ERROR_CLASS_KEY_INVALID'],
  ['history.last_acquire_time', { history: { lastAcquireTime: { seconds: -1n } } }, 'the years 1970 to 9999'],
  ['history.last_failure_time', { history: { lastFailureTime: { nanos: -1 } } }, 'the years 1970 to 9999'],
  ['history.create_time', { history: { createTime: { seconds: 2n ** 62n } } }, 'the years 1970 to 9999'],
  ['history.failed', { history: { failed: -1n } }, '-1; allowed: 0 to '],
  ['history.failed', { history: { failed: 2n ** 62n } }, 'allowed: 0 to 1099511627776'],
])('a key whose %s cannot be is rejected, case %#', async (field, wrong, says) => {
  const { status, error } = await imported(await openService(), wrong);
  expect(status).toBe(ImportStatus.REJECTED);
  expect(error?.message).toContain(`keys[0].${field} is `);
  expect(error?.message).toContain(says);
});
