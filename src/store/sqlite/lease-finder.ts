import type { Clock } from '../../engine/clock.ts';
import type { Engine } from '../../engine/engine.ts';
import { BalancerError } from '../../engine/errors.ts';
import type { Key } from '../../engine/key.ts';
import { LATE_MS, type Lease, LeaseState } from '../../engine/lease.ts';
import { Outcome } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { LeaseClaims, LeaseIds } from '../lease-id.ts';
import type { BootRow, ReclaimedRow, Rows } from './journal.ts';
import { REPLAY_MS } from './replays.ts';

/** A boot is looked back to for as long as one of its leases could be reported: the longest TTL, and the hour after it. */
const BOOT_MS = 3_600_000 + LATE_MS + 60_000;
/** Between prunings of what is too old. */
const PRUNE_EVERY_MS = 60_000;

/**
 * Finds the lease that an id names.
 *
 * Which leases have ended is not remembered, only which are open: numbers count up within a boot, and each commit stores the
 * newest that it knows of, the boot's watermark. An id above the watermark of an earlier boot names a lease that a crash took
 * before it was stored: its signed id brings it back. That is remembered, so that it happens once.
 */
export class LeaseFinder {
  readonly startTime: number;
  readonly #engine: Engine;
  readonly #ids: LeaseIds;
  readonly #clock: Clock;
  readonly #boots: Map<number, BootRow>;
  readonly #reclaimed: Set<string>;
  #unwritten: ReclaimedRow[] = [];
  #taken = 0;
  #nextPrune = 0;

  constructor(
    engine: Engine,
    ids: LeaseIds,
    clock: Clock,
    restored: { boots: Map<number, BootRow>; reclaimed: Set<string> },
  ) {
    this.#engine = engine;
    this.#ids = ids;
    this.#clock = clock;
    this.#boots = restored.boots;
    this.#reclaimed = restored.reclaimed;
    this.startTime = clock.now() + clock.wallOffset();
  }

  /** The lease, or that it was ended by an earlier report. Throws LEASE_NOT_FOUND and LEASE_NOT_OWNED. */
  find(leaseId: string, caller: string, now: number): Lease | 'ended' {
    const claims = this.#claims(leaseId);
    if (claims.caller !== caller) {
      throw new BalancerError('LEASE_NOT_OWNED', 'the lease belongs to another caller');
    }
    const open = this.#engine.leases.get(claims.boot)?.get(claims.seq);
    if (open !== undefined) return open;
    const key = this.#engine.keys.get(claims.ordinal);
    const wallNow = now + this.#clock.wallOffset();
    if (key === undefined || wallNow >= claims.expireTime + LATE_MS) throw notFound();
    if (claims.boot === this.#engine.boot) return 'ended';
    const boot = this.#boots.get(claims.boot);
    if (boot === undefined) throw notFound();
    if (claims.seq <= boot.watermark || this.#reclaimed.has(`${claims.boot}.${claims.seq}`)) return 'ended';
    return this.#reclaim(claims, key, now);
  }

  /** Key of a lease that find() took for ended. */
  keyOf(leaseId: string): Key {
    const key = this.#engine.keys.get(this.#claims(leaseId).ordinal);
    if (key === undefined) throw notFound();
    return key;
  }

  /** Leases brought back since the last commit. */
  unwritten(): ReclaimedRow[] {
    this.#taken = this.#unwritten.length;
    return this.#unwritten;
  }

  written(): void {
    this.#unwritten = this.#unwritten.slice(this.#taken);
    this.#taken = 0;
  }

  /** What the store need not keep any longer; undefined when it was asked lately. */
  prune(wallNow: number): Rows['prune'] {
    if (wallNow < this.#nextPrune) return undefined;
    this.#nextPrune = wallNow + PRUNE_EVERY_MS;
    const prune: Rows['prune'] = { replays: wallNow - REPLAY_MS, reclaimed: wallNow };
    // A boot ended before the next one started.
    const boots = [...this.#boots.values()].sort((a, b) => a.boot - b.boot);
    for (let i = 0; i < boots.length; i++) {
      const ended = boots[i + 1]?.startTime ?? this.startTime;
      if (ended + BOOT_MS >= wallNow) break;
      prune.boots = boots[i]!.boot + 1;
    }
    return prune;
  }

  #claims(leaseId: string): LeaseClaims {
    const claims = this.#ids.verify(leaseId);
    if (claims === undefined || claims.boot > this.#engine.boot) throw notFound();
    return claims;
  }

  #reclaim(claims: LeaseClaims, key: Key, now: number): Lease {
    const expireTime = claims.expireTime - this.#clock.wallOffset();
    // It was acquired moments before the crash: its call says nothing of what happened since this run began.
    const acquireTime = Math.min(now, expireTime, this.startTime - this.#clock.wallOffset());
    const lease: Lease = {
      boot: claims.boot,
      seq: claims.seq,
      key,
      model: claims.model,
      caller: claims.caller,
      acquireTime,
      callTime: acquireTime,
      expireTime,
      state: LeaseState.ACTIVE,
      sessionId: '',
      tokens: 0,
      booking: undefined,
      trials: undefined,
      lastOutcome: Outcome.UNSPECIFIED,
      deadline: 0,
      heapIndex: -1,
    };
    this.#reclaimed.add(`${claims.boot}.${claims.seq}`);
    this.#unwritten.push({ boot: claims.boot, seq: claims.seq, forgetTime: claims.expireTime + LATE_MS });
    this.#engine.hold(lease);
    this.#engine.advance(now);
    return lease;
  }
}

function notFound(): BalancerError {
  return new BalancerError(
    'LEASE_NOT_FOUND',
    'no such lease: it never existed, its key was deleted, or it expired more than an hour ago',
  );
}
