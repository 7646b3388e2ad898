import { expect, onTestFinished, test } from 'vitest';
import { connect } from '../../src/client/connect.ts';
import { startServe } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { dirWithKeys } from '../support/key-dirs.ts';
import { tempDir } from '../support/temp-dir.ts';

test('pools are added, listed, changed and deleted, each setting by its flag', async () => {
  const at = ['--data-dir', tempDir()];
  const flags =
    '--default-lease-ttl 90s --max-lease-ttl 5m --max-concurrent-leases 2 --max-total-leases 9 --max-waiting 7';
  const words = ['--description', 'for jobs', '--auto-success', 'on', '--selection', 'until-spent'];
  expect(await cliHere(['pool', 'create', 'batch', ...flags.split(' '), ...words, ...at])).toMatchObject({
    exitCode: 0,
    stdout: 'added pool batch\n',
  });
  const { pools } = JSON.parse((await cliHere(['pool', 'list', '--json', ...at])).stdout);
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
  const changed = await cliHere(['pool', 'update', 'batch', '--auto-success', 'off', '--max-total-leases', '0', ...at]);
  expect(changed).toEqual({
    exitCode: 0,
    stdout: 'changed max_total_leases, auto_success of pool batch\n',
    stderr: '',
  });
  const rows = (await cliHere(['pool', 'list', ...at])).stdout.split('\n');
  expect(rows.slice(0, 2)).toEqual([
    'POOL\tKEYS\tTTL\tMAX TTL\tPER KEY\tTOTAL\tMAX WAITING\tSELECTION\tAUTO SUCCESS\tDESCRIPTION',
    'batch\t0\t1 min 30 s\t5 min\t2\t-\t7\tuntil-spent\toff\tfor jobs',
  ]);
  expect((await cliHere(['pool', 'show', 'batch', ...at])).stdout).toMatch(
    /^pool\tbatch\ndescription\tfor jobs\ndefault lease ttl\t1 min 30 s\n.*max total leases\tno limit\n.*keys\t0\n/s,
  );
  expect(JSON.parse((await cliHere(['pool', 'show', 'batch', '--json', ...at])).stdout)).toMatchObject({
    pool: 'batch',
    selection: 'SELECTION_UNTIL_SPENT',
    stats: { totalKeys: '0' },
  });
  expect(await cliHere(['pool', 'show', 'other', ...at])).toEqual({
    exitCode: 1,
    stdout: '',
    stderr: 'keybalancer: NAME is no pool; `pool list` shows those there are\n',
  });
  expect(await cliHere(['pool', 'delete', 'batch', ...at])).toMatchObject({
    exitCode: 0,
    stdout: 'deleted pool batch\n',
  });
  expect(await cliHere(['pool', 'delete', 'batch', ...at])).toMatchObject({ exitCode: 1, stdout: '' });
  for (const [args, says] of [
    [['pool', 'create', 'Bad'], 'NAME is "Bad"; allowed: a lower-case letter'],
    [['pool', 'delete', 'default'], 'NAME is "default"; allowed: any pool but "default"'],
    [
      ['pool', 'create', 'p', '--default-lease-ttl', '1h', '--max-lease-ttl', '1m'],
      '--default-lease-ttl is "3600 s"; allowed: at most max_lease_ttl, 60 s',
    ],
    [['lease', 'revoke', 'nope'], 'REF names no lease'],
  ] as const) {
    const refused = await cliHere([...args, ...at]);
    expect(refused).toMatchObject({ exitCode: 1, stdout: '' });
    expect(refused.stderr).toContain(`keybalancer: ${says}`);
  }
});

test.each([
  [
    ['pool', 'create', 'p', '--max-lease-ttl', '5'],
    '--max-lease-ttl is "5"; allowed: a number with ms, s, m or h, such as 90s or 2m',
  ],
  [['pool', 'create', 'p', '--selection', 'random'], '--selection is "random"; allowed: weighted-lru, until-spent'],
  [['pool', 'update', 'default'], 'no setting is named; see --help for those there are'],
])('%j is refused before anything is opened', async (args, message) => {
  const refused = await cliHere(args);
  expect(refused).toMatchObject({ exitCode: 2, stdout: '' });
  expect(refused.stderr).toContain(message);
});

test('leases are listed without their secret, and one that is revoked is gone', async () => {
  const dataDir = await dirWithKeys(1);
  const at = ['--data-dir', dataDir];
  const server = await startServe(dataDir);
  const balancer = await connect({ address: server.grpc });
  onTestFinished(() => balancer.close());
  const { lease } = await balancer.keyBalancer.acquireKey({ model: 'gemini-2.5-flash' });
  const listed = await cliHere(['lease', 'list', '--json', ...at]);
  const { leases } = JSON.parse(listed.stdout);
  expect(leases).toEqual([
    expect.objectContaining({ keyId: 'key-00000001', pool: 'default', model: 'gemini-2.5-flash', holder: 'local' }),
  ]);
  expect(listed.stdout).not.toContain(lease!.leaseId);
  expect(listed.stdout).not.toContain('AQ.');
  expect((await cliHere(['lease', 'list', ...at])).stdout).toMatch(
    /^REF\tKEY ID\tPOOL\tMODEL\tHOLDER\tSINCE\tENDS\n.*\tkey-00000001\tdefault\tgemini-2.5-flash\tlocal\t.*left\)\n$/,
  );
  expect(await cliHere(['lease', 'list', '--key-id', 'key-00000002', ...at])).toMatchObject({
    exitCode: 1,
    stdout: '',
  });
  const ref = leases[0].leaseRef as string;
  expect(await cliHere(['lease', 'revoke', ref, ...at])).toEqual({ exitCode: 0, stdout: `ended ${ref}\n`, stderr: '' });
  expect((await balancer.keyBalancer.getStats({})).total?.activeLeases).toBe(0n);
  expect(await cliHere(['lease', 'revoke', ref, ...at])).toMatchObject({ exitCode: 1, stdout: '' });
});
