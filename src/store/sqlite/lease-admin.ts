import { serveWaiting } from '../../engine/acquire.ts';
import { resumeTrials } from '../../engine/cooldowns.ts';
import { endingOf } from '../../engine/engine.ts';
import { BalancerError, shown } from '../../engine/errors.ts';
import { keyId } from '../../engine/key.ts';
import { type Lease, LeaseState, leaseRef } from '../../engine/lease.ts';
import type { LeaseView, Page } from '../store.ts';
import { type AdminContext, pause } from './admin-context.ts';

/** Others run after so many leases, which is about a millisecond. */
const SLICE = 10_000;

/** Leases as administrators see and end them. */
export class LeaseAdmin {
  readonly #context: AdminContext;

  constructor(context: AdminContext) {
    this.#context = context;
  }

  /** Walks over all open leases, in slices. Those that come or go meanwhile may be on the page or not. */
  async list(query: { pool: string; keyId: string; after: string; limit: number }): Promise<Page<LeaseView>> {
    const { engine } = this.#context;
    if (query.pool !== '') engine.pool(query.pool);
    const [afterBoot, afterSeq] = parsedRef(query.after) ?? [0, 0];
    const found: Lease[] = [];
    let walked = 0;
    for (const lease of this.#candidates(query.keyId)) {
      if (++walked % SLICE === 0) await pause();
      if (lease.state !== LeaseState.ACTIVE) continue;
      if (query.pool !== '' && lease.key.pool.name !== query.pool) continue;
      if (lease.boot > afterBoot || (lease.boot === afterBoot && lease.seq > afterSeq)) found.push(lease);
    }
    // Leases that a report brought back after a crash, or that it could not end, came later than their numbers say.
    found.sort((a, b) => a.boot - b.boot || a.seq - b.seq);
    const items = found.slice(0, query.limit).map((lease) => this.#view(lease));
    return { items, next: found.length > query.limit ? items[items.length - 1]!.leaseRef : '' };
  }

  async revoke(ref: string): Promise<void> {
    const { engine, committer, clock } = this.#context;
    const parsed = parsedRef(ref);
    // Not repeated: it may be anything, a key too.
    if (parsed === undefined) throw new BalancerError('LEASE_NOT_FOUND', 'lease_ref names no lease');
    const [boot, seq] = parsed;
    const lease = engine.leases.get(boot)?.get(seq);
    if (lease?.state !== LeaseState.ACTIVE) {
      throw new BalancerError('LEASE_NOT_FOUND', `no active lease has the ref ${shown(ref)}`);
    }
    const { trials } = lease;
    engine.suspend(lease, LeaseState.LEFT, clock.now());
    serveWaiting(engine, lease.key.pool, clock.now());
    await committer.confirm((at) => {
      if (lease.state !== LeaseState.LEFT || engine.keys.get(lease.key.ordinal) !== lease.key) return;
      engine.count(lease, endingOf(lease), -1);
      lease.state = LeaseState.ACTIVE;
      engine.hold(lease);
      resumeTrials(engine, lease, trials, at);
    });
  }

  *#candidates(ofKey: string): Generator<Lease> {
    const { engine } = this.#context;
    if (ofKey !== '') yield* engine.key(ofKey).leases;
    else for (const ofBoot of engine.leases.values()) yield* ofBoot.values();
  }

  #view(lease: Lease): LeaseView {
    const wallOffset = this.#context.clock.wallOffset();
    return {
      leaseRef: leaseRef(lease),
      keyId: keyId(lease.key.ordinal),
      pool: lease.key.pool.name,
      model: lease.model,
      holder: lease.caller,
      acquireTime: lease.acquireTime + wallOffset,
      expireTime: lease.expireTime + wallOffset,
    };
  }
}

/** Boot and number of a lease's ref. */
function parsedRef(ref: string): [number, number] | undefined {
  const match = /^(\d{1,15})\.(\d{1,15})$/.exec(ref);
  return match === null ? undefined : [Number(match[1]), Number(match[2])];
}
