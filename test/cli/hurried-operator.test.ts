import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { expect, onTestFinished, test } from 'vitest';
import { GetStatsResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { type Functions, listen } from '../client/scripted-balancer.ts';
import { MAIN } from '../support/build.ts';
import { Cli } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { dirWithKeys, testKeys } from '../support/key-dirs.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';

const nowhere = (): string[] => ['--data-dir', join(tempDir(), 'none')];

test.each([
  [['docter'], /unknown command 'docter' \(Did you mean doctor\?\)/],
  [['pool', 'lst'], /unknown command 'lst' \(Did you mean list\?\)/],
  [['pool'], /the command to run is missing/],
  [['list', '--jason'], /unknown option '--jason' \(Did you mean --json\?\)/],
  [['list', '--state'], /'--state <.*>' argument missing/],
  [['stats', 'default'], /too many arguments/],
  [['quota', 'set', 'p', '--requests-per-minute', 'ten'], /--requests-per-minute is "ten"; allowed: a whole number/],
  [['pool', 'update', 'p', '--max-lease-ttl', '1 day'], /--max-lease-ttl is "1 day"; allowed: /],
  [['config', 'print', '--config', 'settings.ini'], /settings\.ini" is of no known kind; allowed: .*\.yaml/],
  [['backup', 'copy.db', '--address', 'keys.internal:50051'], /`backup` acts on a data dir.*run it on that server/],
  [['config', 'reload', '--address', 'keys.internal:50051'], /`config reload` acts on a data dir/],
])('%j is told what is wrong with it, with exit code 2', async (args, why) => {
  const { exitCode, stdout, stderr } = await cliHere(args);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toMatch(why);
});

test('row 18: --json, and where the keys are, may stand before the command, as easy-gemini-balance has it', async () => {
  const dataDir = await dirWithKeys(1);
  const behind = await cliHere(['pool', 'list', '--json', '--data-dir', dataDir]);
  expect(behind).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^\{/) });
  expect(await cliHere(['--json', '--data-dir', dataDir, 'pool', 'list'])).toEqual(behind);
  expect(await cliHere([`--data-dir=${dataDir}`, 'pool', 'list', '--json', '--'])).toEqual(behind);
  expect((await cliHere(['--json', 'explain', '--', '--none.txt'])).stderr).toContain('FILE is --none.txt, which');
  for (const [args, option] of [
    [['--verbos', 'list'], '--verbos'],
    [['--data-dir', dataDir, '--jason', 'list'], '--jason'],
    [['--json'], '--json'],
  ] as const) {
    const { exitCode, stdout, stderr } = await cliHere(args);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain(`unknown option '${option}'`);
  }
});

test('row 18: -v tells where a command failed, also before the command, and no key that was typed', async () => {
  const [key = ''] = testKeys(1);
  const missing = join(tempDir(), 'missing');
  const { stderr } = await cliHere(['list', '--data-dir', missing]);
  for (const args of [
    ['-v', 'list', '--data-dir', missing],
    ['list', '--verbose', '--data-dir', missing],
  ]) {
    const verbose = await cliHere(args);
    expect(verbose).toMatchObject({ exitCode: 3, stdout: '' });
    expect(verbose.stderr.slice(0, stderr.length)).toBe(stderr);
    expect(verbose.stderr.slice(stderr.length)).toMatch(
      /^keybalancer: CliError\nkeybalancer: {5}at checkThereIsData .*with-balancer/,
    );
  }
  for (const args of [
    [key],
    ['list', key],
    ['list', `--${key}`],
    ['explain', key],
    ['serve', key],
    ['completion', key],
  ]) {
    const { exitCode, stdout, stderr } = await cliHere(['-v', ...args]);
    expect({ exitCode, stdout }).toEqual({ exitCode: expect.any(Number), stdout: '' });
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('    at ');
    expect(stderr).not.toContain(key);
  }
});

test('a file of another kind is no backup, and nothing becomes of the data dir', async () => {
  const at = ['--data-dir', await dirWithKeys(2)];
  const dir = tempDir();
  const picture = join(dir, 'picture.db');
  writeFileSync(picture, Buffer.from('\u0089PNG\r\n\u001a\n and more of it', 'latin1'));
  mkdirSync(join(dir, 'folder.db'));
  for (const file of [picture, join(dir, 'folder.db'), join(dir, 'missing.db')]) {
    for (const command of [
      ['check', file],
      ['restore', file, '--confirm'],
    ]) {
      const { exitCode, stdout, stderr } = await cliHere([...command, ...at]);
      expect({ command, exitCode, stdout }).toEqual({ command, exitCode: 1, stdout: '' });
      expect(stderr).toContain(file);
    }
  }
  expect((await cliHere(['list', ...at])).stdout.trimEnd().split('\n')).toHaveLength(3);
});

const READING = ['stats', 'health', 'list', 'memory', 'db-info', 'import-history', 'reset', 'cleanup'];
const OF_MANY = ['pool list', 'lease list', 'quota list'];

test.each([...READING, ...OF_MANY])('%s without a server says so with exit code 3', async (command) => {
  const away = await cliHere([...command.split(' '), '--address', '127.0.0.1:1']);
  expect(away).toEqual({
    exitCode: 3,
    stdout: '',
    stderr: 'keybalancer: no KeyBalancer answers at 127.0.0.1:1 (ECONNREFUSED)\n',
  });
  expect(await cliHere([...command.split(' '), ...nowhere()])).toMatchObject({ exitCode: 3, stdout: '' });
});

test('a server that does not know what it is asked is said to be of another version', async () => {
  const getStats: Functions['getStats'] = async () =>
    create(GetStatsResponseSchema, { server: { version: '0.0.1' }, pools: [] });
  const { address } = await listen({ getStats } as Functions);
  for (const command of [['pool', 'list'], ['list'], ['quota', 'list']]) {
    const { exitCode, stdout, stderr } = await cliHere([...command, '--address', address]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toMatch(/does not implement.*; it is of another version: `keybalancer version` tells both\n$/);
  }
  expect((await cliHere(['version', '--address', address])).stdout).toContain(`server 0.0.1 at ${address}`);
});

test('a data dir that belongs to somebody else is said to be closed, by every command', async () => {
  const dataDir = await dirWithKeys(1);
  const isRoot = process.getuid!() === 0;
  if (!isRoot) chmodSync(dataDir, 0o000);
  onTestFinished(() => chmodSync(dataDir, 0o700));
  const nobody = isRoot ? { uid: 65_534, gid: 65_534 } : {};
  if (isRoot && spawnSync(process.execPath, [MAIN, '--version'], { ...nobody, cwd: '/' }).status !== 0) {
    return process.stdout.write('skipped: user 65534 cannot run this program here\n');
  }
  for (const command of [['list'], ['doctor'], ['serve']]) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...command, '--data-dir', dataDir], {
      ...nobody,
      cwd: '/',
      env: { HOME: '/nonexistent', PATH: process.env.PATH, KEYBALANCER_GEMINI_BASE_URL: 'http://127.0.0.1:1' },
      encoding: 'utf8',
    });
    expect({ command, status }).toEqual({ command, status: expect.any(Number) });
    expect(status).not.toBe(0);
    expect(stdout + stderr).toMatch(/permission denied|is not writable|cannot be used/);
    expect(stdout + stderr).not.toContain('unexpected');
  }
});

test('a data dir where no directory can be is refused by name, also where the system says that its parent is not there', () => {
  // One that tries for ever takes no other signal.
  const { status, stderr } = spawnSync(process.execPath, [MAIN, 'serve', '--data-dir', '/proc/keybalancer'], {
    env: { HOME: tempDir(), PATH: process.env.PATH },
    encoding: 'utf8',
    timeout: 120_000,
    killSignal: 'SIGKILL',
  });
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: expect.stringMatching(/^keybalancer: data dir \/proc\/keybalancer cannot be made: .*\n$/),
  });
});

test('a full disk is said to be full by what would write, and changes nothing', async () => {
  const dataDir = await dirWithKeys(1);
  // No file may grow: what a full disk looks like to a program.
  const full = spawnSync('prlimit', ['--fsize=1', process.execPath, MAIN, 'add-key', '-', '--data-dir', dataDir], {
    input: testKeys(2)[1]!,
    env: { HOME: tempDir(), PATH: process.env.PATH },
    encoding: 'utf8',
  });
  expect(full.status).toBe(1);
  expect(full.stdout).toBe('');
  expect(full.stderr).toMatch(/^keybalancer: .*(?:full|I\/O error|too large)/m);
  expect(full.stderr).not.toMatch(/unexpected|AQ\.test-key/);
  expect((await cliHere(['list', '--data-dir', dataDir])).stdout.trimEnd().split('\n')).toHaveLength(2);
});

test('a terminal without UTF-8 gets plain letters, in columns that are even', async () => {
  const at = ['--data-dir', await dirWithKeys(2)];
  await cliHere(['update-key', 'key-00000001', '--project', 'Größe', '--source', 'a', ...at]);
  await cliHere(['update-key', 'key-00000002', '--project', 'p', '--source', 'b', ...at]);
  for (const command of [
    ['list'],
    ['health'],
    ['doctor', '--gemini-base-url', 'http://127.0.0.1:1'],
    ['pool', 'list'],
  ]) {
    const { stdout, stderr } = await cliHere([...command, ...at], { terminal: { colours: false, locale: 'C' } });
    expect(stdout).not.toBe('');
    expect(stdout + stderr).toMatch(/^[\n -~]*$/);
  }
  const rows = (await cliHere(['list', ...at], { terminal: { colours: false, locale: 'C' } })).stdout
    .split('\n')
    .slice(0, 3);
  expect(rows[1]).toContain('AQ...01');
  expect(rows[1]).toContain('Gr??e');
  const column = rows[0]!.indexOf('SOURCE');
  expect(rows.slice(1).map((row) => row[column])).toEqual(['a', 'b']);
  const utf8 = await cliHere(['list', ...at], { terminal: { colours: false, locale: 'de_DE.UTF-8' } });
  expect(utf8.stdout).toMatch(/AQ…01.*Größe/);
});

test('colours are for terminals that want them', async () => {
  const dataDir = await dirWithKeys(1);
  const inTerminal = (env: NodeJS.ProcessEnv): string => {
    const line = `'${process.execPath}' '${MAIN}' list --data-dir '${dataDir}'`;
    const { stdout } = spawnSync('script', ['-qec', line, '/dev/null'], {
      env: { HOME: tempDir(), PATH: process.env.PATH, TERM: 'xterm-256color', ...env },
      encoding: 'utf8',
    });
    expect(stdout).toContain('key-00000001');
    return stdout;
  };
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const colour = /\u001b\[\d+m/;
  expect(inTerminal({})).toMatch(colour);
  expect(inTerminal({ NO_COLOR: '1' })).not.toMatch(colour);
  expect(inTerminal({ TERM: 'dumb' })).not.toMatch(colour);
  expect((await cliHere(['list', '--data-dir', dataDir])).stdout).not.toMatch(colour);
});

test('a reader that has seen enough ends a long list in silence', async () => {
  const dataDir = await dirWithKeys(5_000);
  const line = `'${process.execPath}' '${MAIN}' list --data-dir '${dataDir}' | head -1; echo "\${PIPESTATUS[0]}"`;
  const { stdout, stderr } = spawnSync('bash', ['-c', line], {
    env: { HOME: tempDir(), PATH: process.env.PATH },
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^KEY ID\t.*\n0\n$/);
});

test('Ctrl-C ends what waits for a server that hangs, with exit code 130 and a word', async () => {
  const dataDir = await dirWithKeys(1);
  const server = await ServerProcess.start({ dataDir });
  server.process.kill('SIGSTOP');
  const waiting: Cli[] = [];
  // The last gives up the soonest by itself.
  for (const command of [
    ['stats'],
    ['check'],
    ['backup', join(tempDir(), 'copy.db')],
    ['config', 'reload'],
    ['doctor'],
  ]) {
    const cli = new Cli([...command, '--data-dir', dataDir], { input: '' });
    waiting.push(cli);
    // Standard input, output and error are three.
    await expect.poll(() => socketsOf(cli.child.pid!)).toBeGreaterThan(3);
  }
  for (const { child } of waiting) child.kill('SIGINT');
  for (const { ended } of waiting) {
    expect(await ended).toEqual({ exitCode: 130, stdout: '', stderr: 'keybalancer: interrupted\n' });
  }
  server.process.kill('SIGCONT');
});

function socketsOf(pid: number): number {
  const fds = `/proc/${pid}/fd`;
  return readdirSync(fds).filter((fd) => {
    try {
      return readlinkSync(join(fds, fd)).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
}
