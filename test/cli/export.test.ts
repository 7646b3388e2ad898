import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { connect } from '../../src/client/connect.ts';
import { startServe } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { tempDir } from '../support/temp-dir.ts';

const KEYS = [
  {
    apiKey: 'AQ.test-key-000001',
    weight: 2.5,
    project: 'p, "q"',
    models: ['m-1', 'm-2'],
    labels: { a: 'x y', b: '="1"' },
  },
  { apiKey: 'AQ.test-key-000002', source: 'of its own', tier: 3, disabled: true, maxConcurrentLeases: 0 },
  { apiKey: 'AQ.test-key-000003' },
  { apiKey: '#test-key-000004' },
];

async function settings(balancer: Balancer): Promise<unknown[]> {
  const { keys } = await balancer.keyAdmin.listKeys({});
  return keys.map(({ pool, weight, project, models, labels, source, tier, disabled, maxConcurrentLeases }) => {
    return { pool, weight, project, models, labels, source, tier, disabled, maxConcurrentLeases };
  });
}

test('keys are exported in plain text, of a server and of a closed data dir, and imported they are the same pool', async () => {
  const dir = tempDir();
  const env = { KEYBALANCER_DATA_DIR: join(dir, 'data') };
  const served = await startServe(env.KEYBALANCER_DATA_DIR);
  const balancer = await connect({ address: served.grpc });
  await balancer.keyBalancer.importKeys({ keys: KEYS, source: 'vault' });
  const before = await settings(balancer);
  const file = join(dir, 'keys.json');
  const json = await cliHere(['export', '--with-keys', '--output', file], { env });
  expect(json).toEqual({ exitCode: 0, stdout: `wrote ${file}: 4 keys in plain text\n`, stderr: '' });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const again = await cliHere(['export', '--with-keys', '--output', file], { env });
  expect(again).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('which is there already') });
  const remote = await cliHere(['export', '--with-keys', '--address', served.grpc, '--output', join(dir, 'no')]);
  expect(remote).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('acts on a data dir') });
  const masked = await cliHere(['export', '--address', served.grpc]);
  expect(masked.stdout.split('\n')[1]).toMatch(/^key-00000001,AQ…01,2\.5,"p, ""q""",0,m-1 m-2,/);
  expect(masked.stdout).not.toContain('AQ.');
  expect(json.stdout + again.stderr).not.toContain('AQ.');
  await balancer.close();
  served.child.kill('SIGTERM');
  await served.ended;

  const csv = await cliHere(['export', '--with-keys', '--pool', 'default'], { env });
  expect(csv.exitCode).toBe(0);
  const other = await startServe(join(dir, 'other'));
  const there = await connect({ address: other.grpc });
  onTestFinished(() => there.close());
  const csvFile = join(dir, 'keys.csv');
  writeFileSync(csvFile, csv.stdout);
  expect(await cliHere(['import', csvFile, '--address', other.grpc])).toMatchObject({ exitCode: 0, stderr: '' });
  expect(await settings(there)).toEqual(before);
  expect(await cliHere(['import', file, '--address', other.grpc])).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining('0 new, 0 updated, 4 there already'),
  });
  expect(JSON.parse(readFileSync(file, 'utf8')).keys[0]).toMatchObject({
    key: KEYS[0]!.apiKey,
    labels: KEYS[0]!.labels,
  });
});
