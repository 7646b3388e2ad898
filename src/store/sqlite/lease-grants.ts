import { BalancerError } from '../../engine/errors.ts';
import { type Key, keyId, projectName } from '../../engine/key.ts';
import { type Lease, LeaseState, leaseRef } from '../../engine/lease.ts';
import type { LeaseGrant } from '../store.ts';
import { pause } from './admin-context.ts';
import type { LeaseContext } from './lease-context.ts';

/**
 * What is remembered of a lease that was given, so that a repeat gets the same lease id: boot, number, and when it was to expire
 * then, in wall-clock milliseconds, and whether its affinity key chose it. Renewals and the wall clock's own moves change what the
 * lease itself says of its expiry.
 */
export type Given = [boot: number, seq: number, firstExpiry: number, affinityHit: boolean];

/** How a grant came about, as it says itself. */
interface Manner {
  waitedMs: number;
  replayed: boolean;
}

/** Thousands of leases are made in slices of so many, so that nobody else waits for all of them. */
const SLICE = 250;

/** Makes of leases what their takers get: signed ids, and the keys in plain text. */
export class LeaseGrants {
  readonly #context: LeaseContext;

  constructor(context: LeaseContext) {
    this.#context = context;
  }

  given(lease: Lease, affinityHit: boolean): Given {
    return [lease.boot, lease.seq, Math.floor(lease.expireTime + this.#context.clock.wallOffset()), affinityHit];
  }

  /** The lease, if it is still active: of a first call, whose repeat wants it again. */
  active([boot, seq]: Given): Lease {
    const { alarm, engine } = this.#context;
    alarm.advance();
    const lease = engine.leases.get(boot)?.get(seq);
    if (lease?.state === LeaseState.ACTIVE) return lease;
    throw new BalancerError(
      'LEASE_EXPIRED',
      `lease ${leaseRef({ boot, seq })} of the first call is over; use a new request_id`,
    );
  }

  grant(lease: Lease, apiKey: string, given: Given, { waitedMs, replayed }: Manner): LeaseGrant {
    const { clock, leaseIds } = this.#context;
    const { key, boot, seq, caller, model } = lease;
    const { ordinal } = key;
    const [, , firstExpiry, affinityHit] = given;
    return {
      leaseId: leaseIds.sign({ boot, seq, ordinal, expireTime: firstExpiry, caller, model }),
      keyId: keyId(ordinal),
      apiKey,
      pool: key.pool.name,
      model,
      project: projectName(key),
      ttlMs: Math.max(0, lease.expireTime - clock.now()),
      expireTime: lease.expireTime + clock.wallOffset(),
      affinityHit,
      labels: key.settings.labels,
      waitedMs,
      replayed,
    };
  }

  async grantAll(batches: readonly Given[][], manner: Manner): Promise<LeaseGrant[][]> {
    const active = batches.map((batch) => batch.map((given) => this.active(given)));
    const grants: LeaseGrant[][] = [];
    let made = 0;
    for (const [index, batch] of active.entries()) {
      const leases: LeaseGrant[] = [];
      for (const lease of batch) {
        const given = batches[index]![leases.length]!;
        const apiKey = this.cachedSecret(lease.key) ?? (await this.secret(lease.key));
        leases.push(this.grant(lease, apiKey, given, manner));
        if (++made % SLICE === 0) await pause();
      }
      grants.push(leases);
    }
    return grants;
  }

  cachedSecret(key: Key): string | undefined {
    return this.#context.secrets.get(key.ordinal);
  }

  async secret(key: Key): Promise<string> {
    const { journal, vault, secrets } = this.#context;
    const sealed = await journal.readSecret(key.ordinal);
    if (sealed === undefined) {
      throw new BalancerError('KEY_NOT_FOUND', `key ${keyId(key.ordinal)} was deleted meanwhile`);
    }
    const apiKey = vault.open(key.ordinal, sealed);
    secrets.set(key.ordinal, apiKey);
    return apiKey;
  }
}
