import type { CallerCounts } from '../engine/callers.ts';
import type { Counters } from '../engine/counters.ts';
import type { Reason } from '../engine/errors.ts';
import type { FaultCounts } from '../engine/fault-domain.ts';
import type { KeySettings, PoolSettings } from '../engine/settings.ts';
import type { ProviderErrorInit } from '../gemini/describe-thrown.ts';
import type { Finding, LimitName } from '../gemini/finding.ts';

export type { KeySettings, PoolSettings } from '../engine/settings.ts';

import type {
  ErrorClass,
  HealthEventKind,
  ImportConflict,
  ImportStatus,
  KeyReuse,
  KeyState,
  Outcome,
} from '../gen/keybalancer/v1/keybalancer_pb.ts';

/**
 * Durable pools of keys and their leases: what the service functions stand on. Every answer is a promise, since the
 * next implementation lets a database that several servers share decide. Refusals are rejected BalancerErrors.
 *
 * What an implementation promises:
 *  - imports, reports, renewals and admin changes are durable when their promise resolves; one whose commit failed rejects
 *    with STORE_UNAVAILABLE and leaves no trace;
 *  - an acquire may be answered before it is durable, if a report of its lease id alone brings it back exactly once;
 *  - health changes reach listeners only after the change is durable;
 *  - requests with an idempotency key are answered once and replayed for 10 minutes, restarts included.
 *
 * Durations are milliseconds; times are wall-clock milliseconds since 1970. Requests arrive validated in form
 * (ranges, characters, sizes); what needs state (does the pool exist?) is judged here.
 */
export interface Store {
  /** Leases one key, waiting at most maxWaitMs. An abort while it waits takes no key and rejects OPERATION_CANCELLED. */
  acquire(order: AcquireOrder, signal?: AbortSignal): Promise<LeaseGrant>;
  acquireBatches(order: BatchOrder, signal?: AbortSignal): Promise<BatchGrant>;
  report(report: Report): Promise<ReportOutcome>;
  renew(order: RenewOrder): Promise<Renewal>;
  /** Releases the leases bound to a session. Resolves when that is durable. */
  endSession(sessionId: string): Promise<void>;

  importKeys(order: ImportOrder): Promise<ImportOutcome>;
  createKey(order: CreateKeyOrder): Promise<Replayable<KeyView>>;
  updateKey(order: UpdateKeyOrder): Promise<Replayable<KeyView>>;
  deleteKey(order: { keyId: string; etag: string; allowMissing: boolean }): Promise<void>;
  resetKey(keyId: string): Promise<KeyView>;
  getKey(keyId: string): Promise<KeyView>;
  /** Asks Gemini. Rejects KEY_NOT_FOUND; an answer that refuses the key, or none, is a result. */
  testKey(order: KeyTestOrder): Promise<KeyTestView>;
  /** In key id order. */
  listKeys(query: KeyQuery): Promise<Page<KeyView> & { totalSize: number }>;

  /** In lease ref order. */
  listLeases(query: { pool: string; keyId: string; after: string; limit: number }): Promise<Page<LeaseView>>;
  revokeLease(leaseRef: string): Promise<void>;
  /** Newest first. */
  listImports(query: { pool: string; after: string; limit: number }): Promise<Page<ImportView>>;

  /** In name order. */
  listPools(query: { after: string; limit: number }): Promise<Page<PoolView>>;
  createPool(order: { pool: PoolSettings; idempotency: Idempotency | undefined }): Promise<PoolView>;
  updatePool(order: { pool: string; etag: string; change: Partial<Omit<PoolSettings, 'pool'>> }): Promise<PoolView>;
  deletePool(order: { pool: string; etag: string }): Promise<void>;

  /** In order of project and model. `after`: as `next` said. */
  listQuotas(query: { project: string; after: string; limit: number }): Promise<Page<QuotaView>>;
  /** Limits that are absent stay as they are. The project need not exist yet. */
  setQuota(order: QuotaOrder): Promise<QuotaView>;
  /** Limits that nobody knows are no error. */
  deleteQuota(order: { project: string; model: string }): Promise<void>;

  stats(query: { pools: readonly string[]; includeModels: boolean }): Promise<StoreStats>;
  /** What happened in each pool since the process began, in name order. */
  counters(): Promise<PoolCounters[]>;
  /** What keeps keys from serving, added up. A walk over all projects, in slices. */
  constraints(): Promise<Constraints>;
  /** The first keys by key id, up to so many, and how many there are. */
  keyFigures(limit: number): Promise<{ keys: KeyFigures[]; total: number }>;

  /** Where the stream of health changes stands. Revisions of one storeId only grow, restarts included. */
  position(): Promise<{ storeId: string; revision: number }>;
  /** Calls back after each commit that changed health, in revision order. Returns the way to stop it. */
  subscribe(listener: (changes: readonly HealthChange[]) => void): () => void;
  /** Keys whose health changed after sinceRevision (0: every key), in key id order, beginning after key id `after` ("": the first). */
  healthPage(query: {
    pools: readonly string[];
    sinceRevision: number;
    after: string;
    limit: number;
  }): Promise<Page<KeyView>>;
  /** Keys removed after sinceRevision; undefined when that is too long ago to know. */
  removedSince(sinceRevision: number): Promise<readonly RemovedKey[] | undefined>;

  /** From now on acquires, waiting ones too, are refused with DRAINING; reports still count. */
  drain(): void;
  /** Commits what is open and lets go of everything. */
  close(): Promise<void>;
}

/** Names a request so that its repeat gets the first answer. Scoped by caller and method. */
export interface Idempotency {
  caller: string;
  method: string;
  requestId: string;
  /** Hash of everything in the request that its answer depends on. Other content: REQUEST_ID_REUSED. */
  contentHash: string;
}

export type Replayable<T> = T & { replayed: boolean };

export interface Page<T> {
  items: T[];
  /** Where the next page begins (`after`); "" at the end. */
  next: string;
}

export interface AcquireOrder {
  caller: string;
  pool: string;
  /** Without "models/"; "": any. */
  model: string;
  affinityKey: string;
  /** undefined: the pool's default. Cut to the pool's maximum. */
  leaseTtlMs: number | undefined;
  maxWaitMs: number;
  excludeKeyIds: readonly string[];
  excludeProjects: readonly string[];
  estimatedTokens: number;
  priority: number;
  /** "": not bound. */
  sessionId: string;
  requireProject: string;
  requireKeyId: string;
  idempotency: Idempotency | undefined;
}

export interface LeaseGrant {
  leaseId: string;
  keyId: string;
  /** Secret. */
  apiKey: string;
  pool: string;
  model: string;
  project: string;
  ttlMs: number;
  expireTime: number;
  affinityHit: boolean;
  labels: Readonly<Record<string, string>>;
  waitedMs: number;
  replayed: boolean;
}

export interface BatchOrder {
  caller: string;
  pool: string;
  model: string;
  batchSizes: readonly number[];
  leaseTtlMs: number | undefined;
  maxWaitMs: number;
  keyReuse: KeyReuse;
  allowPartial: boolean;
  idempotency: Idempotency | undefined;
}

export interface BatchGrant {
  batches: { requestedSize: number; leases: LeaseGrant[] }[];
  replayed: boolean;
}

export interface Report {
  caller: string;
  leaseId: string;
  outcome: Outcome;
  /** What the classifier made of the error; undefined unless outcome is FAILURE. */
  finding: Finding | undefined;
  latencyMs: number | undefined;
  inputTokens: number;
  outputTokens: number;
  cachedTokens: number;
  keepLease: boolean;
  /** Given with keepLease. */
  idempotency: Idempotency | undefined;
  /** Nobody waits for the answer: it may come some milliseconds later, if that makes it cheaper. */
  relaxed: boolean;
}

export interface ReportOutcome {
  errorClass: ErrorClass;
  retryAdvice: RetryAdviceView | undefined;
  key: KeyView;
  duplicate: boolean;
  late: boolean;
}

export interface RetryAdviceView {
  retry: boolean;
  sameKey: boolean;
  delayMs: number;
  excludeKeyIds: string[];
  excludeProjects: string[];
}

export interface RenewOrder {
  caller: string;
  leaseId: string;
  leaseTtlMs: number | undefined;
}

export interface Renewal {
  ttlMs: number;
  expireTime: number;
}

export interface KeyToImportOrder {
  /** Secret. */
  apiKey: string;
  weight: number | undefined;
  project: string;
  models: readonly string[];
  labels: Readonly<Record<string, string>>;
  tier: number;
  /** undefined: the pool's; 0: no limit. */
  maxConcurrentLeases: number | undefined;
  /** "": as the order says. */
  source: string;
  disabled: boolean;
  history: KeyHistoryOrder | undefined;
}

/** What became of a key where it was before; undefined times are not known. */
export interface KeyHistoryOrder {
  /** 0.1 to 1. */
  healthFactor: number;
  quarantined: boolean;
  consecutiveFailures: number;
  lastErrorClass: ErrorClass;
  lastAcquireTime: number | undefined;
  lastFailureTime: number | undefined;
  createTime: number | undefined;
  failed: number;
}

/** One item of an import: a key, or why the service refused it in form. */
export type ImportItem = { key: KeyToImportOrder } | { refusal: ItemRefusal };

export interface ItemRefusal {
  reason: Reason;
  /** Never the key. */
  message: string;
}

export interface ImportOrder {
  pool: string;
  items: readonly ImportItem[];
  source: string;
  onConflict: ImportConflict;
  validateOnly: boolean;
  idempotency: Idempotency | undefined;
}

export interface ImportOutcome {
  /** As many as items, in their order. */
  results: { status: ImportStatus; keyId: string; refusal: ItemRefusal | undefined }[];
  record: ImportView;
  replayed: boolean;
}

export interface ImportView {
  /** "" when only validated. */
  importId: string;
  pool: string;
  source: string;
  importTime: number;
  created: number;
  updated: number;
  unchanged: number;
  rejected: number;
}

export interface CreateKeyOrder {
  pool: string;
  /** Secret. */
  apiKey: string;
  settings: KeySettings;
  idempotency: Idempotency | undefined;
}

export interface UpdateKeyOrder {
  keyId: string;
  /** "": not checked. */
  etag: string;
  change: Partial<KeySettings>;
  /** Secret; undefined: the key stays. */
  newApiKey: string | undefined;
  idempotency: Idempotency | undefined;
}

export interface KeyQuery {
  /** "": every pool. */
  pool: string;
  states: readonly KeyState[];
  project: string;
  source: string;
  labels: Readonly<Record<string, string>>;
  after: string;
  limit: number;
}

export interface KeyTestOrder {
  keyId: string;
  /** As in ProbeOrder. */
  model: string;
  modelsPageSize: number;
  timeoutMs: number;
  /** Whether the result changes the key's health. */
  apply: boolean;
  signal: AbortSignal;
}

export interface KeyTestView {
  keyId: string;
  ok: boolean;
  errorClass: ErrorClass;
  /** Redacted. */
  error: ProviderErrorInit | undefined;
  latencyMs: number;
}

export interface QuotaOrder {
  project: string;
  /** "": every model of the project that has no limits of its own. */
  model: string;
  limits: Partial<Record<LimitName, number>>;
}

export interface QuotaView {
  /** Of a key whose project is unknown, its key id. */
  project: string;
  model: string;
  limits: Partial<Record<LimitName, LimitView>>;
}

export interface LimitView {
  value: number;
  origin: 'set' | 'learned';
  /** In the running window. Of model "": 0. */
  used: number;
  /** When the window ends; undefined: nothing is used. */
  resetTime: number | undefined;
}

/** A key as others may see it: its settings, health and counts, never its secret. */
export interface KeyView extends KeySettings {
  keyId: string;
  pool: string;
  redactedKey: string;
  fingerprint: string;
  etag: string;
  createTime: number;
  updateTime: number;
  state: KeyState;
  effectiveWeight: number;
  cooldowns: CooldownView[];
  /** Of a quarantined key. */
  verification: VerificationView | undefined;
  /** Whose quota it shares: `project`, else the learned one. "": unknown. */
  quotaProject: string;
  projectLearned: boolean;
  consecutiveFailures: number;
  lastErrorClass: ErrorClass;
  lastSuccessTime: number | undefined;
  lastFailureTime: number | undefined;
  lastAcquireTime: number | undefined;
  activeLeases: number;
  usage: UsageView;
  /** Revision of the newest change that watchers were or will be told of, and of the key's creation. */
  revision: number;
  createRevision: number;
}

export interface CooldownView {
  /** "": every model. */
  model: string;
  cause: ErrorClass;
  untilTime: number;
  projectWide: boolean;
  /** From then on one call at a time tries whether it is over; undefined: not before untilTime. */
  probeTime: number | undefined;
}

export interface VerificationView {
  /** undefined: verification is off. */
  nextTime: number | undefined;
  /** Answers in a row that refused the key. */
  refusals: number;
  /** Attempts in a row without an answer, and why there was none. */
  unanswered: number;
  unansweredClass: ErrorClass;
}

/** What one caller's reports led to. */
export interface CallerView extends CallerCounts {
  caller: string;
}

/** acquired = active + succeeded + failed + expired + unused + released. */
export interface UsageView {
  acquired: number;
  succeeded: number;
  failed: number;
  expired: number;
  unused: number;
  released: number;
  late: number;
  calls: number;
  inputTokens: number;
  outputTokens: number;
  cachedTokens: number;
}

export interface LeaseView {
  leaseRef: string;
  keyId: string;
  pool: string;
  model: string;
  holder: string;
  acquireTime: number;
  expireTime: number;
}

export interface PoolView extends PoolSettings {
  etag: string;
  stats: PoolStatsView;
}

export interface LatencyView {
  count: number;
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
  maxMs: number;
}

export interface PoolStatsView {
  pool: string;
  totalKeys: number;
  availableKeys: number;
  coolingKeys: number;
  quarantinedKeys: number;
  disabledKeys: number;
  activeLeases: number;
  waitingAcquires: number;
  usage: UsageView;
  acquiresRejected: number;
  acquireLatency: LatencyView;
  providerLatency: LatencyView;
  models: ModelStatsView[];
  /** By ErrorClass name, such as RATE_LIMITED_MINUTE. */
  failuresByClass: Record<string, number>;
  keysBySource: Record<string, number>;
  averageWeight: number;
}

export interface PoolCounters extends Counters {
  pool: string;
}

export interface ModelStatsView {
  model: string;
  availableKeys: number;
  usage: UsageView;
  nextAvailableTime: number | undefined;
}

export interface StoreStats {
  /** Of all pools, whatever the query named; its pool name is "". */
  total: PoolStatsView;
  /** Those asked for, in name order. */
  pools: PoolStatsView[];
  /** Of all pools, at most 100, most refuted reports first. */
  callers: CallerView[];
  databaseBytes: number;
  cache: { size: number; capacity: number; hits: number; misses: number };
  /** What the keys hold in memory, all structures counted. */
  keysBytes: number;
  /** Group commits since the start: how many, and how many operations they carried. */
  commits: { count: number; operations: number; failures: number; latency: LatencyView };
}

/** What keeps keys from serving, added up. */
export interface Constraints {
  /** Cooldowns that run now. */
  cooldowns: CooldownTotal[];
  /** Limits that are known, set or learned. */
  quotas: QuotaTotal[];
}

export interface CooldownTotal {
  /** What rests: a key, a project (or one of its models), or a model for everyone. */
  scope: 'key' | 'project' | 'model';
  cause: ErrorClass;
  count: number;
  /** Until the last of them ends. */
  longestMs: number;
}

/** Of one model and one kind of limit, over the projects that have keys in the pool. */
export interface QuotaTotal {
  pool: string;
  /** undefined: of the models beyond the bound, together. */
  model: string | undefined;
  limit: LimitName;
  used: number;
  /** Of each project what is left of its own limit, never less than 0. */
  left: number;
}

/** A key in short, for figures of many. */
export interface KeyFigures {
  keyId: string;
  pool: string;
  /** Whose quota it shares; "": unknown. */
  project: string;
  state: KeyState;
  activeLeases: number;
  /** Since the process began; undefined: there were none. */
  faults: Readonly<FaultCounts> | undefined;
}

export interface HealthChange {
  revision: number;
  time: number;
  kind: HealthEventKind;
  pool: string;
  /** Of POOL_EXHAUSTED and POOL_RECOVERED; "": every model. */
  model: string;
  keyId: string;
  /** Absent for pool events and KEY_REMOVED. */
  key: KeyView | undefined;
  previousState: KeyState;
}

export interface RemovedKey {
  keyId: string;
  pool: string;
  revision: number;
}
