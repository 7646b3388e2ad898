import type { Clock } from '../../engine/clock.ts';
import type { Engine } from '../../engine/engine.ts';
import type { Key } from '../../engine/key.ts';
import type { Pool } from '../../engine/pool.ts';
import type { SecretCache } from '../secret-cache.ts';
import type { PoolStatsView } from '../store.ts';
import type { Vault } from '../vault.ts';
import type { Committer } from './committer.ts';
import type { HealthLog } from './health-log.ts';
import type { Journal } from './journal.ts';
import type { Replays } from './replays.ts';

/** What management works on. */
export interface AdminContext {
  engine: Engine;
  committer: Committer;
  replays: Replays;
  healthLog: HealthLog;
  vault: Vault;
  secrets: SecretCache;
  journal: Journal;
  clock: Clock;
  /** Keys by fingerprint. */
  fingerprints: Map<string, Key>;
  /** Ordinals for new keys: the first of so many. A number given is never given again. */
  claimOrdinals: (count: number) => number;
  statsOf: (pool: Pool) => PoolStatsView;
}

export function wallNow({ clock }: AdminContext): number {
  return clock.now() + clock.wallOffset();
}

/** Lets others run between slices of long work. */
export function pause(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
