import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BalancerError } from '../../src/engine/errors.ts';
import { plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { LeaseIds } from '../../src/store/lease-id.ts';
import { SecretCache } from '../../src/store/secret-cache.ts';
import type { Journal } from '../../src/store/sqlite/journal.ts';
import { openJournal } from '../../src/store/sqlite/open-journal.ts';
import { SqliteStore } from '../../src/store/sqlite/sqlite-store.ts';
import { Vault } from '../../src/store/vault.ts';
import { MemoryJournal } from '../engine/memory-journal.ts';
import { acquireOrder, apiKeys, createKeyOrder, report } from '../support/orders.ts';
import { tempDir } from '../support/temp-dir.ts';

interface Step {
  do: 'acquire' | 'report' | 'change' | 'pass';
  which: number;
  model: string;
  how: number;
}

/** A store with the leases that it gave. */
class Bench {
  now = 1_000;
  store!: SqliteStore;
  readonly leases: string[] = [];
  /** A key that was passed over just before a restart may lose the turn that it waited with: none is before it. */
  excludes = false;

  async open(journal: Journal): Promise<void> {
    const vault = new Vault(Buffer.alloc(32, 1));
    this.store = await SqliteStore.open({
      journal,
      vault,
      leaseIds: new LeaseIds(vault.subkey('sign leases')),
      secrets: new SecretCache(),
      clock: { now: () => this.now, wallOffset: () => 1_700_000_000_000 },
      verify: true,
      probe: undefined,
      random: () => 0.5,
    });
  }

  async addKeys(): Promise<void> {
    for (const [i, apiKey] of apiKeys(8).entries()) {
      const settings = { weight: [1, 2, 0.5][i % 3]!, project: ['p', 'q', ''][i % 3]!, tier: i === 7 ? 1 : 0 };
      await this.store.createKey(createKeyOrder(apiKey, { ...settings, maxConcurrentLeases: i % 2 === 0 ? 3 : 0 }));
    }
  }

  /** What came of it. */
  async run({ do: what, which, model, how }: Step): Promise<unknown> {
    const { store, leases } = this;
    const keyId = `key-${String((which % 8) + 1).padStart(8, '0')}`;
    try {
      if (what === 'pass') this.now += which * 20;
      else if (what === 'acquire') {
        const affinityKey = how % 3 === 0 ? `a${which % 4}` : '';
        const excludeKeyIds = how === 7 && this.excludes ? [keyId] : [];
        const grant = await store.acquire(acquireOrder({ model, affinityKey, excludeKeyIds }));
        leases.push(grant.leaseId);
        return [grant.keyId, grant.affinityHit];
      } else if (what === 'report' && leases.length > 0) {
        const leaseId = leases[which % leases.length]!;
        const errorClass = [ErrorClass.RATE_LIMITED_MINUTE, ErrorClass.KEY_INVALID][how % 2]!;
        const finding = plainFinding(errorClass, 'key', how * 1_000);
        const { key, ...outcome } = await store.report(
          report(leaseId, { outcome: how > 4 ? Outcome.FAILURE : Outcome.SUCCESS, finding }),
        );
        return [outcome, key.state, key.effectiveWeight];
      } else if (what === 'change') {
        const change = [{ weight: 3 }, { tier: 1 }, { project: 'q' }, { disabled: which % 3 === 0 }][how % 4]!;
        await store.updateKey({ keyId, etag: '', change, newApiKey: undefined, idempotency: undefined });
      }
      return undefined;
    } catch (error) {
      if (error instanceof BalancerError) return [error.reason, error.metadata];
      throw error;
    }
  }
}

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.constantFrom('acquire', 'acquire', 'acquire', 'acquire', 'report', 'report', 'change', 'pass'),
  which: fc.nat(1_000),
  model: fc.constantFrom('', 'pro', 'flash'),
  how: fc.nat(7),
});
const steps = fc.array(step, { minLength: 20, maxLength: 60, size: 'max' });

test('after a restart every key, affinity and refusal is what it would have been without', async () => {
  await fc.assert(
    fc.asyncProperty(steps, steps, async (before, after) => {
      const dataDir = tempDir();
      const [restarted, other] = [new Bench(), new Bench()];
      await restarted.open(await openJournal({ dataDir, durability: 'normal' }));
      await other.open(new MemoryJournal());
      for (const bench of [restarted, other]) await bench.addKeys();
      for (const each of before) expect(await restarted.run(each)).toEqual(await other.run(each));
      await restarted.store.close();
      await restarted.open(await openJournal({ dataDir, durability: 'normal' }));
      for (const bench of [restarted, other]) bench.excludes = true;
      for (const each of after) expect(await restarted.run(each)).toEqual(await other.run(each));
      await Promise.all([restarted.store.close(), other.store.close()]);
    }),
    { numRuns: 25, endOnFailure: true },
  );
});
