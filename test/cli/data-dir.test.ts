import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromJson } from '@bufbuild/protobuf';
import Database from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  CreateKeyResponseSchema,
  GetStatsResponseSchema,
  KeyState,
  ListKeysResponseSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { MAIN } from '../support/build.ts';
import { Cli, cli } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { tempDir } from '../support/temp-dir.ts';

const key = (n: number): string => `AQ.test-key-${String(n).padStart(6, '0')}`;

describe('without a server, the commands open the data dir themselves', () => {
  test('to add keys one by one, list them and count them', async () => {
    const env = { KEYBALANCER_DATA_DIR: join(tempDir(), 'made', 'here') };
    const said: string[] = [];
    const run = async (args: string[], input = '') => {
      const result = await cliHere(args, { env, input });
      said.push(result.stdout, result.stderr);
      return result;
    };

    const options = ['--weight', '2', '--project', 'p1', '--tier', '3', '--source', 'desk', '--json'];
    const added = await run(['add-key', '-', ...options], `${key(1)}\n`);
    expect(added.exitCode).toBe(0);
    expect(added.stderr).toMatch(/made a master key in .*master\.key/);
    const { key: first } = fromJson(CreateKeyResponseSchema, JSON.parse(added.stdout));
    expect(first).toMatchObject({ pool: 'default', weight: 2, project: 'p1', tier: 3, source: 'desk' });

    const seen = await run(['add-key', key(2)]);
    expect(seen).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/^added \S+ \(.*…02\) to pool default\n$/),
    });
    expect(seen.stderr).toContain('`add-key -` reads it from standard input');

    const again = await run(['add-key', '-'], key(2));
    expect(again).toMatchObject({ exitCode: 1, stdout: '', stderr: expect.stringContaining('already') });
    const twoLines = await run(['add-key', '-'], `${key(3)}\n${key(4)}\n`);
    expect(twoLines).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('2 lines on standard input') });

    const listed = fromJson(ListKeysResponseSchema, JSON.parse((await run(['list', '--json'])).stdout));
    expect(listed.totalSize).toBe(2n);
    expect(listed.keys.map(({ source, health }) => [source, health?.state])).toEqual([
      ['desk', KeyState.AVAILABLE],
      ['manual', KeyState.AVAILABLE],
    ]);

    const stats = fromJson(GetStatsResponseSchema, JSON.parse((await run(['stats', '--json'])).stdout));
    expect(stats).toMatchObject({ total: { totalKeys: 2n, availableKeys: 2n }, pools: [{ pool: 'default' }] });
    expect((await run(['stats'])).stdout).toContain('default\t2\t2\t0\t0\t0\t1.5\n');

    const rows = (await run(['list', '--by-source', '--available-only'])).stdout.trimEnd().split('\n');
    expect(rows.map((row) => row.split('\t')[4])).toEqual(['SOURCE', 'desk', 'manual']);
    expect(said.join('')).not.toMatch(/AQ\.test-key/);
  });

  test('to import files, telling what came of each line', async () => {
    const dir = tempDir();
    const file = join(dir, 'keys.txt');
    const env = { KEYBALANCER_DATA_DIR: join(dir, 'data') };
    writeFileSync(
      file,
      `\uFEFF# ours\r\n${key(1)}\r\n${key(2)}:0.5\r\n\r\n${key(1)}\r\nwith space ${key(3)}\r\n${key(4)}:0`,
    );

    const dry = await cliHere(['import', file, '--dry-run'], { env });
    expect(dry).toMatchObject({
      exitCode: 4,
      stdout: [
        'line 2: new',
        'line 3: new',
        'line 5: there already, or repeated',
        'checked for pool default, nothing changed: 2 new, 0 updated, 1 there already or repeated, 2 rejected\n',
      ].join('\n'),
    });

    const real = await cliHere(['import', file, '--json', '--source', 'vault'], { env });
    expect(real.exitCode).toBe(4);
    expect(JSON.parse(real.stdout)).toEqual({
      pool: 'default',
      source: 'vault',
      dryRun: false,
      complete: true,
      failures: [],
      new: 2,
      updated: 0,
      skipped: 1,
      rejected: 2,
      rejectedLines: [
        { file, line: 6, reason: expect.stringContaining('allowed') },
        { file, line: 7, reason: expect.stringContaining('allowed') },
      ],
      ignored: [],
      notes: [],
    });

    const update = await cliHere(['import', '-', '--on-conflict', 'update'], { env, input: `${key(2)}:3\n` });
    expect(update).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('0 new, 1 updated') });
    const bad = await cliHere(['import', '-'], { env, input: `not one key but ${key(9)}\n` });
    expect(bad).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/^keybalancer: line 1: /) });
    const { stdout } = await cliHere(['stats', '--json'], { env });
    expect(JSON.parse(stdout).total).toMatchObject({ totalKeys: '2', keysBySource: { imported: '1', vault: '1' } });
    expect([dry, real, update, bad].map((each) => each.stdout + each.stderr).join('')).not.toMatch(/AQ\.test-key/);
  });

  test('to import nothing from what is no list of keys, with exit code 1', async () => {
    const dir = tempDir();
    const env = { KEYBALANCER_DATA_DIR: join(dir, 'data') };
    const binary = join(dir, 'binary');
    writeFileSync(binary, Buffer.from([0x41, 0, 0x42]));
    const comments = join(dir, 'comments');
    writeFileSync(comments, '# none yet\n\n');
    for (const [file, why] of [
      [join(dir, 'missing'), 'does not exist'],
      [dir, 'is a directory'],
      [binary, 'NUL'],
      ['/dev/null', 'no key in /dev/null'],
      [comments, `no key in ${comments}`],
    ] as const) {
      const result = await cliHere(['import', file], { env });
      expect(result).toMatchObject({ exitCode: 1, stdout: '', stderr: expect.stringContaining(why) });
    }
    expect(await cliHere(['import', '-'], { env })).toMatchObject({
      exitCode: 1,
      stderr: 'keybalancer: no key in standard input\n',
    });
    expect(existsSync(env.KEYBALANCER_DATA_DIR)).toBe(false);
  });

  test('to import from a named pipe, and to stop at a signal where nobody writes to it', async () => {
    const dir = tempDir();
    const pipe = join(dir, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const env = { KEYBALANCER_DATA_DIR: join(dir, 'data') };
    const waitsForWriter = async (importing: Cli): Promise<void> => {
      const fds = `/proc/${importing.child.pid}/fd`;
      const open = (): boolean =>
        readdirSync(fds).some((fd) => {
          try {
            return readlinkSync(join(fds, fd)) === pipe;
          } catch {
            return false;
          }
        });
      await expect.poll(open).toBe(true);
    };
    for (const [signal, exitCode] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const alone = new Cli(['import', pipe], { env, input: '' });
      await waitsForWriter(alone);
      alone.child.kill(signal);
      expect(await alone.ended).toEqual({ exitCode, stdout: '', stderr: 'keybalancer: interrupted\n' });
    }
    expect(existsSync(env.KEYBALANCER_DATA_DIR)).toBe(false);

    const importing = new Cli(['import', pipe], { env, input: '' });
    await waitsForWriter(importing);
    writeFileSync(pipe, `${key(1)}\n${key(2)}\n`);
    expect(await importing.ended).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('2 new') });
  });

  test('and say so, with exit code 1, when standard output takes no more', async () => {
    const env = { HOME: tempDir(), PATH: process.env.PATH, KEYBALANCER_DATA_DIR: join(tempDir(), 'data') };
    await cliHere(['add-key', '-'], { env, input: key(1) });
    const full = openSync('/dev/full', 'w');
    onTestFinished(() => closeSync(full));
    for (const args of [['stats', '--json'], ['list'], ['health'], ['--help'], ['--version']]) {
      const { status, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
        env,
        stdio: ['ignore', full, 'pipe'],
        encoding: 'utf8',
      });
      expect({ args, status, stderr }).toEqual({
        args,
        status: 1,
        stderr: expect.stringMatching(/^keybalancer: standard output cannot be written: ENOSPC.*\n$/),
      });
    }
  });

  test('and say with exit code 1 when no key may serve, or 3 when there is nothing to open', async () => {
    const dataDir = join(tempDir(), 'data');
    const env = { KEYBALANCER_DATA_DIR: dataDir };
    for (const command of ['stats', 'list', 'health']) {
      const nothing = await cliHere([command], { env });
      expect(nothing).toMatchObject({
        exitCode: 3,
        stdout: '',
        stderr: expect.stringContaining(`no data dir ${dataDir}`),
      });
    }
    mkdirSync(dataDir);
    for (const command of ['stats', 'list', 'health']) {
      const nothing = await cliHere([command], { env });
      expect(nothing).toMatchObject({ exitCode: 3, stdout: '', stderr: expect.stringContaining(`data in ${dataDir}`) });
    }
    expect(readdirSync(dataDir)).toEqual([]);

    await cliHere(['add-key', '-'], { env, input: key(1) });
    await cliHere(['remove-key', 'key-00000001'], { env });
    const empty = await cliHere(['health'], { env });
    expect(empty).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('pool default has no keys') });
    expect(JSON.parse((await cliHere(['list', '--json'], { env })).stdout)).toEqual({
      keys: [],
      nextPageToken: '',
      totalSize: '0',
    });
    expect(await cliHere(['stats', '--pool', 'nope'], { env })).toMatchObject({
      exitCode: 1,
      stderr: 'keybalancer: pool "nope" does not exist\n',
    });
  });

  test('and make none to try an import', async () => {
    const dir = tempDir();
    const env = { KEYBALANCER_DATA_DIR: join(dir, 'data'), TMPDIR: dir };
    expect(await cliHere(['import', '-', '--dry-run'], { env, input: key(1) })).toEqual({
      exitCode: 0,
      stdout:
        'line 1: new\nchecked for pool default, nothing changed: 1 new, 0 updated, 0 there already or repeated, 0 rejected\n',
      stderr: '',
    });
    expect(readdirSync(dir)).toEqual([]);
  });

  test('and refuse one that is a file, or of a newer version', async () => {
    const dir = tempDir();
    const file = join(dir, 'file');
    writeFileSync(file, '');
    const newer = join(dir, 'newer');
    await cliHere(['add-key', '-', '--data-dir', newer], { input: key(1) });
    const database = new Database(join(newer, 'keybalancer.db'));
    database.pragma('user_version = 999');
    database.close();
    for (const [dataDir, why] of [
      [file, 'a file is in the way'],
      [newer, 'newer'],
    ] as const) {
      for (const command of ['serve', 'list']) {
        const { exitCode, stdout, stderr } = await cli([command, '--data-dir', dataDir]);
        expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
        expect(stderr).toMatch(/^keybalancer: data dir .*\n$/);
        expect(stderr).toContain(dataDir);
        expect(stderr).toContain(why);
      }
    }
  });
});
