import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, onTestFinished, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { connect } from '../../src/client/connect.ts';
import type { Key } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { startServe } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { tempDir } from '../support/temp-dir.ts';

const key = (n: number): string => `AQ.test-key-${String(n).padStart(6, '0')}`;

interface Bench {
  env: NodeJS.ProcessEnv;
  file: (name: string, content: string | Uint8Array) => string;
  balancer: Balancer;
}

/** A server on a data dir, which commands find by its socket. */
async function bench(): Promise<Bench> {
  const dir = tempDir();
  const dataDir = join(dir, 'data');
  const served = await startServe(dataDir);
  const balancer = await connect({ address: served.grpc });
  onTestFinished(() => balancer.close());
  return {
    env: { KEYBALANCER_DATA_DIR: dataDir },
    file: (name, content) => {
      writeFileSync(join(dir, name), content);
      return join(dir, name);
    },
    balancer,
  };
}

async function listed({ balancer }: Bench): Promise<Key[]> {
  return (await balancer.keyAdmin.listKeys({ pageSize: 1000 })).keys;
}

test('row 5: files of all formats are imported at once, each by the end of its name, with defaults from flags', async () => {
  const at = await bench();
  const files = [
    at.file('a.txt', `# ours\n${key(1)}\n${key(2)}:2\n`),
    at.file('b.csv', `key,weight,project,models,labels\n${key(3)},3,p-3,m-3,team=csv\n${key(4)},,,,\n`),
    at.file('c.json', JSON.stringify({ keys: [key(5), { key: key(6), weight: 6, source: 'vault' }] })),
    at.file('d.jsonl', `"${key(7)}"\n{"apiKey": "${key(8)}", "tier": 2}\n`),
    at.file('.env', `GEMINI_API_KEYS=${key(9)},${key(10)}:0.5\n`),
  ];
  const flags = ['--weight', '9', '--project', 'p-0', '--model', 'm-1', '--model', 'm-2', '--label', 'team=flag'];
  const imported = await cliHere(['import', ...files, ...flags, '--label', 'env=prod'], { env: at.env });
  expect(imported).toMatchObject({
    exitCode: 0,
    stdout: 'imported into pool default: 10 new, 0 updated, 0 there already or repeated, 0 rejected\n',
  });
  const keys = await listed(at);
  expect(keys.map(({ weight }) => weight)).toEqual([9, 2, 3, 9, 9, 6, 9, 9, 9, 0.5]);
  expect(keys[0]).toMatchObject({
    project: 'p-0',
    models: ['m-1', 'm-2'],
    labels: { team: 'flag', env: 'prod' },
    source: 'imported',
  });
  expect(keys[2]).toMatchObject({ project: 'p-3', models: ['m-3'], labels: { team: 'csv', env: 'prod' } });
  expect(keys.map(({ source, tier }) => [source, tier])[5]).toEqual(['vault', 0]);
  expect(keys[7]).toMatchObject({ tier: 2 });
  const again = await cliHere(['import', ...files, ...flags], { env: at.env });
  expect(again.stdout).toContain(': 0 new, 0 updated, 10 there already or repeated, 0 rejected');
});

test('a key goes to the pool that its file names, unless a flag names another', async () => {
  const at = await bench();
  await at.balancer.keyAdmin.createPool({ pool: { pool: 'batch' } });
  const file = at.file('keys.csv', `key,pool\n${key(1)},batch\n${key(2)},\n`);
  expect((await cliHere(['import', file], { env: at.env })).exitCode).toBe(0);
  const other = at.file('more.csv', `key,pool\n${key(3)},batch\n`);
  expect((await cliHere(['import', other, '--pool', 'default'], { env: at.env })).exitCode).toBe(0);
  expect((await listed(at)).map(({ pool }) => pool)).toEqual(['batch', 'default', 'default']);
});

test('a pool that is not there costs the lines that name it, and no others', async () => {
  const at = await bench();
  const lines = [`${key(1)},nowhere`, `${key(2)},`, `${key(3)},default`, `${key(4)},nowhere`];
  const many = Array.from({ length: 2_100 }, (_, n) => `${key(100 + n)},nowhere`);
  const file = at.file('keys.csv', ['key,pool', ...lines, ...many].join('\n'));
  const other = at.file('other.csv', `key,pool\n${key(5)},No Pool\n`);
  const dry = await cliHere(['import', file, other, '--dry-run'], { env: at.env });
  expect(dry).toMatchObject({ exitCode: 4, stdout: expect.stringContaining(': 2 new, 0 updated') });
  const imported = await cliHere(['import', other, file, '--json'], { env: at.env });
  expect(imported).toMatchObject({ exitCode: 4, stderr: 'keybalancer: 2103 lines rejected\n' });
  const { rejectedLines, ...counts } = JSON.parse(imported.stdout);
  expect(counts).toMatchObject({ complete: true, new: 2, rejected: 2_103 });
  const reason = 'pool "nowhere" does not exist; `keybalancer pool create nowhere` makes it';
  expect(rejectedLines.slice(0, 3)).toEqual([
    { file: other, line: 2, reason: 'pool "No Pool" does not exist; no pool can have that name' },
    { file, line: 2, reason },
    { file, line: 5, reason },
  ]);
  expect(await listed(at)).toHaveLength(2);
  expect(await cliHere(['import', file, '--pool', 'nowhere'], { env: at.env })).toMatchObject({
    exitCode: 1,
    stderr: 'keybalancer: pool "nowhere" does not exist\n',
  });
});

test('a check says line by line what would be new, updated or skipped, also over the bounds of a call, and changes nothing', async () => {
  const at = await bench();
  await at.balancer.keyBalancer.importKeys({ keys: [{ apiKey: key(1) }, { apiKey: key(2) }], source: 'imported' });
  const rest = Array.from({ length: 2_100 }, (_, n) => `${key(100 + n)},1`);
  const file = at.file(
    'keys.csv',
    ['key,weight', `${key(1)},2`, `${key(2)},1`, `${key(3)},x`, ...rest, `${key(100)},1`, `${key(2199)},1`].join('\n'),
  );
  const dry = await cliHere(['import', file, '--dry-run', '--on-conflict', 'update', '--source', 'imported'], {
    env: at.env,
  });
  const lines = dry.stdout.trimEnd().split('\n');
  expect(lines).toContain('line 2: would be updated');
  expect(lines).toContain('line 3: there already, or repeated');
  expect(lines).toContain('line 5: new');
  expect(lines).toContain('line 2105: there already, or repeated');
  expect(lines.slice(0, -1).map((line) => Number(/\d+/.exec(line)))).toEqual([
    2,
    3,
    ...Array.from({ length: 2_102 }, (_, n) => n + 5),
  ]);
  expect(lines.filter((line) => line.endsWith(': new'))).toHaveLength(2_100);
  expect(lines.at(-1)).toBe(
    'checked for pool default, nothing changed: 2100 new, 1 updated, 3 there already or repeated, 1 rejected',
  );
  expect(dry.stderr).toBe(
    'keybalancer: line 4: weight is another text; allowed: a number\nkeybalancer: 1 line rejected\n',
  );
  expect(dry.exitCode).toBe(4);
  expect(dry.stdout + dry.stderr).not.toContain('AQ.');
  expect(await listed(at)).toHaveLength(2);
});

test('a file that is of another kind is refused with what to do, the files beside it are imported', async () => {
  const at = await bench();
  const files = [
    at.file('keys.txt', key(1)),
    at.file('keys.gz', gzipSync(key(2))),
    at.file('keys.db', Buffer.from('SQLite format 3\0')),
    at.file('utf16.txt', Buffer.from(`\ufeff${key(3)}`, 'utf16le')),
    at.file('broken.json', `["${key(4)}", "${key(5)}"`),
    at.file('names.csv', `${key(6)},1\n`),
    join(tempDir(), 'missing.txt'),
    tempDir(),
    at.file('more.txt', key(7)),
  ];
  const imported = await cliHere(['import', ...files], { env: at.env });
  expect(imported).toMatchObject({ exitCode: 4, stdout: expect.stringContaining(': 2 new') });
  for (const says of [
    /keys\.gz, which is compressed by gzip; allowed: the file that gunzip makes of it/,
    /keys\.db, which is a SQLite database; allowed: .*--from-easy-gemini-balance/,
    /utf16\.txt, which is a text in UTF-16; allowed: the same in UTF-8/,
    /broken\.json, which ends in the middle; allowed: JSON/,
    /names\.csv, whose first line names no column "key"/,
    /missing\.txt, which does not exist/,
    /, which is a directory/,
    /stopped after 2 keys: /,
    /repeat the command to go on/,
  ]) {
    expect(imported.stderr).toMatch(says);
  }
  const again = await cliHere(['import', ...files, '--json'], { env: at.env });
  expect(again.exitCode).toBe(4);
  const { failures, ...rest } = JSON.parse(again.stdout);
  expect(rest).toMatchObject({ complete: false, new: 0, skipped: 2 });
  expect(failures.map(({ file }: { file: string }) => file)).toEqual(files.slice(1, -1));
  expect(failures[0].reason).toBe(
    `FILE is ${files[1]}, which is compressed by gzip; allowed: the file that gunzip makes of it`,
  );
  const none = await cliHere(['import', files[1]!, files[2]!], { env: at.env });
  expect(none).toMatchObject({ exitCode: 1, stdout: '', stderr: expect.stringMatching(/keys\.gz.*\n.*keys\.db/) });
  expect(imported.stdout + imported.stderr).not.toContain('AQ.');
});

test('lines are named with their file where there are several, and what means nothing is told', async () => {
  const at = await bench();
  const files = [at.file('a.csv', `key,owner\n${key(1)},me\n`), at.file('b.txt', `${key(2)}\n${key(3)}:0\n`)];
  const imported = await cliHere(['import', ...files], { env: at.env });
  expect(imported).toMatchObject({
    exitCode: 4,
    stderr: expect.stringContaining(
      [
        'keybalancer: left out, for these names mean nothing here: owner',
        `keybalancer: ${files[1]} line 2: weight is 0; allowed: 0.001 to 1000`,
        'keybalancer: 1 line rejected\n',
      ].join('\n'),
    ),
  });
  const json = await cliHere(['import', ...files, '--json'], { env: at.env });
  expect(JSON.parse(json.stdout)).toMatchObject({
    skipped: 2,
    rejectedLines: [{ file: files[1], line: 2 }],
    ignored: ['owner'],
  });
});

test('a key of two files has the settings of the first, at each repeat', async () => {
  const at = await bench();
  const files = [at.file('a.txt', `${key(1)}:2\n`), at.file('b.txt', `${key(1)}:3\n`)];
  const update = ['import', ...files, '--on-conflict', 'update'];
  const counts = '1 new, 0 updated, 1 there already or repeated';
  expect((await cliHere([...update, '--dry-run'], { env: at.env })).stdout).toContain(counts);
  expect((await cliHere(update, { env: at.env })).stdout).toContain(counts);
  expect((await cliHere(update, { env: at.env })).stdout).toContain('0 new, 0 updated, 2 there already');
  expect(await listed(at)).toMatchObject([{ weight: 2 }]);
});

test('standard input has any format that is named', async () => {
  const at = await bench();
  const input = `{"keys": ["${key(1)}"]}`;
  expect(await cliHere(['import', '-'], { env: at.env, input })).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining('line 1: it looks like CSV, JSON or .env'),
  });
  expect((await cliHere(['import', '-', '--format', 'json'], { env: at.env, input })).exitCode).toBe(0);
  const env = { ...at.env };
  expect((await cliHere(['import', '-', '--format', 'env'], { env, input: `GEMINI_API_KEY=${key(2)}` })).exitCode).toBe(
    0,
  );
  expect(await listed(at)).toHaveLength(2);
});
