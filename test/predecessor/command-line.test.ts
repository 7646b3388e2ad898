import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { connect } from '../../src/client/connect.ts';
import { cacheCapacity } from '../../src/store/secret-cache.ts';
import { startFakeGemini } from '../fake-gemini/index.ts';
import { ROOT } from '../repository/root.ts';
import { cli } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { dirWithKeys, testKeys } from '../support/key-dirs.ts';
import { tempDir } from '../support/temp-dir.ts';

const [ONE = '', TWO = ''] = testKeys(2);

test('row 6: stats tells of keys, weights, sources, the database, the cache, and each key', async () => {
  const at = ['--data-dir', await dirWithKeys(3)];
  await cliHere(['update-key', 'key-00000001', '--disable', '--weight', '4', '--source', 'desk', ...at]);
  const stats = JSON.parse((await cliHere(['stats', '--json', ...at])).stdout);
  expect(stats.total).toMatchObject({ totalKeys: '3', availableKeys: '2', disabledKeys: '1', averageWeight: 2 });
  expect(stats.total.keysBySource).toMatchObject({ desk: '1' });
  expect(Number(stats.server.databaseBytes)).toBeGreaterThan(0);
  expect(stats.server.cache).toMatchObject({ size: expect.any(String), capacity: '100', hitRate: expect.any(Number) });
  const listed = JSON.parse((await cliHere(['list', '--json', ...at])).stdout);
  expect(listed.keys).toHaveLength(3);
});

test('row 7: memory tells what keys take, the average, and what 1000 would', async () => {
  const at = ['--data-dir', await dirWithKeys(3)];
  const memory = JSON.parse((await cliHere(['memory', '--json', ...at])).stdout);
  expect(memory.keys).toBe(3);
  expect(memory.averageBytesPerKey).toBeCloseTo(memory.keysBytes / 3, -1);
  expect(memory.estimatedBytesPer1000Keys).toBeGreaterThan(900 * memory.averageBytesPerKey);
});

test.each([
  [10, 100],
  [99, 100],
  [500, 100],
  [1_000, 100],
  [5_000, 500],
  [20_000, 1_000],
])('row 10: of %i keys at least %i stay decrypted', (keys, floor) => {
  expect(cacheCapacity(keys)).toBeGreaterThanOrEqual(floor);
});

test('row 17: the tables api_keys, import_history and key_usage are in the database, and no key in plain text', async () => {
  const dataDir = await dirWithKeys(2);
  const database = new Database(join(dataDir, 'keybalancer.db'), { readonly: true });
  onTestFinished(() => void database.close());
  expect(database.prepare('SELECT count(*) AS n FROM api_keys').get()).toEqual({ n: 2 });
  expect(database.prepare('SELECT created FROM import_history').all()).toEqual([{ created: 2 }]);
  expect(database.prepare('SELECT count(*) AS n FROM key_usage').get()).toEqual({ n: expect.any(Number) });
  expect(readFileSync(join(dataDir, 'keybalancer.db')).includes(ONE)).toBe(false);
});

test('row 19: test-keys asks Gemini about each key, tries again what it said nothing about, sums up, and updates health', async () => {
  const fake = await startFakeGemini({ keys: { [ONE]: {}, [TWO]: {} } });
  onTestFinished(() => fake.close());
  fake.setKey(TWO, { behaviour: { error: 'overloaded_503_old', on: ['models.list'] }, times: 1 });
  const dataDir = await dirWithKeys(3);
  const args = 'test-keys --max-retries 1 --retry-delay 0 --page-size 10 --apply --data-dir'.split(' ');
  const env = { KEYBALANCER_GEMINI_BASE_URL: fake.url };
  const { exitCode, stdout, stderr } = await cli([...args, dataDir], { env });
  expect({ exitCode, stderr }).toEqual({ exitCode: 4, stderr: 'keybalancer: 1 of 3 keys failed\n' });
  expect(stdout).toMatch(/key-00000002\t.*\tok\n/);
  expect(stdout).toContain('tested 3 keys: 2 ok; 1: the key was refused as invalid. The results count');
  expect(fake.counts.byKey[TWO]).toBe(2);
  const { keys } = JSON.parse((await cliHere(['list', '--json', '--data-dir', dataDir])).stdout);
  expect(keys[2].health.state).not.toBe('KEY_STATE_AVAILABLE');
});

test('row 22: without a word about where, everything is in $XDG_DATA_HOME/keybalancer', async () => {
  const home = tempDir();
  const env = { XDG_DATA_HOME: home };
  expect(await cli(['add-key', '-'], { env, input: ONE })).toMatchObject({ exitCode: 0 });
  const balancer = await connect({ dataDir: join(home, 'keybalancer') });
  onTestFinished(() => balancer.close());
  expect((await balancer.keyBalancer.getStats({})).total?.totalKeys).toBe(1n);
});

test('row 23: the licence is MIT', () => {
  expect(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).license).toBe('MIT');
  expect(readFileSync(join(ROOT, 'LICENSE'), 'utf8')).toMatch(/^MIT License\n/);
});
