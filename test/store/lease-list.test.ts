import { expect, test } from 'vitest';
import { LeaseIds } from '../../src/store/lease-id.ts';
import { SecretCache } from '../../src/store/secret-cache.ts';
import { SqliteStore } from '../../src/store/sqlite/sqlite-store.ts';
import { Vault } from '../../src/store/vault.ts';
import { MemoryJournal } from '../engine/memory-journal.ts';
import { apiKeys, batchOrder, createKeyOrder } from '../support/orders.ts';

test('25,000 open leases are listed page by page, each once, and others run meanwhile', async () => {
  const vault = new Vault(Buffer.alloc(32, 1));
  const store = await SqliteStore.open({
    journal: new MemoryJournal(),
    vault,
    leaseIds: new LeaseIds(vault.subkey('sign leases')),
    secrets: new SecretCache(),
    clock: { now: () => 1_000, wallOffset: () => 1_700_000_000_000 },
    verify: false,
    probe: undefined,
  });
  for (const apiKey of apiKeys(3)) await store.createKey(createKeyOrder(apiKey));
  await store.acquireBatches(batchOrder({ batchSizes: Array<number>(25).fill(1_000) }));

  let ran = 0;
  let others = setImmediate(function run() {
    ran++;
    others = setImmediate(run);
  });
  const refs: string[] = [];
  let after = '';
  do {
    const page = await store.listLeases({ pool: '', keyId: '', after, limit: 6_000 });
    refs.push(...page.items.map(({ leaseRef }) => leaseRef));
    after = page.next;
  } while (after !== '');
  clearImmediate(others);

  expect(new Set(refs).size).toBe(25_000);
  expect(refs).toEqual(refs.toSorted((a, b) => Number(a.split('.')[1]) - Number(b.split('.')[1])));
  expect(refs).toHaveLength(25_000);
  expect(ran).toBeGreaterThanOrEqual(10);
  await store.close();
});
