import { existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { connect } from '../../src/client/connect.ts';
import { Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { startServe } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { tempDir } from '../support/temp-dir.ts';

const KEYS = ['AQ.test-key-000001', 'AQ.test-key-000002'];

async function dirWithKeys(): Promise<{ dataDir: string; dir: string; env: NodeJS.ProcessEnv }> {
  const dir = tempDir();
  const dataDir = join(dir, 'data');
  const env = { KEYBALANCER_DATA_DIR: dataDir };
  expect((await cliHere(['import', '-'], { env, input: KEYS.join('\n') })).exitCode).toBe(0);
  return { dataDir, dir, env };
}

async function keyCount(env: NodeJS.ProcessEnv): Promise<number> {
  return JSON.parse((await cliHere(['list', '--json'], { env })).stdout).keys.length;
}

test('a backup of a data dir that nobody uses is one checked file, for its owner alone, without a key in plain text', async () => {
  const { dir, env } = await dirWithKeys();
  const file = join(dir, 'backup.db');
  const done = await cliHere(['backup', file, '--json'], { env });
  expect(JSON.parse(done.stdout)).toEqual({
    file,
    problems: [],
    keys: 2,
    schemaVersion: expect.any(Number),
    sizeBytes: statSync(file).size,
  });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readdirSync(dir).sort()).toEqual(['backup.db', 'data']);
  const content = readFileSync(file, 'latin1');
  for (const key of KEYS) expect(content).not.toContain(key);
});

test('a server is backed up while it lends keys, and the copy holds what was acknowledged before', async () => {
  const { dataDir, dir, env } = await dirWithKeys();
  const server = await startServe(dataDir);
  const balancer = await connect({ address: server.grpc });
  const lease = await balancer.keyBalancer.acquireKey({ model: 'm' });
  await balancer.keyBalancer.reportResult({ leaseId: lease.lease!.leaseId, outcome: Outcome.SUCCESS });
  await balancer.close();
  const file = join(dir, 'live.db');
  expect(await cliHere(['backup', file], { env })).toMatchObject({ exitCode: 0, stderr: '' });
  expect((await cliHere(['check'], { env })).stdout).toMatch(/^in order: 2 keys, .*; every sealed key opens\n$/);
  server.child.kill('SIGTERM');
  expect((await server.ended).exitCode).toBe(0);

  await cliHere(['import', '-'], { env, input: 'AQ.test-key-000003\n' });
  expect(await keyCount(env)).toBe(3);
  expect((await cliHere(['restore', file], { env })).stdout).toContain('would restore 2 keys');
  expect(await keyCount(env)).toBe(3);
  const restored = JSON.parse((await cliHere(['restore', file, '--confirm', '--json'], { env })).stdout);
  expect(restored).toMatchObject({ restored: true, keys: 2 });
  const { pools } = JSON.parse((await cliHere(['stats', '--json'], { env })).stdout);
  expect(pools[0]).toMatchObject({ usage: { succeeded: '1' } });
  expect(await keyCount(env)).toBe(2);

  // What was replaced is a database as before.
  expect((await cliHere(['restore', restored.replaced, '--confirm'], { env })).exitCode).toBe(0);
  expect(await keyCount(env)).toBe(3);
});

test('a report of a lease that was given after the backup is taken by the restored database, and leases of both are apart', async () => {
  const { dataDir, dir, env } = await dirWithKeys();
  const file = join(dir, 'backup.db');
  const server = await startServe(dataDir);
  expect((await cliHere(['backup', file], { env })).exitCode).toBe(0);
  const before = await connect({ address: server.grpc });
  const old = (await before.keyBalancer.acquireKey({ model: 'm' })).lease!;
  await before.close();
  server.child.kill('SIGTERM');
  await server.ended;
  expect((await cliHere(['restore', file, '--confirm'], { env })).exitCode).toBe(0);

  const again = await startServe(dataDir);
  const after = await connect({ address: again.grpc });
  const fresh = (await after.keyBalancer.acquireKey({ model: 'm' })).lease!;
  expect(fresh.leaseId).not.toBe(old.leaseId);
  await after.keyBalancer.reportResult({ leaseId: old.leaseId, outcome: Outcome.SUCCESS });
  await after.keyBalancer.reportResult({ leaseId: fresh.leaseId, outcome: Outcome.SUCCESS });
  const stats = await after.keyBalancer.getStats({});
  expect(stats.pools[0]?.usage).toMatchObject({ acquired: 2n, succeeded: 2n });
  await after.close();
});

test('restore changes nothing while somebody has the data dir, nor without the master key, nor from what is no backup', async () => {
  const { dataDir, dir, env } = await dirWithKeys();
  const file = join(dir, 'backup.db');
  await cliHere(['backup', file], { env });
  const server = await startServe(dataDir);
  const inUse = await cliHere(['restore', file, '--confirm'], { env });
  expect(inUse).toMatchObject({ exitCode: 1 });
  expect(inUse.stderr).toContain(`data dir ${dataDir} is in use by process ${server.child.pid}`);
  server.child.kill('SIGTERM');
  await server.ended;

  const text = join(dir, 'notes.txt');
  writeFileSync(text, 'no database');
  expect((await cliHere(['restore', text, '--confirm'], { env })).stderr).toContain(
    `${text} cannot be used: file is not a database`,
  );
  const cut = join(dir, 'cut.db');
  writeFileSync(cut, readFileSync(file));
  truncateSync(cut, statSync(file).size - 3 * 4096);
  expect(await cliHere(['restore', cut, '--confirm'], { env })).toMatchObject({ exitCode: 1, stdout: '' });
  const other = await cliHere(['restore', file, '--confirm', '--data-dir', join(dir, 'other')], { env });
  expect(other).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('master.key is missing') });
  const wrong = await cliHere(['check', file], { env: { ...env, KEYBALANCER_MASTER_KEY: 'ab'.repeat(32) } });
  expect(wrong).toMatchObject({ exitCode: 1, stderr: 'keybalancer: its keys were sealed with another master key\n' });
  expect(await keyCount(env)).toBe(2);
  expect(readdirSync(dataDir).sort()).toEqual(['keybalancer.db', 'master.key']);
});

test('a backup is refused where it would overwrite, where there is no directory, and of a server over the network', async () => {
  const { dir, env } = await dirWithKeys();
  const there = join(dir, 'there.db');
  writeFileSync(there, 'precious');
  const none = join(dir, 'none/x.db');
  const refused = {
    [there]: `keybalancer: FILE is "${there}"; allowed: the path of a file that is not there yet\n`,
    [none]: `keybalancer: FILE is "${none}"; allowed: a path in a directory that is there\n`,
  };
  const refuses = async (): Promise<void> => {
    for (const [file, stderr] of Object.entries(refused)) {
      expect(await cliHere(['backup', file], { env })).toEqual({ exitCode: 1, stdout: '', stderr });
    }
    expect(readFileSync(there, 'utf8')).toBe('precious');
  };
  await refuses();
  expect(await cliHere(['check', dir], { env })).toEqual({
    exitCode: 1,
    stdout: '',
    stderr: `keybalancer: ${dir} is a directory; a backup is one file\n`,
  });
  const server = await startServe(env.KEYBALANCER_DATA_DIR!);
  await refuses();
  server.child.kill('SIGTERM');
  await server.ended;
  for (const command of [['backup', join(dir, 'x.db')], ['check'], ['restore', there], ['config', 'reload']]) {
    const elsewhere = await cliHere([...command, '--address', '127.0.0.1:9'], { env: {} });
    expect(elsewhere).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('data dir') });
  }
  expect(existsSync(join(dir, 'x.db'))).toBe(false);
});
