import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { leaves } from '../../scripts/cli-reference.ts';
import { startFakeGemini } from '../fake-gemini/index.ts';
import { MAIN } from '../support/build.ts';
import { startServe } from '../support/cli.ts';
import { INHERITED } from '../support/inherited.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Those that go on until somebody ends them: after a while Ctrl-C does. */
const ENDLESS = ['serve', 'monitor', 'bridge'];
/** Those that act on a server that runs. The others open the data dir themselves. */
const SERVED = ['monitor', 'lease revoke', 'config reload', 'config log-level', 'version', 'doctor', 'bridge'];

/** What must have been done before the examples of a command. */
const BEFORE: Record<string, string> = {
  import: 'keybalancer pool create batch',
  'remove-key': 'keybalancer add-key - < key.txt',
  // It writes over nothing.
  export: 'rm -f keys.csv keys.json',
  'pool delete': 'keybalancer pool create batch',
  'quota delete': 'keybalancer quota set my-project --requests-per-minute 10',
  restore: 'keybalancer backup keys-2026-11-25.db',
  check: 'keybalancer backup keys-2026-11-25.db',
  'lease revoke': [
    `curl -fsS http://$HTTP/keybalancer.v1.KeyBalancerService/AcquireKey -H 'content-type: application/json' -d '{}'`,
    `REF=$(keybalancer lease list --json | jq -r '.leases[0].leaseRef')`,
  ].join('\n'),
};

/** Exit codes other than 0 that are meant. */
const EXITS: Record<string, number[]> = {
  // It asks on a terminal, and this is none.
  'keybalancer add-key': [2],
  // Nobody is there.
  'keybalancer doctor --address keys.internal:50051 --json': [3],
};

const ALL = await leaves();

/** A data dir with 50 keys. */
const template = mkdtempSync(join(tmpdir(), 'keybalancer-'));
afterAll(() => rmSync(template, { recursive: true, force: true }));
execFileSync(process.execPath, [MAIN, 'import', '-', '--data-dir', template], {
  input: Array.from({ length: 50 }, (_, index) => `AQ.test-key-${String(index + 1).padStart(6, '0')}\n`).join(''),
  stdio: ['pipe', 'ignore', 'ignore'],
});

test('every command takes --verbose', () => {
  const takes = ({ command }: (typeof ALL)[number]) => command.options.some(({ long }) => long === '--verbose');
  expect(ALL.filter((leaf) => !takes(leaf)).map(({ path }) => path)).toEqual([]);
});

test('every command has examples', () => {
  expect(ALL.filter(({ examples }) => examples.length === 0).map(({ path }) => path)).toEqual([]);
});

test.each(ALL)('the examples of $path run as they are', async ({ path, examples }) => {
  const gemini = await startFakeGemini({ acceptUnknownKeys: true });
  onTestFinished(() => gemini.close());
  const dir = scene();
  const env = { KEYBALANCER_GEMINI_BASE_URL: gemini.url };
  const data = join(dir, 'data');
  cpSync(template, data, { recursive: true });
  const server = SERVED.includes(path) ? await startServe(data, '--gemini-base-url', gemini.url) : undefined;
  const script = [`exec 2>&1`, BEFORE[path] ?? '', ...examples.map((example) => `${runnable(path, example, dir)}`)];
  const { output } = await bash(script.join('\n'), dir, {
    ...env,
    HTTP: server?.http ?? '',
    HOOK_SECRET: 'a secret of this test',
    GEMINI_API_KEY: 'AQ.test-key-000401',
  });
  const codes = [...output.matchAll(/^exit code (\d+) of (.*)$/gm)].map(([, code, example]) => ({
    code: Number(code),
    example,
  }));
  expect(
    codes.map(({ example }) => example),
    output,
  ).toEqual(examples);
  const allowed = (example: string): number[] => EXITS[example] ?? (ENDLESS.includes(path) ? [0, 4, 130] : [0]);
  expect(
    codes.filter(({ code, example }) => !allowed(example!).includes(code)),
    output,
  ).toEqual([]);
});

/** A directory with the program on the PATH and the files that examples name. */
function scene(): string {
  const dir = tempDir();
  for (const each of ['bin', 'home/.config/fish/completions', 'data', 'backups', 'share']) {
    mkdirSync(join(dir, each), { recursive: true, mode: 0o700 });
  }
  symlinkSync(join(dir, 'data'), join(dir, 'share/keybalancer'));
  const predecessor = join(dir, 'home/.local/share/easy-gemini-balance');
  mkdirSync(predecessor, { recursive: true });
  easyGeminiBalance(join(predecessor, 'keys.db'));
  writeFileSync(join(dir, 'bin/keybalancer'), `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`);
  chmodSync(join(dir, 'bin/keybalancer'), 0o755);
  writeFileSync(join(dir, 'keys.txt'), 'AQ.test-key-000101\nAQ.test-key-000102:2\n');
  writeFileSync(join(dir, 'keys.csv'), 'key,weight\nAQ.test-key-000103,2\n');
  writeFileSync(join(dir, 'more.jsonl'), '{"key": "AQ.test-key-000104", "models": ["gemini-2.5-flash"]}\n');
  writeFileSync(join(dir, 'more.txt'), 'AQ.test-key-000105\n');
  writeFileSync(join(dir, 'key.txt'), 'AQ.test-key-000201\n');
  writeFileSync(join(dir, 'keybalancer.yaml'), 'log_level: debug\n');
  writeFileSync(join(dir, 'error.json'), '{"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}}');
  writeFileSync(join(dir, 'body.txt'), 'Too many requests');
  return dir;
}

/** A database of the predecessor with one key. */
function easyGeminiBalance(path: string): void {
  const database = new Database(path);
  database.exec(`CREATE TABLE api_keys (key TEXT PRIMARY KEY, weight REAL, is_available INTEGER, error_count INTEGER,
    consecutive_errors INTEGER, last_used TEXT, last_error TEXT, added_time TEXT, updated_time TEXT, source TEXT);
    INSERT INTO api_keys (key, weight, is_available, error_count, consecutive_errors) VALUES ('AQ.test-key-000106', 1, 1, 0, 0)`);
  database.close();
}

/** An example that has a key on its standard input, should it ask for one, and tells how it ended. */
function runnable(path: string, example: string, dir: string): string {
  const here = example.replaceAll('/var/backups', join(dir, 'backups')).replaceAll(' REF', ' "$REF"');
  const ended = ENDLESS.includes(path)
    ? here.replace(/^keybalancer/, 'timeout --preserve-status -s INT 3 keybalancer')
    : here;
  return `set -o pipefail; (echo AQ.test-key-000301 | { ${ended}\n}); echo "exit code $? of "'${example}'`;
}

function bash(script: string, cwd: string, env: NodeJS.ProcessEnv): Promise<{ output: string }> {
  const child = spawn('bash', ['-c', script], {
    cwd,
    env: {
      ...INHERITED,
      PATH: `${join(cwd, 'bin')}:${process.env.PATH}`,
      HOME: join(cwd, 'home'),
      XDG_DATA_HOME: join(cwd, 'share'),
      KEYBALANCER_GRPC: '127.0.0.1:0',
      KEYBALANCER_HTTP: '127.0.0.1:0',
      ...env,
    },
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => resolve({ output }));
  });
}
