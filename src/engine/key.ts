import { ErrorClass, KeyState } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Due } from './deadline-heap.ts';
import type { FaultCounts } from './fault-domain.ts';
import type { Health } from './health.ts';
import type { Lease } from './lease.ts';
import { CLEARED_OF_SUSPENSION } from './policy.ts';
import type { Pool } from './pool.ts';
import { allowsNothing, type Limits } from './quota/limits.ts';
import type { Meter } from './quota/meter.ts';
import type { Moment } from './quota/moment.ts';
import { isHalfOpen, type Rest, restsUntil } from './rest.ts';
import type { KeySettings } from './settings.ts';
import type { UsageCounts } from './usage.ts';

/** Whatever rests: a key, the project whose quota its keys share, or a model. As a Due it falls due when one of its rests changes by itself. */
export interface Resting extends Due {
  readonly kind: 'key' | 'project' | 'model';
  rests: readonly Rest[];
  /** Keys that its rests keep from serving; none for a model, which no key is to blame for. */
  readonly keys: ReadonlySet<Key>;
}

/** Keys of one Google Cloud project, in whatever pools: they share its quota. */
export interface Project extends Resting {
  readonly kind: 'project';
  /** "": unknown; then it has just one key. */
  readonly name: string;
  readonly keys: Set<Key>;
  /** Where its keys are: in each pool they are one group of the lanes. */
  places: readonly Place[];
  /** What is known and used of its quota, by model; made on first use. */
  gates: Map<string, Gate> | undefined;
  /** Limits of models that have none of their own. */
  defaults: Limits;
}

export interface Place {
  readonly pool: Pool;
  readonly group: number;
  keys: number;
}

/** Quota of one (project, model). As a Due: when it may be called again, while its windows are full. */
export interface Gate extends Due {
  readonly project: Project;
  readonly model: string;
  meter: Meter;
}

/** A model that is overloaded for everyone: a breaker across keys and pools. */
export interface Breaker extends Resting {
  readonly kind: 'model';
  readonly model: string;
  /** Overloaded answers in a row, and when the last good one came. */
  failures: number;
  lastSuccess: number;
}

/** A key that reports call invalid or suspended, until Gemini itself was asked. As a Due: when it is to be asked. */
export interface Suspicion extends Due {
  readonly key: Key;
  readonly cause: ErrorClass;
  readonly since: number;
  /** Caller whose report it was; "": the server's own test. */
  readonly caller: string;
  /** Out of use meanwhile. A caller who was wrong too often is not believed so far. */
  held: boolean;
  /** Held on its caller's word alone: Gemini was not asked yet. */
  onWord: boolean;
  /** Answers that refused the key, and attempts in a row that got no answer, since. */
  refusals: number;
  unanswered: number;
  unansweredClass: ErrorClass;
}

/** The project that errors name for a key. An administrator's goes before it. */
export interface LearnedProject {
  readonly name: string;
  /** Who taught it; "": the server's own test. */
  readonly caller: string;
  readonly time: number;
}

/** Of most keys of a large pool: a set of its own costs a quarter of a kilobyte. */
export const NO_LEASES: ReadonlySet<Lease> = new Set();

/** A key without its secret. */
export interface Key extends Resting {
  /** Counts up over all pools, never reused. */
  readonly ordinal: number;
  readonly pool: Pool;
  /** Its place in the pool's lanes; reused once the key is gone. */
  readonly slot: number;
  /** Its project's group in the pool's lanes. */
  group: number;
  readonly kind: 'key';
  settings: KeySettings;
  project: Project;
  learnedProject: LearnedProject | undefined;
  suspicion: Suspicion | undefined;
  /** When Gemini was last asked about it; -Infinity: never in this run. */
  lastVerified: number;
  /** Why it was disabled for good; UNSPECIFIED: it was not. */
  disabledFor: ErrorClass;
  health: Health;
  /** Kept up to date by Pool.refresh. */
  state: KeyState;
  /** Leases that are active, reported or not yet expired. */
  active: number;
  /** Its leases that can still be reported: active, expired, or left by their session. Engine.hold and forget change it. */
  leases: ReadonlySet<Lease>;
  readonly usage: UsageCounts;
  /** Its failures, in this run only; undefined: there were none. */
  faults: FaultCounts | undefined;
  lastAcquire: number | undefined;
  /** When its API key was replaced; what leases of before report says nothing of the new one. In this run only. */
  secretSince: number;
  readonly record: KeyRecord;
}

/** What the store keeps of a key and the engine only carries. Times are wall-clock milliseconds. */
export interface KeyRecord {
  fingerprint: string;
  redactedKey: string;
  createTime: number;
  updateTime: number;
  /** Counts up with each change of settings. */
  version: number;
  /** Newest health revision that tells of this key. */
  revision: number;
  createRevision: number;
}

export function stateOf(key: Key, now: number): KeyState {
  if (key.settings.disabled) return KeyState.DISABLED_ADMIN;
  if (key.disabledFor !== ErrorClass.UNSPECIFIED) return KeyState.DISABLED_AUTO;
  if (key.suspicion?.held) return KeyState.QUARANTINED;
  if (restsUntil(key.rests, '', now) === 0 && restsUntil(key.project.rests, '', now) === 0) return KeyState.AVAILABLE;
  return key.rests.some((rest) => rest.cause === ErrorClass.KEY_SUSPENDED && rest.until > now)
    ? KeyState.QUARANTINED
    : KeyState.COOLING;
}

/** Name of the project whose quota the key shares; "": unknown. */
export function projectName(key: Pick<Key, 'settings' | 'learnedProject'>): string {
  return key.settings.project || (key.learnedProject?.name ?? '');
}

/** Until when cooldowns of the key or its project forbid the model; 0: none does. "": only what covers every model. */
export function restingUntil(key: Key, model: string, now: number): number {
  const own = key.rests.length === 0 ? 0 : restsUntil(key.rests, model, now);
  const { rests } = key.project;
  return rests.length === 0 ? own : Math.max(own, restsUntil(rests, model, now));
}

/** When the project may take one more call of the model, cooldowns and quota considered: 0 now, Infinity never. */
export function projectReadyAt(project: Project, model: string, tokens: number, at: Moment): number {
  const gate = project.gates?.get(model);
  // A model that was not called yet has no gate: of the project's limits for such models only one of 0 keeps a first call off.
  if (gate === undefined && model !== '' && allowsNothing(project.defaults)) return Infinity;
  if (project.rests.length === 0) return gate === undefined ? 0 : gate.meter.readyAt(tokens, at);
  const rested = restsUntil(project.rests, model, at.now);
  if (gate === undefined) return rested;
  return Math.max(rested, gate.meter.readyAt(tokens, at, triesDay(project, model, at.now)));
}

/** Whether a call is to try if a day is spent that was taken for spent: then what a refusal taught of the day's limit is in doubt too. */
export function triesDay({ rests }: Project, model: string, now: number): boolean {
  return rests.some((rest) => rest.model === model && rest.dayEnd !== undefined && isHalfOpen(rest, now));
}

/** When the key may take one more call of the model, its caps and state aside: 0 now, Infinity never. */
export function readyAt(key: Key, model: string, tokens: number, at: Moment): number {
  const own = key.rests.length === 0 ? 0 : restsUntil(key.rests, model, at.now);
  return Math.max(checkedAt(key, at.now), own, projectReadyAt(key.project, model, tokens, at));
}

/** When a key that is held in quarantine serves again if Gemini takes it; 0: it is not held. */
export function checkedAt({ suspicion }: Key, now: number): number {
  if (!suspicion?.held) return 0;
  return suspicion.cause === ErrorClass.KEY_SUSPENDED
    ? Math.max(now, suspicion.deadline) + CLEARED_OF_SUSPENSION.steps[0]!
    : Math.max(now + 1, suspicion.deadline);
}

/** Whether the operator lets the key serve the model. "": any model will do. */
export function allowsModel(key: Key, model: string): boolean {
  const models = key.settings.models;
  return models.length === 0 || model === '' || models.includes(model);
}

export function leaseLimit(key: Key): number {
  return key.settings.maxConcurrentLeases ?? key.pool.settings.maxConcurrentLeases;
}

export function isFull(key: Key): boolean {
  const limit = leaseLimit(key);
  return limit > 0 && key.active >= limit;
}

export function effectiveWeight(key: Key): number {
  return key.settings.weight * key.health.factor;
}

/** "key-00000042": sorts as its ordinal up to 99,999,999 keys. */
export function keyId(ordinal: number): string {
  return `key-${String(ordinal).padStart(8, '0')}`;
}

/** The ordinal in a key id; undefined if it is none. */
export function ordinalOf(id: string): number | undefined {
  const match = /^key-(\d{8,15})$/.exec(id);
  return match === null ? undefined : Number(match[1]);
}
