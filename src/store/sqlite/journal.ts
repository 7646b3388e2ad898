import type { CallerCounts } from '../../engine/callers.ts';
import type { MeterRow } from '../../engine/quota/meter-row.ts';
import type { UsageCounts } from '../../engine/usage.ts';

export type { UsageCounts } from '../../engine/usage.ts';

/**
 * What the SQLite store writes and reads back: rows. Memory decides what they say; the journal only keeps them.
 *
 * Rows are absolute (the state afterwards, never a difference), so writing one twice is writing it once, and a restart reads
 * exactly what the last commit left. Times are wall-clock milliseconds since 1970.
 */
export interface Journal {
  /** Identity of this file, made when it was created. */
  readonly storeId: string;
  /** How often the file was opened, this time included. Leases of this run carry it. */
  readonly boot: number;
  /** What earlier commits left, in parts of bounded size, parents before children. Call once, before the first commit. */
  load(): AsyncIterable<Rows>;
  /** One transaction. Rejects with a JournalError when nothing of it was kept. */
  commit(rows: Rows): Promise<void>;
  /** The sealed secret of a key. */
  readSecret(ordinal: number): Promise<Uint8Array | undefined>;
  /** Past imports, newest first: rows with id < before (0: from the newest). "": every pool. */
  readImports(query: { pool: string; before: number; limit: number }): Promise<ImportRow[]>;
  /** Size of the database file and its log. */
  sizeBytes(): Promise<number>;
  /** Says in the data dir where this owner listens, for clients that look there and for the error of a second owner. */
  announce(addresses: { grpc?: string; http?: string; socket?: string }): Promise<void>;
  /** Checkpoints, closes the file, gives the directory free. */
  close(): Promise<void>;
}

/** The transaction was not kept: full disk, read-only file, I/O error. */
export class JournalError extends Error {
  override readonly name = 'JournalError';
}

/** Everything one transaction writes; what is absent stays as it is. Also the shape of what load() gives. */
export interface Rows {
  /** More rows of the same transaction, each part made by serializeRows(). Not on load. */
  serialized?: Uint8Array[];
  meta?: Record<string, string>;
  /** Newest health revision. */
  revision?: number;
  /** On load: of every earlier boot, oldest first. In a commit: of this one. */
  boots?: BootRow[];
  pools?: PoolRow[];
  deletedPools?: string[];
  keys?: KeyRow[];
  /** Removes the key, its health, status, usage, cooldowns, quota, turns and affinities. Its leases are in endedLeases. */
  deletedKeys?: number[];
  health?: HealthRow[];
  usage?: UsageRow[];
  poolUsage?: PoolUsageRow[];
  modelUsage?: ModelUsageRow[];
  status?: StatusRow[];
  cooldowns?: CooldownRow[];
  endedCooldowns?: Pick<CooldownRow, 'ownerKind' | 'owner' | 'model'>[];
  quotas?: QuotaRow[];
  endedQuotas?: Pick<QuotaRow, 'ownerKind' | 'owner' | 'model'>[];
  meters?: StoredMeterRow[];
  endedMeters?: Pick<StoredMeterRow, 'ownerKind' | 'owner' | 'model'>[];
  callers?: CallerRow[];
  lanes?: LaneRow[];
  droppedLanes?: number[];
  turns?: TurnRow[];
  leases?: LeaseRow[];
  endedLeases?: Pick<LeaseRow, 'boot' | 'seq'>[];
  /** Leases of earlier boots that the crash took and a report brought back. */
  reclaimed?: ReclaimedRow[];
  replays?: ReplayRow[];
  affinities?: AffinityRow[];
  droppedAffinities?: Pick<AffinityRow, 'pool' | 'affinityKey'>[];
  removedKeys?: RemovedKeyRow[];
  imports?: ImportRow[];
  /** Forget replays older than `replays`, reclaimed leases with forgetTime before `reclaimed`, removed keys up to revision
   * `removedKeys`, and boots below `boots`. */
  prune?: { replays?: number; reclaimed?: number; removedKeys?: number; boots?: number };
}

export interface BootRow {
  boot: number;
  startTime: number;
  /** Newest lease sequence number that the commits of this boot know of. What is not above it and not open, has ended. */
  watermark: number;
}

export interface PoolRow {
  pool: string;
  defaultLeaseTtlMs: number;
  maxLeaseTtlMs: number;
  maxConcurrentLeases: number;
  maxTotalLeases: number;
  maxWaiting: number;
  description: string;
  autoSuccess: boolean;
  selection: number;
  version: number;
}

export interface KeyRow {
  /** Counts up, never reused; the key id is made of it. */
  ordinal: number;
  pool: string;
  fingerprint: string;
  redactedKey: string;
  project: string;
  weight: number;
  maxConcurrentLeases: number | null;
  models: readonly string[];
  source: string;
  labels: Readonly<Record<string, string>>;
  tier: number;
  disabled: boolean;
  createTime: number;
  updateTime: number;
  version: number;
  createRevision: number;
  /** Encrypted key. In a commit, absent: the stored one stays. Never in what load() gives. */
  sealed?: Uint8Array;
}

export interface HealthRow {
  ordinal: number;
  factor: number;
  consecutiveFailures: number;
  lastErrorClass: number;
  lastSuccessTime: number | null;
  lastFailureTime: number | null;
  lastAcquireTime: number | null;
  revision: number;
}

/** `acquired` is not kept: it is the sum of these and of the key's active leases, so that the sum always closes. */
export interface UsageRow extends UsageCounts {
  ordinal: number;
}

/** Counts of all keys of a pool, deleted ones too, and what is counted for the pool only. */
export interface PoolUsageRow extends UsageCounts {
  pool: string;
  acquiresRejected: number;
  failuresByClass: Record<string, number>;
}

export interface ModelUsageRow extends UsageCounts {
  pool: string;
  model: string;
}

/** What a key is suspected of or was disabled for, and the project that errors name for it. */
export interface StatusRow {
  ordinal: number;
  /** ErrorClass; 0: not. */
  disabledFor: number;
  /** "": none is known. */
  learnedProject: string;
  learnedFrom: string;
  learnedTime: number;
  /** ErrorClass; 0: of nothing. The rest is of the suspicion. */
  suspectedOf: number;
  suspectedTime: number;
  suspectedBy: string;
  held: boolean;
  refusals: number;
  unanswered: number;
  unansweredClass: number;
  nextCheck: number;
  /** When Gemini was last asked about the key; null: never. */
  verifiedTime: number | null;
}

/** Whose cooldown or quota it is. */
interface Owned {
  /** `solo`: the project of one key that has no known project. `model`: a model that is overloaded. */
  ownerKind: 'key' | 'project' | 'solo' | 'model';
  /** The key's ordinal in decimal, or the name. */
  owner: string;
  /** "": every model. */
  model: string;
}

export interface CooldownRow extends Owned {
  cause: number;
  untilTime: number;
  sinceTime: number;
  strikes: number;
  /** null: never. */
  probeTime: number | null;
  forgetTime: number | null;
  halfOpen: boolean;
  /** The midnight (and some) that it lasts to; null: none. */
  dayEnd: number | null;
  /** Boot and number of the lease that tries it, as "3.42"; "": none does. */
  trial: string;
}

/** Limits that an administrator set; null: none. */
export interface QuotaRow extends Owned {
  requestsPerMinute: number | null;
  inputTokensPerMinute: number | null;
  requestsPerDay: number | null;
  tokensPerDay: number | null;
}

/** What was used of a quota, and what refusals taught of it. */
export interface StoredMeterRow extends Owned, MeterRow {}

export interface CallerRow extends CallerCounts {
  caller: string;
  /** Of the last day. */
  refutations: readonly number[];
  /** Of the last hour. */
  lessons: readonly number[];
}

export interface LaneRow {
  lane: number;
  pool: string;
  /** "": the general lane. */
  model: string;
  /** Virtual time by tier, tier 0 first. */
  virtualTimes: readonly number[];
  /** Picks so far: what "least recently picked" is counted in. */
  picks: number;
  /** Project that a pool stays with until it is spent, as "kind owner"; "": none. */
  current: string;
}

export interface TurnRow {
  lane: number;
  ordinal: number;
  pass: number;
  lastPick: number;
}

/** 1 active; 2 expired, 3 its session ended: both wait for a late report. */
export type LeaseStateCode = 1 | 2 | 3;

export interface LeaseRow {
  boot: number;
  seq: number;
  ordinal: number;
  model: string;
  caller: string;
  acquireTime: number;
  expireTime: number;
  state: LeaseStateCode;
  sessionId: string;
  /** Outcome of the last report on a kept lease; 0: none. */
  lastOutcome: number;
}

export interface ReclaimedRow {
  boot: number;
  seq: number;
  forgetTime: number;
}

export interface ReplayRow {
  caller: string;
  method: string;
  requestId: string;
  contentHash: string;
  time: number;
  /** JSON. Never a secret. */
  answer: string;
}

export interface AffinityRow {
  pool: string;
  affinityKey: string;
  ordinal: number;
  time: number;
}

export interface RemovedKeyRow {
  ordinal: number;
  pool: string;
  revision: number;
}

export interface ImportRow {
  id: number;
  pool: string;
  source: string;
  importTime: number;
  created: number;
  updated: number;
  unchanged: number;
  rejected: number;
}
