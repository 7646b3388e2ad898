import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { explainFailure } from '../../src/cli/explain-failure.ts';
import { numberOption } from '../../src/cli/options.ts';
import { KeyBalancerError } from '../../src/client/errors.ts';
import { MAIN } from '../support/build.ts';
import { cli } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';

const COMMANDS = ['serve', 'import', 'add-key', 'list', 'stats', 'health', 'test-keys', 'quota', 'explain', 'bridge'];
const SUBCOMMANDS = ['quota list', 'quota set', 'quota delete'];
const KEY = 'AQ.test-key-000001';

describe('help', () => {
  test('names every command, the exit codes and the version', async () => {
    const [none, help, version] = await Promise.all([cli([]), cli(['--help']), cli(['--version'])]);
    expect(none).toEqual(help);
    expect(help).toMatchObject({ exitCode: 0, stderr: '' });
    for (const command of COMMANDS) expect(help.stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    expect(help.stdout).toContain(
      '0 done, 1 failed, 2 usage, 3 server not reached (or no data), 4 partly done, 130 or 143 interrupted by a signal',
    );
    expect(version).toEqual({ exitCode: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), stderr: '' });
  });

  test.each([...COMMANDS, ...SUBCOMMANDS])('of %s has an example and the exit codes', async (command) => {
    const help = await cliHere([...command.split(' '), '--help']);
    expect(help).toMatchObject({ exitCode: 0, stderr: '' });
    expect(help.stdout).toContain(`For example:\n  keybalancer ${command}`);
    expect(help.stdout).toContain('Exit codes:');
    expect(help.stdout).toContain(command === 'serve' ? '--grpc <HOST:PORT|off>' : '--json');
  });

  test('is the same by `help COMMAND`', async () => {
    expect(await cliHere(['help', 'stats'])).toEqual(await cliHere(['stats', '--help']));
  });
});

describe('an older Node', () => {
  test.each([
    ['22.14.0', 1],
    ['20.19.2', 1],
    ['22.15.0', 0],
    ['30.0.0', 0],
  ])('%s ends with exit code %i, and with a line that says which is needed if that is 1', (version, exitCode) => {
    const pretend = `data:text/javascript,Object.defineProperty(process.versions, 'node', { value: '${version}' })`;
    const { status, stderr } = spawnSync(process.execPath, ['--import', pretend, MAIN, '--version'], {
      encoding: 'utf8',
    });
    expect(status).toBe(exitCode);
    expect(stderr).toBe(
      exitCode === 0 ? '' : `keybalancer: this is Node ${version}, and Node 22.15 or newer is needed\n`,
    );
  });
});

describe('a number', () => {
  const weight = numberOption('--weight', { least: 0.001, most: 1000 });
  const tier = numberOption('--tier', { least: 0, most: 9, whole: true });

  test('within its bounds is taken', () => {
    expect(['0.001', '1000', '2.5', '1e1'].map(weight)).toEqual([0.001, 1000, 2.5, 10]);
    expect(['0', '9'].map(tier)).toEqual([0, 9]);
  });

  test.each(['0', '-1', '1001', 'Infinity', 'NaN', '', ' ', 'two', '1,5', '0x10', '0b1', '1_0'])(
    '%j is refused as a weight',
    (text) => {
      expect(() => weight(text)).toThrow(`--weight is ${JSON.stringify(text)}; allowed: a number from 0.001 to 1000`);
    },
  );

  test.each(['1.5', '10', '-1', ''])('%j is refused as a tier', (text) => {
    expect(() => tier(text)).toThrow(`--tier is ${JSON.stringify(text)}; allowed: a whole number from 0 to 9`);
  });
});

describe('a refusal', () => {
  const refusal = (message: string): KeyBalancerError =>
    new KeyBalancerError(message, { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });

  test.each([
    ['key.source is "s"; allowed: t', '--source is "s"; allowed: t'],
    ['pools[0] is "P"; allowed: t', '--pool is "P"; allowed: t'],
    ['api_key is "a text with spaces"; allowed: t', 'KEY is a text with spaces; allowed: t'],
    ['quota.tokens_per_day.value is -1; allowed: t', '--tokens-per-day is -1; allowed: t'],
    ['pool.pool is "P"; allowed: t', 'NAME is "P"; allowed: t'],
    ['pool is "default"; allowed: t', 'NAME is "default"; allowed: t'],
    ['pool.default_lease_ttl is 1 s; allowed: t', '--default-lease-ttl is 1 s; allowed: t'],
    ['key_id names no key', 'KEY_ID names no key'],
    ['lease_ref names no lease', 'REF names no lease'],
    ['quota.project is ""; allowed: t', 'PROJECT is ""; allowed: t'],
    ['pool "p" does not exist', 'pool "p" does not exist'],
  ])('%j speaks of options and arguments: %j', (message, said) => {
    expect(explainFailure(refusal(message))).toEqual({ exitCode: 1, message: said });
  });

  test.each(['UNAVAILABLE', 'DEADLINE_EXCEEDED'] as const)(
    '%s counts as not reached only if the transport says it',
    (code) => {
      expect(explainFailure(new KeyBalancerError('late', { code }))).toEqual({ exitCode: 3, message: 'late' });
      expect(explainFailure(new KeyBalancerError('full', { code, reason: 'STORE_UNAVAILABLE' })).exitCode).toBe(1);
    },
  );
});

describe('a command line that cannot be used', () => {
  test.each([
    [['sevre'], /unknown command 'sevre'.*serve/],
    [['serve', '--grcp', 'off'], /unknown option '--grcp'.*--grpc/],
    [['serve', '--grpc'], /'--grpc <HOST:PORT\|off>' argument missing/],
    [['serve', '--grpc', ':x', '--http', '1.2.3.4'], /--grpc is ":x"; allowed: HOST:PORT.*\n.*--http is "1.2.3.4"/],
    [['add-key'], /missing KEY: name - for standard input/],
    [['add-key', '-', '--from-env', 'A'], /only one can be given/],
    [['add-key', '--from-env', 'AQ.test-key-in-place'], /--from-env is no name of a variable/],
    [['add-key', '--from-env', 'NOT_SET'], /--from-env names a variable that is not set/],
    [['import'], /missing FILE: name a file with keys, or - for standard input/],
    [['import', '-', '--format', 'xml'], /--format is "xml"; allowed: text, csv, json, jsonl, env/],
    [['import', '-', '--weight', '0'], /--weight is "0"; allowed: a number from 0.001 to 1000/],
    [['import', '-', '--label', 'team'], /--label is "team"; allowed: NAME=VALUE/],
    [['add-key', '-', '--weight', '0'], /--weight is "0"; allowed: a number from 0.001 to 1000/],
    [['add-key', '-'], /no API key on standard input/],
    [['add-key', ''], /KEY is empty; allowed: an API key, or -/],
    [['import', '-', '--on-conflict', 'never'], /--on-conflict is "never"; allowed: keep, update/],
    [['stats', '--address', 'nowhere'], /--address is "nowhere"; allowed: HOST:PORT/],
    [['stats', '--address', 'a:1', '--data-dir', 'd'], /--address and --data-dir both say where to look/],
  ])('%j ends with exit code 2, says why on standard error, and prints nothing else', async (args, why) => {
    const result = await (args[0] === 'serve' ? cli(args) : cliHere(args));
    expect(result).toMatchObject({ exitCode: 2, stdout: '' });
    expect(result.stderr).toMatch(why);
    for (const line of result.stderr.trimEnd().split('\n')) expect(line).toMatch(/^keybalancer: /);
  });

  test.each([[[KEY]], [['add-key', '-', KEY]], [['list', KEY]], [['stats', `--${KEY}`]], [['stats', `-${KEY}`]]])(
    'with a key in the wrong place, %j, does not repeat the key',
    async (args) => {
      const { exitCode, stdout, stderr } = await cliHere(args);
      expect(exitCode).toBe(2);
      expect(stdout + stderr).not.toContain(KEY);
      expect(stderr).not.toBe('');
    },
  );
});
