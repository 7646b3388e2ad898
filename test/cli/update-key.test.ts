import { expect, test } from 'vitest';
import { startServe } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { dirWithKeys, testKeys } from '../support/key-dirs.ts';

const [KEY = ''] = testKeys(1);

test('update-key sets each setting by its flag, and leaves what is not named', async () => {
  const at = ['--data-dir', await dirWithKeys(3)];
  const flags =
    '--weight 2.5 --project p1 --tier 3 --source desk --models gemini-2.5-flash,m2 --max-concurrent-leases 4';
  const labels = '--label team=search --label env=prod --disable --json'.split(' ');
  const first = await cliHere(['update-key', 'key-00000001', ...flags.split(' '), ...labels, ...at]);
  expect(first).toMatchObject({ exitCode: 0, stderr: '' });
  expect(JSON.parse(first.stdout)).toMatchObject({
    keys: [
      {
        keyId: 'key-00000001',
        weight: 2.5,
        project: 'p1',
        tier: 3,
        source: 'desk',
        models: ['gemini-2.5-flash', 'm2'],
        maxConcurrentLeases: 4,
        labels: { team: 'search', env: 'prod' },
        disabled: true,
        health: { state: 'KEY_STATE_DISABLED_ADMIN' },
      },
    ],
    failed: [],
  });
  const second = ['--label', 'env=test', '--remove-label', 'team', '--enable', '--models', '', '--project', ''];
  expect(await cliHere(['update-key', 'key-00000001', ...second, '--max-concurrent-leases', 'pool', ...at])).toEqual({
    exitCode: 0,
    stdout: 'changed project, models, max_concurrent_leases, disabled, labels of 1 key\n',
    stderr: '',
  });
  const [key] = JSON.parse((await cliHere(['list', '--json', ...at])).stdout).keys;
  expect(key).toMatchObject({
    weight: 2.5,
    tier: 3,
    project: '',
    models: [],
    labels: { env: 'test' },
    disabled: false,
  });
  expect(key).not.toHaveProperty('maxConcurrentLeases');
});

test('update-key changes many keys at once, and tells of those that are not there', async () => {
  const at = ['--data-dir', await dirWithKeys(3)];
  const partly = await cliHere(['update-key', 'key-00000001', 'key-00000003', 'key-0000ffff', '--tier', '1', ...at]);
  expect(partly).toEqual({
    exitCode: 4,
    stdout: 'changed tier of 2 keys\n',
    stderr: expect.stringMatching(/^keybalancer: key-0000ffff: .*\nkeybalancer: 1 key failed\n$/),
  });
  const none = await cliHere(['update-key', 'key-0000ffff', '--tier', '1', ...at]);
  expect(none).toMatchObject({ exitCode: 1, stdout: '' });
});

test('update-key --replace puts another API key in the place of one, from standard input', async () => {
  const at = ['--data-dir', await dirWithKeys(3)];
  const replaced = await cliHere(['update-key', 'key-00000002', '--replace', ...at], { input: 'AQ.test-key-000099\n' });
  expect(replaced).toEqual({ exitCode: 0, stdout: 'changed API key of 1 key\n', stderr: '' });
  expect(await cliHere(['remove-key', '-', ...at], { input: 'AQ.test-key-000099' })).toMatchObject({
    exitCode: 0,
    stdout: 'removed key-00000002\n',
  });
});

test.each([
  [['update-key'], "missing required argument 'KEY_ID'"],
  [['update-key', 'key-00000001'], 'no change is named'],
  [['update-key', KEY, '--tier', '1'], 'KEY_ID is no key id'],
  [['update-key', 'key-00000001', '--enable', '--disable'], "'--enable' cannot be used with option '--disable'"],
  [['update-key', 'key-00000001', '--label', 'team'], '--label is "team"; allowed: NAME=VALUE'],
  [['update-key', 'key-00000001', '--label', KEY], '--label is "[redacted]"'],
  [['update-key', 'key-00000001', '--weight', '0'], '--weight is "0"; allowed: a number from 0.001 to 1000'],
  [
    ['update-key', 'key-00000001', '--max-concurrent-leases', 'many'],
    '--max-concurrent-leases is "many"; allowed: a whole number from 0 to 2147483647, or pool',
  ],
  [['update-key', 'key-00000001', 'key-00000002', '--replace'], '--replace is for one key, and 2 are named'],
  [['list', '--state', 'tired'], '--state is "tired"; allowed: available, cooling, quarantined, disabled'],
])('%j is refused, with exit code 2', async (args, why) => {
  const { exitCode, stdout, stderr } = await cliHere(args);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toContain(why);
  expect(stderr).not.toContain(KEY);
});

test('a setting that the balancer refuses is told by its flag', async () => {
  const at = ['--data-dir', await dirWithKeys(3)];
  expect(await cliHere(['update-key', 'key-00000001', '--models', 'a b', ...at])).toMatchObject({
    exitCode: 1,
    stderr: expect.stringMatching(/^keybalancer: key-00000001: --models is "a b"; allowed: /),
  });
});

test('list shows the keys of a state and with labels', async () => {
  const at = ['--data-dir', await dirWithKeys(3)];
  await cliHere(['update-key', 'key-00000001', '--disable', '--label', 'team=a', ...at]);
  await cliHere(['update-key', 'key-00000002', '--label', 'team=a', '--label', 'env=b', ...at]);
  const listed = async (...args: string[]): Promise<string[]> => {
    const { stdout } = await cliHere(['list', '--json', ...args, ...at]);
    return JSON.parse(stdout).keys.map(({ keyId }: { keyId: string }) => keyId.slice(-1));
  };
  expect(await listed('--state', 'disabled')).toEqual(['1']);
  expect(await listed('--state', 'available')).toEqual(['2', '3']);
  expect(await listed('--state', 'disabled', '--state', 'available')).toEqual(['1', '2', '3']);
  expect(await listed('--label', 'team=a')).toEqual(['1', '2']);
  expect(await listed('--label', 'team=a', '--label', 'env=b')).toEqual(['2']);
  expect(await listed('--label', 'team=a', '--available-only')).toEqual(['2']);
});

test('version tells of the server too, and says why where none answers', async () => {
  const at = ['--data-dir', await dirWithKeys(3)];
  const alone = JSON.parse((await cliHere(['version', '--json', ...at])).stdout);
  const socket = `unix:${at[1]!}/keybalancer.sock`;
  expect(alone.server).toEqual({ where: socket, version: null, error: expect.stringContaining(socket) });
  await startServe(at[1]!);
  const both = JSON.parse((await cliHere(['version', '--json', ...at])).stdout);
  expect(both.server).toEqual({ where: socket, version: both.version, error: null });
  expect((await cliHere(['version', ...at])).stdout).toBe(
    `keybalancer ${both.version}, Node ${process.versions.node}\nserver ${both.version} at ${socket}\n`,
  );
});
