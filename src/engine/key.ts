import { KeyState } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Due } from './deadline-heap.ts';
import type { Health } from './health.ts';
import type { Lease } from './lease.ts';
import type { Pool } from './pool.ts';
import { type Rest, restsUntil } from './rest.ts';
import type { KeySettings } from './settings.ts';
import type { UsageCounts } from './usage.ts';

/** Whatever rests: a key, or the project whose quota its keys share. As a Due it falls due when its earliest rest ends. */
export interface Resting extends Due {
  rests: readonly Rest[];
  /** Keys that its rests keep from serving. */
  readonly keys: ReadonlySet<Key>;
}

/** Keys of one Google Cloud project, in whatever pools. */
export interface Project extends Resting {
  readonly name: string;
  readonly keys: Set<Key>;
}

/** A key without its secret. */
export interface Key extends Resting {
  /** Counts up over all pools, never reused. */
  readonly ordinal: number;
  readonly pool: Pool;
  /** Its place in the pool's lanes; reused once the key is gone. */
  readonly slot: number;
  settings: KeySettings;
  project: Project | undefined;
  health: Health;
  /** Kept up to date by Pool.refresh. */
  state: KeyState;
  /** Leases that are active, reported or not yet expired. */
  active: number;
  /** Its leases that can still be reported: active, expired, or left by their session. */
  readonly leases: Set<Lease>;
  readonly usage: UsageCounts;
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
  return restingUntil(key, '', now) > 0 ? KeyState.COOLING : KeyState.AVAILABLE;
}

/** Until when the key or its project rests for the model; 0: it does not. "": only what covers every model. */
export function restingUntil(key: Key, model: string, now: number): number {
  const own = key.rests.length === 0 ? 0 : restsUntil(key.rests, model, now);
  const project = key.project;
  return project === undefined || project.rests.length === 0
    ? own
    : Math.max(own, restsUntil(project.rests, model, now));
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
