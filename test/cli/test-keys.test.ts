import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fromJson } from '@bufbuild/protobuf';
import { expect, onTestFinished, test } from 'vitest';
import { ErrorClass, TestKeysResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { type FakeGemini, startFakeGemini } from '../fake-gemini/index.ts';
import { Cli, firstLine, startServe } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { tempDir } from '../support/temp-dir.ts';

const key = (n: number): string => `AQ.test-key-${String(n).padStart(6, '0')}`;

/** Three keys, of which Gemini knows the first two. */
async function gemini(): Promise<FakeGemini> {
  const fake = await startFakeGemini({ keys: { [key(1)]: {}, [key(2)]: {} } });
  onTestFinished(() => fake.close());
  return fake;
}

async function dirWithKeys(fake: { url: string }, ...numbers: number[]): Promise<NodeJS.ProcessEnv> {
  const env = { KEYBALANCER_DATA_DIR: tempDir(), KEYBALANCER_GEMINI_BASE_URL: fake.url };
  const imported = await cliHere(['import', '-'], { env, input: numbers.map((n) => `${key(n)}\n`).join('') });
  expect(imported.exitCode).toBe(0);
  return env;
}

test('each key is asked to list as many models as is said, 10 if nothing is', async () => {
  const seen: (string | undefined)[] = [];
  const server = createServer(({ url }, response) => {
    seen.push(url);
    response.end('{"models":[]}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const env = await dirWithKeys({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }, 1);
  expect((await cliHere(['test-keys', '--page-size', '7'], { env })).exitCode).toBe(0);
  expect((await cliHere(['test-keys'], { env })).exitCode).toBe(0);
  expect(seen).toEqual(['/v1/models?pageSize=7', '/v1/models?pageSize=10']);
  expect((await cliHere(['test-keys', '--page-size', '1001'], { env })).stderr).toContain('--page-size is "1001"');
});

test('a line tells what came of each key, and the exit code whether all, some or none are well', async () => {
  const fake = await gemini();
  const env = await dirWithKeys(fake, 1, 2, 3);
  const some = await cliHere(['test-keys'], { env });
  expect(some.exitCode).toBe(4);
  expect(some.stderr).toBe('keybalancer: 1 of 3 keys failed\n');
  const [head, ...lines] = some.stdout.trimEnd().split('\n');
  expect(head).toBe('KEY ID\tLATENCY\tRESULT');
  expect(
    lines
      .slice(0, 3)
      .sort()
      .map((line) => line.split('\t').toSpliced(1, 1)),
  ).toEqual([
    ['key-00000001', 'ok'],
    ['key-00000002', 'ok'],
    ['key-00000003', expect.stringMatching(/^the key was refused as invalid: API key not valid\./)],
  ]);
  expect(lines.at(-1)).toBe(
    'tested 3 keys: 2 ok; 1: the key was refused as invalid. Their health is as before; --apply lets it count.',
  );
  const well = await cliHere(['test-keys', 'key-00000002', 'key-00000001'], { env });
  expect(well).toMatchObject({ exitCode: 0, stderr: '' });
  const none = await cliHere(['test-keys', 'key-00000003'], { env });
  expect(none).toMatchObject({ exitCode: 1, stderr: 'keybalancer: 1 of 1 key failed\n' });
  expect(some.stdout + well.stdout + none.stdout).not.toContain('AQ.test-key');
});

test('--model uses a request of each key, and says so; without it none is used', async () => {
  const fake = await gemini();
  const env = await dirWithKeys(fake, 1, 2);
  await cliHere(['test-keys'], { env });
  expect(fake.counts.byMethod).toEqual({ 'models.list': 2 });
  const { exitCode, stdout } = await cliHere(['test-keys', '--model', 'gemini-2.5-flash'], { env });
  expect(exitCode).toBe(0);
  expect(stdout).toContain('Each used one request of its quota for gemini-2.5-flash.');
  expect(fake.counts.byMethod).toMatchObject({ generateContent: 2 });
});

test('by a server, --json prints a TestKeysResponse a line, and --apply takes a refused key out of use', async () => {
  const fake = await gemini();
  const served = await startServe(tempDir(), '--gemini-base-url', fake.url);
  const at = ['--address', served.grpc];
  await cliHere(['import', '-', ...at], { input: `${key(1)}\n${key(3)}\n` });
  const run = await cliHere(['test-keys', '--json', '--apply', '--parallelism', '1', ...at]);
  expect(run.exitCode).toBe(4);
  const results = run.stdout
    .trimEnd()
    .split('\n')
    .map((line) => fromJson(TestKeysResponseSchema, JSON.parse(line)));
  expect(results).toMatchObject([
    { keyId: 'key-00000001', ok: true, done: 1, total: 2 },
    { keyId: 'key-00000002', ok: false, errorClass: ErrorClass.KEY_INVALID, done: 2, total: 2 },
  ]);
  expect(results[1]?.error?.message).toMatch(/^API key not valid/);
  const stats = JSON.parse((await cliHere(['stats', '--json', ...at])).stdout);
  expect(stats.total).toMatchObject({ totalKeys: '2', availableKeys: '1' });
});

test('a Gemini that cannot be reached is said to be the network, of every key', async () => {
  const fake = await gemini();
  const env = await dirWithKeys(fake, 1);
  await fake.close();
  const { exitCode, stdout } = await cliHere(['test-keys'], { env });
  expect(exitCode).toBe(1);
  expect(stdout).toContain('network failed');
});

test('an interrupt ends it at once, with exit code 130, and what was asked of Gemini is given up', async () => {
  const fake = await gemini();
  fake.setKey(key(2), { behaviour: { delayMs: Infinity } });
  const served = await startServe(tempDir(), '--gemini-base-url', fake.url);
  await cliHere(['import', '-', '--address', served.grpc], { input: `${key(1)}\n${key(2)}\n` });
  const testing = new Cli(['test-keys', '--json', '--timeout', '60', '--address', served.grpc], { input: '' });
  await firstLine(testing);
  await expect.poll(() => fake.counts.inFlight).toBe(1);
  testing.child.kill('SIGINT');
  expect(await testing.ended).toMatchObject({ exitCode: 130, stderr: 'keybalancer: interrupted\n' });
  await expect.poll(() => fake.counts.inFlight).toBe(0);
});

test('what cannot be tested is refused with a sentence', async () => {
  const fake = await gemini();
  const env = await dirWithKeys(fake, 1);
  for (const [args, exitCode, why] of [
    [['--parallelism', '33'], 2, '--parallelism is "33"; allowed: a whole number from 1 to 32'],
    [['--timeout', '0'], 2, '--timeout is "0"; allowed: a number from 0.1 to 60'],
    [['key-00000077'], 1, 'key-00000077'],
    [[key(1)], 1, 'KEY_ID names no key'],
    [['--pool', 'other'], 1, 'pool "other" does not exist'],
    [['--model', 'no model'], 1, '--model is "no model"; allowed: at most 128 characters'],
  ] as const) {
    const result = await cliHere(['test-keys', ...args], { env });
    expect(result).toMatchObject({ exitCode, stdout: '', stderr: expect.stringContaining(why) });
    expect(result.stderr).not.toContain(key(1));
  }
  expect(fake.counts.total).toBe(0);
});

test('a pool without keys has none to test', async () => {
  const fake = await gemini();
  const served = await startServe(tempDir(), '--gemini-base-url', fake.url);
  expect(await cliHere(['test-keys', '--address', served.grpc])).toEqual({
    exitCode: 1,
    stdout: '',
    stderr: 'keybalancer: pool default has no key to test\n',
  });
});
