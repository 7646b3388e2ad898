import type { Outcome } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Due } from './deadline-heap.ts';
import type { Key, Resting } from './key.ts';
import type { Booking } from './quota/booking.ts';
import type { Rest } from './rest.ts';

/**
 * States of a lease and what moves it on.
 *
 *   ACTIVE          -> ENDED            by a report that does not keep it
 *   ACTIVE          -> EXPIRED          at its deadline
 *   ACTIVE          -> LEFT             by the end of its session, or by RevokeLease
 *   EXPIRED, LEFT   -> ENDED            by a late report, or 1 h after the deadline
 *   any             -> ENDED            by the deletion of its key
 *
 * ENDED leases are not remembered: an id of this server that names none of the others has ended.
 */
export const LeaseState = { ACTIVE: 1, EXPIRED: 2, LEFT: 3, ENDED: 0 } as const;
export type LeaseState = (typeof LeaseState)[keyof typeof LeaseState];

/** How long after its deadline a lease can still be reported. */
export const LATE_MS = 3_600_000;

/** As a Due: when it expires, or, once EXPIRED or LEFT, when it is forgotten. */
export interface Lease extends Due {
  /** Run of the server that gave it, and its number within that run. */
  readonly boot: number;
  readonly seq: number;
  readonly key: Key;
  readonly model: string;
  readonly caller: string;
  readonly acquireTime: number;
  /** When the call began that is reported next: the acquire, or the last report that kept the lease. */
  callTime: number;
  expireTime: number;
  state: LeaseState;
  /** "": not bound to a session. */
  readonly sessionId: string;
  /** Input tokens expected of a call. */
  readonly tokens: number;
  /** What its call is booked as in the quota of its project. In this run only. */
  booking: Booking | undefined;
  /** Cooldowns that it tries, each the only one to do so. In this run only. */
  trials: { resting: Resting; rest: Rest }[] | undefined;
  /** Of the last report on a kept lease; a lease that then expires counts by it. UNSPECIFIED: none. */
  lastOutcome: Outcome;
}

/** Names a lease to administrators; gives no right to it. */
export function leaseRef(lease: Pick<Lease, 'boot' | 'seq'>): string {
  return `${lease.boot}.${lease.seq}`;
}
