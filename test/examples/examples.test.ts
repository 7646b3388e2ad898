import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { connectRemote } from '../../src/client/remote.ts';
import { startServer } from '../../src/server/index.ts';
import { expectedAnswer, type FakeGemini, type KeyOptions, startFakeGemini } from '../fake-gemini/index.ts';
import { ROOT } from '../repository/root.ts';
import { INHERITED } from '../support/inherited.ts';
import { tempDir } from '../support/temp-dir.ts';

interface Bench {
  fake: FakeGemini;
  address: string;
  dataDir: string;
  endings(): Promise<Record<string, number>>;
}

const TWO_PROJECTS: Record<string, KeyOptions> = {
  'AQ.test-key-000001': { project: '300000000001' },
  'AQ.test-key-000002': { project: '300000000002' },
};

/** A fake Gemini, and a server that has its keys. */
async function bench(keys: Record<string, KeyOptions> = TWO_PROJECTS): Promise<Bench> {
  const fake = await startFakeGemini({ keys });
  onTestFinished(() => fake.close());
  const dataDir = tempDir();
  const server = await startServer({ dataDir, durability: 'normal', geminiBaseUrl: fake.url });
  onTestFinished(() => server.drain());
  const balancer = connectRemote(server.grpc!);
  onTestFinished(() => balancer.close());
  for (const [apiKey, { project = '' }] of Object.entries(keys)) {
    await balancer.keyAdmin.createKey({ apiKey, key: { project, weight: 1 } });
  }
  const endings = async (): Promise<Record<string, number>> => {
    const { total } = await balancer.keyBalancer.getStats({});
    const { acquired, succeeded, failed, unused } = total!.usage!;
    const all = Object.entries({ acquired, succeeded, failed, unused, active: total!.activeLeases });
    return Object.fromEntries(all.map(([name, value]) => [name, Number(value)] as const).filter(([, value]) => value));
  };
  return { fake, address: server.grpc!, dataDir, endings };
}

interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs an example as it stands, in an empty directory. */
async function run(
  name: string,
  { fake, address }: { fake: FakeGemini; address: string | undefined },
  dir = tempDir(),
): Promise<Ran> {
  const child = spawn(process.execPath, [join(ROOT, 'examples', `${name}.ts`)], {
    cwd: dir,
    env: { ...INHERITED, HOME: dir, KEYBALANCER_ADDRESS: address ?? '', GOOGLE_GEMINI_BASE_URL: fake.url },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code: code as number | null, stdout, stderr };
}

const lines = (...texts: string[]): string => texts.map((line) => `${line}\n`).join('');

/** What each writes, and how many leases it takes, all of which end well. */
const EXAMPLES: Record<string, { stdout: string | RegExp; leases: number }> = {
  generate: { stdout: lines(expectedAnswer('Why is the sky blue?')), leases: 1 },
  stream: { stdout: lines(expectedAnswer('Tell a long story.')), leases: 1 },
  chat: { stdout: /\n4 messages\n$/, leases: 2 },
  file: { stdout: /./, leases: 4 },
  cache: { stdout: lines(expectedAnswer('What is it about?'), expectedAnswer('Who wrote it?')), leases: 4 },
  'batch-of-jobs': { stdout: '20 done, 0 failed\n', leases: 20 },
  'express-server': { stdout: `200 ${lines(expectedAnswer('Why is the sky blue?'))}`, leases: 1 },
  'worker-queue': {
    stdout: lines(...[1, 2, 3].map((id) => `job ${id}: ${expectedAnswer(`Write paragraph ${id}.`)}`)),
    leases: 3,
  },
  'own-http-calls': { stdout: lines(expectedAnswer('Why is the sky blue?')), leases: 1 },
  'lease-batches': { stdout: /./, leases: 3 },
};

test.each(Object.entries(EXAMPLES))(
  '%s does what it says, and reports each lease',
  async (name, { stdout, leases }) => {
    const { fake, address, endings } = await bench();
    const ran = await run(name, { fake, address });
    expect(ran).toEqual({
      code: 0,
      stdout: typeof stdout === 'string' ? stdout : expect.stringMatching(stdout),
      stderr: '',
    });
    expect(await endings()).toEqual({ acquired: leases, succeeded: leases });
    expect(fake.counts.total).toBe(leases);
  },
);

test('embedded-script keeps its keys, and counts its calls, from one run to the next', async () => {
  const fake = await startFakeGemini({ acceptUnknownKeys: true });
  onTestFinished(() => fake.close());
  const dir = tempDir();
  for (const succeeded of [1, 2]) {
    const { code, stdout } = await run('embedded-script', { fake, address: undefined }, dir);
    expect(stdout).toBe(lines(expectedAnswer('Say hello.'), `${succeeded} calls succeeded, 0 failed`));
    expect(code).toBe(0);
  }
});

test('own-http-calls goes on with another key where one is dead', async () => {
  const keys = { 'AQ.test-key-000001': { behaviour: 'dead' }, 'AQ.test-key-000002': {} } as const;
  const { fake, address, endings } = await bench(keys);
  const { stdout, stderr } = await run('own-http-calls', { fake, address });
  expect(stdout).toBe(lines(expectedAnswer('Why is the sky blue?')));
  expect(stderr).toMatch(/^\S+: KEY_INVALID\n$/);
  expect(await endings()).toEqual({ acquired: 2, succeeded: 1, failed: 1 });
});

test('own-http-calls reports a connection that broke, and asks again', async () => {
  const keys = { 'AQ.test-key-000001': { behaviour: { cut: 'beforeAnswer' } }, 'AQ.test-key-000002': {} } as const;
  const { fake, address, endings } = await bench(keys);
  const { stdout, stderr } = await run('own-http-calls', { fake, address });
  expect(stdout).toBe(lines(expectedAnswer('Why is the sky blue?')));
  expect(stderr).toMatch(/^\S+: NETWORK\n$/);
  expect(await endings()).toEqual({ acquired: 2, succeeded: 1, failed: 1 });
});

test('express-server answers 503 and says when to come back, where there is no key', async () => {
  const { stdout } = await run('express-server', await bench({}));
  expect(stdout).toBe('503 no key is free: POOL_EMPTY\n\n');
});

test('each TypeScript file of examples/ is tried here', () => {
  const files = readdirSync(join(ROOT, 'examples'))
    .filter((name) => name.endsWith('.ts'))
    .map((name) => name.replace(/\.ts$/, ''));
  expect(files.sort()).toEqual([...Object.keys(EXAMPLES), 'embedded-script'].sort());
});
