import type { NewKey } from '../../engine/engine.ts';
import type { Key } from '../../engine/key.ts';
import { broughtSuspicion } from '../../engine/quarantine.ts';
import type { Moment } from '../../engine/quota/moment.ts';
import { noUsage } from '../../engine/usage.ts';
import { ErrorClass } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { KeyHistoryOrder } from '../store.ts';
import type { Rows } from './journal.ts';
import { type Status, statusRow } from './judged-rows.ts';
import { healthRow } from './row-writer.ts';

/** What an imported key brings along from where it was before. */
export type KeyPast = Pick<Key, 'health' | 'usage' | 'lastAcquire' | 'disabledFor'> & Pick<Status, 'suspicion'>;

export function pastOf(history: KeyHistoryOrder, { now, wallOffset }: Moment, verify: boolean): KeyPast {
  // A machine whose clock or zone was wrong may have written a time to come.
  const engine = (wall: number | undefined): number | undefined =>
    wall === undefined ? undefined : Math.min(now, wall - wallOffset);
  const { quarantined } = history;
  return {
    health: {
      factor: history.healthFactor,
      consecutiveFailures: history.consecutiveFailures,
      lastErrorClass: history.lastErrorClass,
      lastSuccess: undefined,
      lastFailure: engine(history.lastFailureTime),
    },
    usage: { ...noUsage(), failed: history.failed },
    lastAcquire: engine(history.lastAcquireTime),
    disabledFor: quarantined && !verify ? ErrorClass.KEY_INVALID : ErrorClass.UNSPECIFIED,
    suspicion: quarantined && verify ? broughtSuspicion(now) : undefined,
  };
}

/** What the engine adds a key with that has a past. */
export function withPast(fresh: NewKey, past: KeyPast | undefined): NewKey {
  if (past === undefined) return fresh;
  const { suspicion, ...known } = past;
  return { ...fresh, ...known, suspicion: (key) => suspicion && { ...suspicion, key } };
}

/** Rows beside those of the keys. */
export type PastRows = Required<Pick<Rows, 'health' | 'usage' | 'status'>>;

export function noPastRows(): PastRows {
  return { health: [], usage: [], status: [] };
}

export function addPastRows(rows: PastRows, key: KeyPast & Pick<Key, 'ordinal' | 'record'>, wallOffset: number): void {
  rows.health.push(healthRow(key, wallOffset));
  rows.usage.push({ ...key.usage, ordinal: key.ordinal });
  rows.status.push(statusRow({ ...key, learnedProject: undefined, lastVerified: -Infinity }, wallOffset));
}
