import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/store/open-store.ts';
import { JournalChild } from '../support/journal-child.ts';
import { acquireOrder, createKeyOrder, importOrder, report } from '../support/orders.ts';
import { tempDir } from '../support/temp-dir.ts';

const KEYS = [
  'AQ.plain-text-imported-1',
  'AQ.plain-text-created-22',
  'AQ.plain-text-rotated-33',
  'AQ.plain-text-deleted-44',
];

/** Names of files in which one of the keys can be read, whole or without its ends. */
function leaks(dataDir: string): string[] {
  return readdirSync(dataDir).filter((name) => {
    const content = readFileSync(join(dataDir, name));
    return KEYS.some((key) => content.includes(key) || content.includes(key.slice(5, -5)));
  });
}

test('no file of the data dir ever holds a key that can be read', async () => {
  const dataDir = tempDir();
  const options = { dataDir, durability: 'full', masterKey: {} } as const;
  const store = await openStore(options);
  const idempotency = { caller: 'local', method: 'ImportKeys', requestId: 'r', contentHash: 'h' };
  await store.importKeys(importOrder([KEYS[0]!], { idempotency }));
  const created = await store.createKey({
    ...createKeyOrder(KEYS[1]!),
    idempotency: { ...idempotency, method: 'CreateKey' },
  });
  await store.updateKey({ keyId: created.keyId, etag: '', change: {}, newApiKey: KEYS[2]!, idempotency: undefined });
  const gone = await store.createKey(createKeyOrder(KEYS[3]!));
  await store.deleteKey({ keyId: gone.keyId, etag: '', allowMissing: false });
  for (let call = 0; call < 4; call++) {
    const lease = await store.acquire(
      acquireOrder({ idempotency: { ...idempotency, method: 'AcquireKey', requestId: `r${call}` } }),
    );
    await store.report(report(lease.leaseId));
  }
  // The log, while it is in use. (Reading the database file here would cost this process its lock on it.)
  const log = readFileSync(join(dataDir, 'keybalancer.db-wal'));
  expect(log.includes('plain-text')).toBe(false);
  expect(log.includes('AQ.…')).toBe(true);
  await store.close();
  expect(leaks(dataDir)).toEqual([]);
});

test('what a killed owner leaves holds none either', async () => {
  const dataDir = tempDir();
  const owner = new JournalChild();
  await owner.say({ open: dataDir });
  await owner.kill();
  const store = await openStore({ dataDir, durability: 'full', masterKey: { value: 'ab'.repeat(32) } });
  await store.importKeys(importOrder(KEYS));
  await store.close();
  expect(leaks(dataDir)).toEqual([]);
});
