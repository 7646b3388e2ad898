import { expect, onTestFinished, test } from 'vitest';
import { connect } from '../../src/client/connect.ts';
import { Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { startServe } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { tempDir } from '../support/temp-dir.ts';

const KEYS = ['AQ.test-key-000001', 'AQ.test-key-000002', 'AQ.test-key-000003'];

async function dirWithKeys(): Promise<NodeJS.ProcessEnv> {
  const env = { KEYBALANCER_DATA_DIR: tempDir() };
  expect((await cliHere(['import', '-'], { env, input: KEYS.join('\n') })).exitCode).toBe(0);
  return env;
}

async function keyIds(env: NodeJS.ProcessEnv): Promise<string[]> {
  const { stdout } = await cliHere(['list', '--json'], { env });
  return (JSON.parse(stdout) as { keys: { keyId: string }[] }).keys.map(({ keyId }) => keyId);
}

/** A server on the dir, whose keys have failed so that one rests, and a connection to it. */
async function withRestingKey(env: NodeJS.ProcessEnv) {
  const server = await startServe(env.KEYBALANCER_DATA_DIR!, '--verify', 'off');
  const balancer = await connect({ address: server.grpc });
  onTestFinished(() => balancer.close());
  const { lease } = await balancer.keyBalancer.acquireKey({ model: 'm' });
  const body =
    '{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}';
  await balancer.keyBalancer.reportResult({
    leaseId: lease!.leaseId,
    outcome: Outcome.FAILURE,
    error: { httpStatus: 400, body },
  });
  return balancer;
}

test('row 18: remove-key takes a key id, or the key itself by standard input, whatever its pool, and says when there is none', async () => {
  const env = await dirWithKeys();
  expect(await cliHere(['remove-key', 'key-00000002'], { env })).toEqual({
    exitCode: 0,
    stdout: 'removed key-00000002\n',
    stderr: '',
  });
  const other = await startServe(env.KEYBALANCER_DATA_DIR!);
  const balancer = await connect({ address: other.grpc });
  await balancer.keyAdmin.createPool({ pool: { pool: 'other' } });
  await balancer.keyAdmin.createKey({ apiKey: 'AQ.test-key-000009', key: { pool: 'other' } });
  await balancer.close();
  const byText = await cliHere(['remove-key', '-', '--json'], { env, input: 'AQ.test-key-000009\n' });
  expect(byText).toMatchObject({ exitCode: 0, stderr: '' });
  expect(JSON.parse(byText.stdout)).toEqual({ keyId: 'key-00000004' });
  const gone = await cliHere(['remove-key', '-'], { env, input: 'AQ.test-key-000009\n' });
  expect(gone).toEqual({ exitCode: 1, stdout: '', stderr: 'keybalancer: there is no such key\n' });
  expect(await cliHere(['remove-key', 'key-0000ffff'], { env })).toEqual({
    exitCode: 1,
    stdout: '',
    stderr: 'keybalancer: there is no key key-0000ffff: ids have the form of key-00000042\n',
  });
  const argv = await cliHere(['remove-key', KEYS[0]!], { env });
  expect(argv).toMatchObject({ exitCode: 0, stdout: 'removed key-00000001\n' });
  expect(argv.stderr).toContain('`remove-key -` reads it from standard input');
  expect(argv.stderr + gone.stderr).not.toContain('AQ.');
  expect(await keyIds(env)).toEqual(['key-00000003']);
});

test('row 11: reset restores keys that were disabled or rest, and nothing without --confirm', async () => {
  const env = await dirWithKeys();
  const balancer = await withRestingKey(env);
  const available = async () => (await balancer.keyBalancer.getStats({})).total?.availableKeys;
  expect(await available()).toBe(2n);
  const dry = await cliHere(['reset', '--json'], { env });
  expect(JSON.parse(dry.stdout)).toEqual({ confirmed: false, keys: ['key-00000001'], failed: [] });
  expect(await available()).toBe(2n);
  expect(await cliHere(['reset', '--confirm'], { env })).toEqual({ exitCode: 0, stdout: 'reset 1 key\n', stderr: '' });
  expect(await available()).toBe(3n);
  expect((await cliHere(['reset'], { env })).stdout).toContain('would reset 0 keys');
  expect((await cliHere(['reset', 'key-00000002', '--confirm'], { env })).stdout).toBe('reset 1 key\n');
  const partly = await cliHere(['reset', 'key-00000002', 'key-0000ffff', '--confirm'], { env });
  expect(partly).toMatchObject({
    exitCode: 4,
    stdout: 'reset 1 key\n',
    stderr: expect.stringContaining('key-0000ffff: '),
  });
  expect(await cliHere(['reset', 'AQ.test-key-000001'], { env })).toMatchObject({
    exitCode: 2,
    stderr: expect.not.stringContaining('AQ.'),
  });
});

test('row 21: cleanup removes keys that were not used for so many days, and nothing without --confirm', async () => {
  const env = await dirWithKeys();
  expect((await cliHere(['cleanup'], { env })).stdout).toBe(
    'would remove 0 keys unused for 30 days; repeat with --confirm to do it\n',
  );
  const balancer = await withRestingKey(env);
  // One is leased now, which no day is too few for.
  await balancer.keyBalancer.acquireKey({ model: 'm' });
  const dry = await cliHere(['cleanup', '--days', '0', '--json'], { env });
  expect(JSON.parse(dry.stdout)).toMatchObject({ confirmed: false, keys: ['key-00000001', 'key-00000003'] });
  expect(await keyIds(env)).toHaveLength(3);
  expect((await cliHere(['cleanup', '--days', '0', '--confirm'], { env })).stdout).toBe(
    'removed 2 keys unused for 0 days\n',
  );
  expect(await keyIds(env)).toEqual(['key-00000002']);
  expect(await cliHere(['cleanup', '--days', 'many'], { env })).toMatchObject({
    exitCode: 2,
    stderr: 'keybalancer: --days is "many"; allowed: a number from 0 to 36500\n',
  });
});

test('rows 6, 7 and 10: db-info and memory tell of the database, of what keys take, and of the cache', async () => {
  const env = await dirWithKeys();
  const info = JSON.parse((await cliHere(['db-info', '--json'], { env })).stdout);
  expect(info).toMatchObject({
    keys: 3,
    pools: 1,
    keysBySource: { imported: 3 },
    imports: { count: 1, newest: expect.any(String) },
  });
  expect(info.databaseBytes).toBeGreaterThan(4096);
  expect((await cliHere(['db-info'], { env })).stdout).toMatch(
    /^where\tdata dir .*\nversion\t.*\ndatabase\t.* KiB\nkeys\t3 in 1 pool\nsources\timported 3\nimports\t1, the newest /,
  );
  const memory = JSON.parse((await cliHere(['memory', '--json'], { env })).stdout);
  expect(memory).toMatchObject({
    keys: 3,
    cache: { size: expect.any(Number), capacity: expect.any(Number), hitRate: expect.any(Number) },
  });
  expect(memory.averageBytesPerKey).toBeGreaterThan(100);
  expect(memory.cache.capacity).toBeGreaterThanOrEqual(100);
  expect((await cliHere(['memory'], { env })).stdout).toMatch(
    /^process\t.* MiB resident\nkeys\t.* of 3, .* each\n1000 keys\tabout .*\ncache\t/,
  );
});

test('row 17: import-history lists past imports, the newest first', async () => {
  const env = await dirWithKeys();
  await cliHere(['import', '-', '--source', 'second'], { env, input: `${KEYS[0]}\nAQ.test-key-000004\n` });
  const { stdout } = await cliHere(['import-history'], { env });
  const rows = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t'));
  expect(rows[0]).toEqual(['IMPORT', 'TIME', 'POOL', 'SOURCE', 'NEW', 'UPDATED', 'SKIPPED', 'REJECTED']);
  expect(rows.slice(1).map((row) => row.slice(2))).toEqual([
    ['default', 'second', '1', '0', '1', '0'],
    ['default', 'imported', '3', '0', '0', '0'],
  ]);
  const { imports } = JSON.parse((await cliHere(['import-history', '--json', '--limit', '1'], { env })).stdout);
  expect(imports).toEqual([expect.objectContaining({ source: 'second', created: 1, unchanged: 1 })]);
});

test('version tells of the program and its Node', async () => {
  expect(JSON.parse((await cliHere(['version', '--json'])).stdout)).toEqual({
    version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    node: process.versions.node,
    server: expect.objectContaining({ version: null }),
  });
});

test('row 18: each of the predecessor’s commands is there, with a help that has an example', async () => {
  const names =
    'stats health db-info memory import add-key remove-key list import-history reset cleanup monitor test-keys'.split(
      ' ',
    );
  for (const name of names) {
    const { exitCode, stdout } = await cliHere([name, '--help']);
    expect({ name, exitCode }).toEqual({ name, exitCode: 0 });
    expect(stdout).toMatch(new RegExp(`For example:\\n {2}keybalancer ${name}`));
    expect(stdout).toContain('--json');
    expect(stdout).toContain('Exit codes:');
  }
});
