import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SAMPLES, textOf } from '../gemini/error-samples.ts';
import { Cli } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { tempDir } from '../support/temp-dir.ts';

const KEY = 'AQ.test-key-000001';

function sample(name: string): string {
  return textOf(SAMPLES.find((each) => each.name === name)!);
}

test('an error is explained: class, rule, why, whom it speaks of, what rests, how long, what ends it, cost and retry', async () => {
  const { exitCode, stdout, stderr } = await cliHere(['explain', '-'], { input: sample('key_invalid_json') });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  const rows = new Map(
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split('\t') as [string, string]),
  );
  expect([...rows.keys()]).toEqual([
    ...['ERROR', 'class', 'rule', 'why', 'speaks of', 'rests', 'for', 'ends', 'costs', 'retry'],
  ]);
  expect(rows.get('class')).toBe('KEY_INVALID: the key was refused as invalid');
  expect(rows.get('speaks of')).toBe('the key');
  expect(rows.get('why')).toContain('API_KEY_INVALID');
  for (const [name, value] of rows) expect(value, name).toMatch(/\w/);
});

test('a file is read as standard input is, and JSON has the same in a stable form', async () => {
  const file = join(tempDir(), 'error.json');
  writeFileSync(file, sample('quota_zero_message'));
  const { exitCode, stdout } = await cliHere(['explain', file, '--json']);
  expect(exitCode).toBe(0);
  const told = JSON.parse(stdout);
  expect(told).toMatchObject({
    errorClass: 'ERROR_CLASS_QUOTA_ZERO',
    scope: 'project-model',
    beyond: null,
    rule: expect.stringMatching(/\w/),
    why: expect.stringMatching(/\w/),
    error: { httpStatus: 429 },
    truncated: false,
  });
  expect(Object.keys(told.policy).sort()).toEqual(['costs', 'ends', 'forHow', 'rests', 'retry']);
});

test('what else the error states is told: delay and limits', async () => {
  const body = {
    error: {
      code: 429,
      status: 'RESOURCE_EXHAUSTED',
      message: 'You exceeded your current quota.',
      details: [
        {
          '@type': 'type.googleapis.com/google.rpc.QuotaFailure',
          violations: [
            {
              quotaId: 'GenerateRequestsPerMinutePerProjectPerModel-FreeTier',
              quotaValue: '10',
              quotaDimensions: { model: 'gemini-2.5-flash' },
            },
          ],
        },
        { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '34s' },
      ],
    },
  };
  const { stdout } = await cliHere(['explain', '-'], { input: JSON.stringify(body) });
  expect(stdout).toContain('class\tRATE_LIMITED_MINUTE: ');
  expect(stdout).toContain('stated delay\t34 s\n');
  expect(stdout).toContain(
    'stated limit\t10 requests a minute (GenerateRequestsPerMinutePerProjectPerModel-FreeTier, gemini-2.5-flash)\n',
  );
});

test('the status that the text does not say can be given', async () => {
  const classOf = async (...args: string[]): Promise<string> =>
    JSON.parse((await cliHere(['explain', '-', '--json', ...args], { input: 'Something is wrong' })).stdout).errorClass;
  expect(await classOf()).toBe('ERROR_CLASS_UNKNOWN');
  expect(await classOf('--status', '503')).toMatch(/^ERROR_CLASS_(?:OVERLOADED|SERVER_ERROR)$/);
});

test('of a long text the first 16 KiB are looked at, and this is said; an endless one is left', async () => {
  const { exitCode, stdout, stderr } = await cliHere(['explain', '-'], {
    input: `${sample('key_invalid_json')}${'\u00e9'.repeat(20_000)}`,
  });
  expect(exitCode).toBe(0);
  expect(stdout).toContain('class\tKEY_INVALID: ');
  expect(stderr).toBe('keybalancer: only the first 16 KiB were looked at\n');
  const endless = new Cli(['explain', '-', '--json']);
  const write = (): void => {
    while (!endless.child.stdin.destroyed && endless.child.stdin.write('x'.repeat(16_384)));
  };
  endless.child.stdin.on('drain', write);
  write();
  const result = await endless.ended;
  expect(result.exitCode).toBe(0);
  expect(JSON.parse(result.stdout)).toMatchObject({ truncated: true });
});

test('no key is told, wherever it stands, nor steers what is told the terminal', async () => {
  const message = `API key not valid: ${KEY} \u001b[31m https://host/v1?key=${KEY}`;
  const input = JSON.stringify({
    error: {
      code: 400,
      message,
      status: 'INVALID_ARGUMENT',
      details: [{ reason: KEY, metadata: { consumer: `api_key:${KEY}`, quota_limit: KEY } }],
    },
  });
  for (const more of [[], ['--json']]) {
    const { exitCode, stdout, stderr } = await cliHere(['explain', '-', ...more], { input });
    expect(exitCode).toBe(0);
    expect(stdout + stderr).not.toContain(KEY);
    expect(stdout + stderr).not.toContain('\u001b');
  }
});

describe('what cannot be explained ends with a sentence', () => {
  test.each([
    [['explain', '-'], 1, 'standard input is empty; allowed: the text of an error'],
    [['explain', '/nowhere/at-all'], 1, 'FILE is /nowhere/at-all, which does not exist; allowed: a readable file'],
    [['explain', KEY], 1, 'FILE is [redacted], which does not exist'],
    [['explain', '/'], 1, 'FILE is /, which is a directory'],
    [['explain', '-', '--status', '42'], 2, '--status is "42"; allowed: a whole number from 100 to 599'],
    [['explain'], 2, "missing required argument 'FILE'"],
  ])('%j', async (args, exitCode, why) => {
    const result = await cliHere(args, { input: '' });
    expect(result).toMatchObject({ exitCode, stdout: '', stderr: expect.stringContaining(why) });
    expect(result.stderr).not.toContain(KEY);
  });
});
