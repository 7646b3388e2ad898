import type { Clock } from '../../engine/clock.ts';
import type { Engine } from '../../engine/engine.ts';
import type { LeaseIds } from '../lease-id.ts';
import type { SecretCache } from '../secret-cache.ts';
import type { Vault } from '../vault.ts';
import type { Alarm } from './alarm.ts';
import type { Committer } from './committer.ts';
import type { Journal } from './journal.ts';
import type { Latencies } from './latencies.ts';
import type { LeaseFinder } from './lease-finder.ts';
import type { Replays } from './replays.ts';

/** What giving leases and taking reports works on. */
export interface LeaseContext {
  engine: Engine;
  alarm: Alarm;
  clock: Clock;
  committer: Committer;
  finder: LeaseFinder;
  journal: Journal;
  latencies: Latencies;
  leaseIds: LeaseIds;
  replays: Replays;
  secrets: SecretCache;
  vault: Vault;
}
