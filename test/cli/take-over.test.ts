import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { predecessorEntries } from '../../src/cli/import/easy-gemini-balance.ts';
import type { KeyEntry } from '../../src/client/key-formats/key-entry.ts';
import { ErrorClass } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';

import { startServe } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { tempDir } from '../support/temp-dir.ts';

const COLUMNS =
  'key TEXT PRIMARY KEY, weight REAL DEFAULT 1.0, is_available INTEGER DEFAULT 1, error_count INTEGER DEFAULT 0, ' +
  'consecutive_errors INTEGER DEFAULT 0, last_used TEXT, last_error TEXT, added_time TEXT DEFAULT CURRENT_TIMESTAMP, ' +
  'updated_time TEXT DEFAULT CURRENT_TIMESTAMP';
const HISTORY =
  'CREATE TABLE import_history (id INTEGER PRIMARY KEY AUTOINCREMENT, source_file TEXT, import_time TEXT, ' +
  'keys_count INTEGER, new_keys INTEGER, updated_keys INTEGER, skipped_keys INTEGER)';

const ROWS = [
  {
    key: 'AQ.good',
    weight: 1.21,
    last_used: '2025-06-01T12:00:30.512345',
    added_time: '2025-05-01 10:00:00',
    source: 'a.txt',
  },
  {
    key: 'AQ.tired',
    weight: 0.4,
    error_count: 7,
    consecutive_errors: 2,
    last_used: '2025-06-02T12:00:30.5',
    last_error: '503 UNAVAILABLE',
  },
  {
    key: 'AQ.bad',
    weight: 0.01,
    is_available: 0,
    error_count: 3,
    consecutive_errors: 3,
    last_used: '2025-06-03T12:00:00',
    last_error: '2025-06-03T12:00:01.25',
    source: 'manual',
  },
];

/** The predecessor's database, with some keys. */
function database(path: string, columns = `${COLUMNS}, source TEXT DEFAULT 'unknown'`): Database.Database {
  const db = new Database(path);
  db.exec(`CREATE TABLE api_keys (${columns}); ${HISTORY}`);
  db.prepare('INSERT INTO import_history (source_file, keys_count) VALUES (?, 3)').run('a.txt');
  for (const row of ROWS) {
    const names = Object.keys(row).filter((name) => columns.includes(name));
    const values = names.map((name) => (row as Record<string, unknown>)[name]);
    db.prepare(`INSERT INTO api_keys (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})`).run(values);
  }
  return db;
}

function hash(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

interface Bench {
  env: NodeJS.ProcessEnv;
  dir: string;
  file: string;
}

function bench(): Bench {
  const root = tempDir();
  const dir = join(root, 'old');
  mkdirSync(dir);
  return {
    env: { KEYBALANCER_DATA_DIR: join(root, 'data'), TZ: 'Asia/Shanghai', TMPDIR: root },
    dir,
    file: join(dir, 'keys.db'),
  };
}

async function listed(env: NodeJS.ProcessEnv): Promise<Record<string, unknown>[]> {
  return JSON.parse((await cliHere(['list', '--json'], { env })).stdout).keys;
}

test('row 22: keys, weights, states and usage of easy-gemini-balance are taken over, once, and its file stays as it is', async () => {
  const { env, dir, file } = bench();
  database(file).close();
  const before = hash(file);
  const take = ['import', '--from-easy-gemini-balance', file];
  const dry = await cliHere([...take, '--dry-run'], { env });
  expect(dry).toMatchObject({
    exitCode: 0,
    stdout:
      'row 1: new\nrow 2: new\nrow 3: new\nchecked for pool default, nothing changed: 3 new, 0 updated, 0 there already or repeated, 0 rejected\n',
  });
  const taken = await cliHere(take, { env });
  expect(taken.exitCode).toBe(0);
  expect(taken.stdout.split('\n')).toEqual([
    'imported into pool default: 3 new, 0 updated, 0 there already or repeated, 0 rejected',
    'weights: 1 each; how far outcomes had lowered them is kept as health (--keep-weights takes them as they were)',
    '1 key out of use there: quarantined until Gemini was asked (`test-keys --apply` asks at once); with --verify off disabled until `reset KEY_ID --confirm`',
    '1 import in its history: not taken over',
    '',
  ]);
  const keys = await listed(env);
  expect(keys).toMatchObject([
    {
      weight: 1,
      source: 'a.txt',
      createTime: '2025-05-01T10:00:00Z',
      health: {
        state: 'KEY_STATE_AVAILABLE',
        effectiveWeight: 1,
        lastAcquireTime: expect.stringMatching(/^2025-06-01T04:00:30\./),
      },
      usage: { failed: '0' },
    },
    {
      source: 'unknown',
      health: {
        state: 'KEY_STATE_AVAILABLE',
        effectiveWeight: 0.4,
        consecutiveFailures: 2,
        lastErrorClass: 'ERROR_CLASS_OVERLOADED',
        lastAcquireTime: expect.stringMatching(/^2025-06-02T04:00:30\./),
        lastFailureTime: expect.stringMatching(/^2025-06-02T04:00:30\./),
      },
      usage: { failed: '7', acquired: '7' },
    },
    {
      source: 'manual',
      health: {
        state: 'KEY_STATE_QUARANTINED',
        effectiveWeight: 0.1,
        lastErrorClass: 'ERROR_CLASS_UNKNOWN',
        lastAcquireTime: '2025-06-03T04:00:00Z',
        lastFailureTime: expect.stringMatching(/^2025-06-03T04:00:01\.25/),
      },
      usage: { failed: '3' },
    },
  ]);
  const again = await cliHere(take, { env });
  expect(again).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(' 0 new, 0 updated, 3 there already') });
  expect(again.stdout).not.toContain('out of use');
  const settled = (all: typeof keys) =>
    all.map(({ etag, weight, source, usage, createTime }) => ({ etag, weight, source, usage, createTime }));
  expect(settled(await listed(env))).toEqual(settled(keys));
  expect(hash(file)).toBe(before);
  expect(readdirSync(dir)).toEqual(['keys.db']);
  expect(dry.stdout + taken.stdout + again.stdout + taken.stderr).not.toContain('AQ.');
});

test('weights are taken as they were where that is asked for, also of an old file without sources, and what its log holds', async () => {
  const { env, dir, file } = bench();
  const db = database(file, COLUMNS);
  db.pragma('journal_mode = WAL');
  db.prepare("INSERT INTO api_keys (key, weight) VALUES ('AQ.late', 2)").run();
  onTestFinished(() => void db.close());
  const before = readdirSync(dir).map((name) => [name, hash(join(dir, name))]);
  expect(before).toHaveLength(3);
  const taken = await cliHere(['import', '--from-easy-gemini-balance', file, '--keep-weights', '--json'], { env });
  expect(JSON.parse(taken.stdout)).toMatchObject({
    new: 4,
    notes: ['weights: as they were', expect.any(String), expect.any(String)],
  });
  expect((await listed(env)).map(({ weight, source }) => [weight, source])).toEqual([
    [1.21, 'imported'],
    [0.4, 'imported'],
    [0.01, 'imported'],
    [2, 'imported'],
  ]);
  expect(readdirSync(dir).map((name) => [name, hash(join(dir, name))])).toEqual(before);
});

test('what is no such database is refused, and nothing is made', async () => {
  const { env, dir, file } = bench();
  const made = (name: string, content: string | Buffer): string => {
    writeFileSync(join(dir, name), content);
    return join(dir, name);
  };
  const other = join(dir, 'other.db');
  const foreign = new Database(other);
  foreign.exec('CREATE TABLE api_keys (fingerprint TEXT)');
  foreign.close();
  database(file).close();
  for (const [path, says] of [
    [join(dir, 'missing.db'), 'which does not exist'],
    [dir, 'which is a directory'],
    [made('keys.txt', 'AQ.test-key'), 'which is no SQLite database'],
    [other, 'which is a database of KeyBalancer itself'],
    [made('cut.db', readFileSync(file).subarray(0, 5_000)), 'which cannot be read: '],
  ] as const) {
    const refused = await cliHere(['import', '--from-easy-gemini-balance', path], { env });
    expect(refused).toMatchObject({ exitCode: 1, stdout: '', stderr: expect.stringContaining(says) });
    expect(refused.stderr).toMatch(/^keybalancer: FILE is .*; allowed: /);
  }
  for (const args of [
    ['keys.txt', '--from-easy-gemini-balance', file],
    ['--from-easy-gemini-balance', file, '--format', 'csv'],
    ['keys.txt', '--keep-weights'],
  ]) {
    expect(await cliHere(['import', ...args], { env })).toMatchObject({ exitCode: 2, stdout: '' });
  }
  expect(readdirSync(env.TMPDIR!)).toEqual(['old']);
});

test('whatever stands in its columns is read, or is not known', async () => {
  const db = new Database(':memory:');
  onTestFinished(() => void db.close());
  db.exec(`CREATE TABLE api_keys (${COLUMNS.replaceAll(/TEXT|REAL|INTEGER/g, '')}, source)`);
  const add = db.prepare(
    'INSERT INTO api_keys (key, weight, is_available, error_count, consecutive_errors, last_used, last_error, added_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
  );
  add.run(
    'AQ.odd',
    'heavy',
    'yes',
    -3,
    1e20,
    'yesterday',
    'API key not valid. Please pass a valid API key.',
    '1901-01-01 00:00:00',
  );
  add.run(Buffer.from('AQ.blob'), 1, 1, 0, 0, null, null, null);
  add.run('AQ.zoned', 0, 1, 2.5, 0, '2025-06-01T12:00:00+08:00', '', '2025-06-01 12:00:00.5');
  add.run('AQ.worded', 1, 1, 1, 1, null, 'Timeout after 5000', null);
  const sourced = db.prepare('INSERT INTO api_keys (key, added_time, source) VALUES (?, ?, ?)');
  sourced.run('AQ.mistaken', '2025-06-01T12:00:00.5', '2025-06-01T12:00:00.5');
  sourced.run('AQ.long', '', 'x'.repeat(200));
  sourced.run('AQ.sourced', '', 'AIzaSyFAKE000000000000000000');
  const all: KeyEntry[] = [];
  const predecessor = { keepWeights: false, met: { outOfUse: new Set<number>(), imports: 0, secretSources: 0 } };
  for await (const entries of predecessorEntries(db, 'keys.db', predecessor)) all.push(...entries);
  expect(all).toEqual([
    {
      line: 1,
      key: {
        apiKey: 'AQ.odd',
        weight: 1,
        history: {
          quarantined: false,
          healthFactor: 1,
          consecutiveFailures: 2 ** 31 - 1,
          failed: 0n,
          lastErrorClass: ErrorClass.KEY_INVALID,
        },
      },
    },
    { line: 2, problem: 'there is no key' },
    {
      line: 3,
      key: {
        apiKey: 'AQ.zoned',
        weight: 1,
        history: expect.objectContaining({
          healthFactor: 0.1,
          failed: 2n,
          lastErrorClass: ErrorClass.UNSPECIFIED,
          lastAcquireTime: expect.objectContaining({ seconds: BigInt(Date.UTC(2025, 5, 1, 4) / 1000) }),
          createTime: expect.objectContaining({ seconds: BigInt(Date.UTC(2025, 5, 1, 12) / 1000), nanos: 500_000_000 }),
        }),
      },
    },
    {
      line: 4,
      key: expect.objectContaining({
        history: expect.not.objectContaining({ lastFailureTime: expect.anything() }),
      }),
    },
    { line: 5, key: expect.not.objectContaining({ source: expect.anything() }) },
    { line: 6, key: expect.objectContaining({ source: 'x'.repeat(128) }) },
    { line: 7, key: expect.not.objectContaining({ source: expect.anything() }) },
  ]);
  expect(predecessor.met).toEqual({ outOfUse: new Set(), imports: 0, secretSources: 1 });
});

test('where Gemini is not asked, a key that was out of use is disabled until it is reset; rows that are rejected are not counted', async () => {
  const { env, file } = bench();
  const db = database(file);
  db.prepare("INSERT INTO api_keys (key, is_available) VALUES ('AQ.no good', 0)").run();
  db.close();
  await startServe(env.KEYBALANCER_DATA_DIR!, '--verify', 'off');
  const taken = await cliHere(['import', '--from-easy-gemini-balance', file], { env });
  expect(taken).toMatchObject({ exitCode: 4, stdout: expect.stringContaining('\n1 key out of use there: ') });
  const bad = async () => (await listed(env))[2];
  expect(await bad()).toMatchObject({ keyId: 'key-00000003', health: { state: 'KEY_STATE_DISABLED_AUTO' } });
  expect((await cliHere(['reset', 'key-00000003', '--confirm'], { env })).exitCode).toBe(0);
  expect(await bad()).toMatchObject({ health: { state: 'KEY_STATE_AVAILABLE' } });
});

test('a key that waits for Gemini goes on waiting, whatever is looked at, copied or written in between', async () => {
  const { env, dir, file } = bench();
  database(file).close();
  const at = ['--data-dir', env.KEYBALANCER_DATA_DIR!];
  expect((await cliHere(['import', '--from-easy-gemini-balance', file, ...at])).exitCode).toBe(0);
  for (const command of [
    ['check'],
    ['db-info'],
    ['backup', join(dir, 'copy.db')],
    ['export', '--with-keys', '--output', join(dir, 'keys.csv')],
  ]) {
    expect((await cliHere([...command, ...at])).exitCode).toBe(0);
    const { keys } = JSON.parse((await cliHere(['list', '--state', 'quarantined', '--json', ...at])).stdout);
    expect({ command, waiting: keys.length }).toEqual({ command, waiting: 1 });
  }
});
