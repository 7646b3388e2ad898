import { expect, onTestFinished, test } from 'vitest';
import { connect } from '../../src/client/connect.ts';
import { cli, startServe } from '../support/cli.ts';
import { tempDir } from '../support/temp-dir.ts';

test('pools are added, listed, changed and deleted, each setting by its flag', async () => {
  const env = { KEYBALANCER_DATA_DIR: tempDir() };
  const flags =
    '--default-lease-ttl 90s --max-lease-ttl 5m --max-concurrent-leases 2 --max-total-leases 9 --max-waiting 7';
  const words = ['--description', 'for jobs', '--auto-success', 'on', '--selection', 'until-spent'];
  expect(await cli(['pool', 'create', 'batch', ...flags.split(' '), ...words], { env })).toMatchObject({
    exitCode: 0,
    stdout: 'added pool batch\n',
  });
  const { pools } = JSON.parse((await cli(['pool', 'list', '--json'], { env })).stdout);
  expect(pools[0]).toMatchObject({
    pool: 'batch',
    defaultLeaseTtl: '90s',
    maxLeaseTtl: '300s',
    maxConcurrentLeases: 2,
    maxTotalLeases: 9,
    maxWaiting: 7,
    description: 'for jobs',
    autoSuccess: true,
    selection: 'SELECTION_UNTIL_SPENT',
  });
  const changed = await cli(['pool', 'update', 'batch', '--auto-success', 'off', '--max-total-leases', '0'], { env });
  expect(changed).toEqual({
    exitCode: 0,
    stdout: 'changed max_total_leases, auto_success of pool batch\n',
    stderr: '',
  });
  const rows = (await cli(['pool', 'list'], { env })).stdout.split('\n');
  expect(rows.slice(0, 2)).toEqual([
    'POOL\tKEYS\tTTL\tMAX TTL\tPER KEY\tTOTAL\tMAX WAITING\tSELECTION\tAUTO SUCCESS\tDESCRIPTION',
    'batch\t0\t1 min 30 s\t5 min\t2\t-\t7\tuntil-spent\toff\tfor jobs',
  ]);
  expect(await cli(['pool', 'delete', 'batch'], { env })).toMatchObject({
    exitCode: 0,
    stdout: 'deleted pool batch\n',
  });
  expect(await cli(['pool', 'delete', 'batch'], { env })).toMatchObject({ exitCode: 1, stdout: '' });
});

test.each([
  [
    ['pool', 'create', 'p', '--max-lease-ttl', '5'],
    '--max-lease-ttl is "5"; allowed: a number with ms, s, m or h, such as 90s or 2m',
  ],
  [['pool', 'create', 'p', '--selection', 'random'], '--selection is "random"; allowed: weighted-lru, until-spent'],
  [['pool', 'update', 'default'], 'no setting is named; see --help for those there are'],
])('%j is refused before anything is opened', async (args, message) => {
  const refused = await cli(args);
  expect(refused).toMatchObject({ exitCode: 2, stdout: '' });
  expect(refused.stderr).toContain(message);
});

test('leases are listed without their secret, and one that is revoked is gone', async () => {
  const dataDir = tempDir();
  const env = { KEYBALANCER_DATA_DIR: dataDir };
  await cli(['import', '-'], { env, input: 'AQ.test-key-000001\n' });
  const server = await startServe(dataDir);
  const balancer = await connect({ address: server.grpc });
  onTestFinished(() => balancer.close());
  const { lease } = await balancer.keyBalancer.acquireKey({ model: 'gemini-2.5-flash' });
  const listed = await cli(['lease', 'list', '--json'], { env });
  const { leases } = JSON.parse(listed.stdout);
  expect(leases).toEqual([
    expect.objectContaining({ keyId: 'key-00000001', pool: 'default', model: 'gemini-2.5-flash', holder: 'local' }),
  ]);
  expect(listed.stdout).not.toContain(lease!.leaseId);
  expect(listed.stdout).not.toContain('AQ.');
  expect((await cli(['lease', 'list'], { env })).stdout).toMatch(
    /^REF\tKEY ID\tPOOL\tMODEL\tHOLDER\tSINCE\tENDS\n.*\tkey-00000001\tdefault\tgemini-2.5-flash\tlocal\t.*left\)\n$/,
  );
  expect(await cli(['lease', 'list', '--key-id', 'key-00000002'], { env })).toMatchObject({ exitCode: 1, stdout: '' });
  const ref = leases[0].leaseRef as string;
  expect(await cli(['lease', 'revoke', ref], { env })).toEqual({ exitCode: 0, stdout: `ended ${ref}\n`, stderr: '' });
  expect((await balancer.keyBalancer.getStats({})).total?.activeLeases).toBe(0n);
  expect(await cli(['lease', 'revoke', ref], { env })).toMatchObject({ exitCode: 1, stdout: '' });
});
