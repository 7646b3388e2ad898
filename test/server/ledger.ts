import { expect } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { type Key, type KeyUsage, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';

/** How leases of a key ended, by the reports that the server acknowledged. */
type Counts = Record<'succeeded' | 'failed' | 'unused', number>;

const ENDING = { [Outcome.SUCCESS]: 'succeeded', [Outcome.FAILURE]: 'failed', [Outcome.UNUSED]: 'unused' } as const;

/** What clients know to be done, kept outside the server: what the server says must agree with it. */
export class Ledger {
  /** Leases that were given and not reported: lease id to key id. */
  readonly open = new Map<string, string>();
  /** Leases whose report was acknowledged. */
  readonly reported: string[] = [];
  readonly #keys = new Set<string>();
  readonly #counts = new Map<string, Counts>();
  /** Acquires without a request id whose answer was lost: each may have left a lease that nobody knows. */
  lostAcquires = 0;

  get keyCount(): number {
    return this.#keys.size;
  }

  imported(keyIds: readonly string[]): void {
    for (const keyId of keyIds) {
      expect(this.#keys.has(keyId), `key ${keyId} was imported before`).toBe(false);
      this.#keys.add(keyId);
    }
  }

  acquired(leaseId: string, keyId: string): void {
    expect(this.open.has(leaseId), 'a lease was given twice').toBe(false);
    this.open.set(leaseId, keyId);
  }

  took(leaseId: string, outcome: keyof typeof ENDING): void {
    const keyId = this.open.get(leaseId)!;
    this.open.delete(leaseId);
    this.reported.push(leaseId);
    const counts = this.#counts.get(keyId) ?? { succeeded: 0, failed: 0, unused: 0 };
    this.#counts.set(keyId, counts);
    counts[ENDING[outcome]]++;
  }

  /** Every key and every report is there once, and for each key and pool the sum closes. */
  async compare(balancer: Balancer): Promise<void> {
    const keys = await allKeys(balancer);
    const ids = new Set(keys.map(({ keyId }) => keyId));
    expect(ids.size).toBe(keys.length);
    expect([...this.#keys].filter((id) => !ids.has(id))).toEqual([]);
    expect(keys).toHaveLength(this.#keys.size);
    const off: unknown[] = [];
    const sums = { succeeded: 0, failed: 0, unused: 0 };
    let active = 0;
    for (const { keyId, usage, health } of keys) {
      const { succeeded, failed, unused } = this.#counts.get(keyId) ?? { succeeded: 0, failed: 0, unused: 0 };
      sums.succeeded += succeeded;
      sums.failed += failed;
      sums.unused += unused;
      active += health!.activeLeases;
      const wanted = { succeeded, failed, unused, calls: succeeded + failed, late: 0, expired: 0, released: 0 };
      const got = numbers(usage!);
      const agrees = Object.entries(wanted).every(([name, count]) => got[name] === count);
      if (!agrees || !closes(usage!, health!.activeLeases)) off.push({ keyId, wanted, got, health });
    }
    expect(off.slice(0, 3)).toEqual([]);
    // Leases that a crash took are brought back by their reports; beyond those, only lost answers leave any.
    expect(active).toBeLessThanOrEqual(this.open.size + this.lostAcquires);
    const { total, pools } = await balancer.keyBalancer.getStats({});
    for (const stats of [total!, ...pools]) {
      expect(closes(stats.usage!, Number(stats.activeLeases))).toBe(true);
      expect(numbers(stats.usage!)).toMatchObject({ ...sums, calls: sums.succeeded + sums.failed });
      expect(Number(stats.totalKeys)).toBe(this.#keys.size);
      expect(Number(stats.activeLeases)).toBe(active);
    }
  }
}

export function closes(usage: KeyUsage, active: number): boolean {
  const { acquired, succeeded, failed, expired, unused, released } = numbers(usage);
  return acquired === active + succeeded! + failed! + expired! + unused! + released!;
}

export async function allKeys(balancer: Balancer): Promise<Key[]> {
  const keys: Key[] = [];
  for (let pageToken = ''; ; ) {
    const page = await balancer.keyAdmin.listKeys({ pageSize: 1000, pageToken });
    keys.push(...page.keys);
    pageToken = page.nextPageToken;
    if (pageToken === '') return keys;
  }
}

function numbers(usage: KeyUsage): Record<string, number> {
  return Object.fromEntries(
    Object.entries(usage).flatMap(([name, value]) => (typeof value === 'bigint' ? [[name, Number(value)]] : [])),
  );
}
