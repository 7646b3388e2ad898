import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { KeyState, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { expectedAnswer, type FakeGemini, type KeyOptions, startFakeGemini } from '../fake-gemini/index.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { type Command, lacking, type Programs } from './toolchains.ts';

const PROMPT = 'Why is the sky blue?';
const [FIRST, SECOND] = ['AQ.test-key-000001', 'AQ.test-key-000002'] as const;

interface Bench {
  fake: FakeGemini;
  dataDir: string;
  server: ServerProcess;
  balancer: Balancer;
  env: Record<string, string>;
}

/** A fake Gemini, and a server that has its keys. */
async function bench(keys: Record<string, KeyOptions>): Promise<Bench> {
  const fake = await startFakeGemini({ keys });
  onTestFinished(() => fake.close());
  const dataDir = tempDir();
  const server = await ServerProcess.start({ dataDir, more: ['--gemini-base-url', fake.url] });
  const balancer = server.connect();
  for (const apiKey of Object.keys(keys)) await balancer.keyAdmin.createKey({ apiKey, key: {} });
  return {
    fake,
    dataDir,
    server,
    balancer,
    env: { KEYBALANCER_ADDRESS: server.grpc, GOOGLE_GEMINI_BASE_URL: fake.url },
  };
}

function start({ command, args, env }: Command, more: Record<string, string>, ...words: string[]) {
  const child = spawn(command, [...args, ...words], { env: { ...env, ...more }, stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

async function run(command: Command, env: Record<string, string>, ...words: string[]) {
  const child = start(command, env, ...words);
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code: code as number | null, stdout, stderr };
}

/** What the two programs of a language do, which is the same in each. A file a language, so that they run at once. */
export function describeClient(language: string, prepare: (dir: string) => Programs): void {
  const reason = lacking(language);
  const dir = mkdtempSync(join(tmpdir(), 'keybalancer-'));
  let programs: Programs;

  beforeAll(() => {
    if (reason === '') programs = prepare(dir);
  }, 180_000);
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  beforeEach(({ skip }) => skip(reason !== '', reason));

  test('leases a key, calls Gemini with it, and reports the tokens', async () => {
    const { fake, balancer, env } = await bench({ [FIRST]: {} });
    const ran = await run(programs.callGemini, env, PROMPT);
    expect(ran).toEqual({ code: 0, stdout: `${expectedAnswer(PROMPT)}\n`, stderr: '' });
    expect(fake.counts.byKey).toEqual({ [FIRST]: 1 });
    const { usage, providerLatency } = (await balancer.keyBalancer.getStats({})).total!;
    expect(usage).toMatchObject({ acquired: 1n, succeeded: 1n, tokens: { inputTokens: 5n, outputTokens: 8n } });
    expect(providerLatency!.count).toBe(1n);
  });

  test('hands the error body on as it came, and goes on with another key', async () => {
    const { fake, balancer, env } = await bench({ [FIRST]: { behaviour: 'dead' }, [SECOND]: {} });
    const ran = await run(programs.callGemini, env, PROMPT);
    // A 400 without its body would be the caller's own fault, and no reason to try again.
    expect(ran).toEqual({ code: 0, stdout: `${expectedAnswer(PROMPT)}\n`, stderr: 'key-00000001: KEY_INVALID\n' });
    expect(fake.counts.byKey).toMatchObject({ [SECOND]: 1 });
    const { keys } = await balancer.keyAdmin.listKeys({});
    expect(keys[0]!.health!.state).not.toBe(KeyState.AVAILABLE);
    expect(keys[1]!.health!.state).toBe(KeyState.AVAILABLE);
  });

  test('does not try again what would fail again', async () => {
    const { fake, env } = await bench({ [FIRST]: { behaviour: { error: 'model_not_found' } }, [SECOND]: {} });
    const { code, stdout, stderr } = await run(programs.callGemini, env, PROMPT);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^key-00000001: NOT_FOUND\n/);
    expect(fake.counts.total).toBe(1);
  });

  test('says of a cut answer that it was cut, and tries again', async () => {
    const { env, balancer } = await bench({ [FIRST]: { behaviour: { cut: 'midStream' } } });
    const { code, stderr } = await run(programs.callGemini, env, PROMPT);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^(?:key-00000001: NETWORK\n){4}/);
    expect((await balancer.keyBalancer.getStats({})).total!.usage).toMatchObject({ acquired: 4n, failed: 4n });
  });

  test('ends every lease where Gemini cannot be reached', async () => {
    const { env, balancer } = await bench({ [FIRST]: {} });
    const ran = await run(programs.callGemini, { ...env, GOOGLE_GEMINI_BASE_URL: 'http://127.0.0.1:1' }, PROMPT);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toMatch(/^(?:key-00000001: NETWORK\n){4}/);
    const { usage, activeLeases } = (await balancer.keyBalancer.getStats({})).total!;
    expect(usage).toMatchObject({ acquired: 4n, failed: 4n });
    expect(activeLeases).toBe(0n);
  });

  test('says why there is no key, by the reason in the details, and when to come back', async () => {
    const { env } = await bench({});
    const { code, stderr } = await run(programs.callGemini, env);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^KeyBalancer at \S+: POOL_EMPTY, /);

    const busy = await bench({ [FIRST]: {} });
    const key = { keyId: 'key-00000001', maxConcurrentLeases: 1 };
    await busy.balancer.keyAdmin.updateKey({ key, updateMask: { paths: ['max_concurrent_leases'] } });
    const { lease } = await busy.balancer.keyBalancer.acquireKey({});
    const refused = await run(programs.callGemini, busy.env);
    expect(refused.stderr).toMatch(/^KeyBalancer at \S+: NO_KEY_AVAILABLE, .*, come back in \d+ s\n$/);
    await busy.balancer.keyBalancer.reportResult({ leaseId: lease!.leaseId, outcome: Outcome.UNUSED });
  });

  test('says that there is no server', async () => {
    const { code, stdout, stderr } = await run(programs.callGemini, { KEYBALANCER_ADDRESS: '127.0.0.1:1' });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^KeyBalancer at 127\.0\.0\.1:1: .*connect.*\n$/i);
  });

  test('finds the server by its unix socket too', async () => {
    const { server, env } = await bench({ [FIRST]: {} });
    const ran = await run(programs.callGemini, { ...env, KEYBALANCER_ADDRESS: server.socket }, PROMPT);
    expect(ran).toEqual({ code: 0, stdout: `${expectedAnswer(PROMPT)}\n`, stderr: '' });
  });

  test('watches over a restart of the server, without a second snapshot', async () => {
    const { dataDir, server, balancer, env } = await bench({ [FIRST]: {} });
    const watch = start(programs.watchHealth, env);
    let seen = '';
    watch.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      seen += chunk;
    });
    await expect.poll(() => seen).toBe('default key-00000001 AVAILABLE\nwatching\n');
    await balancer.keyAdmin.updateKey({
      key: { keyId: 'key-00000001', disabled: true },
      updateMask: { paths: ['disabled'] },
    });
    await expect.poll(() => seen).toMatch(/^KEY_CHANGED key-00000001 AVAILABLE -> DISABLED_ADMIN$/m);

    await server.stop();
    const again = await ServerProcess.start({ dataDir, grpc: server.grpc });
    await again.connect().keyAdmin.createKey({ apiKey: SECOND, key: {} });
    await expect.poll(() => seen).toMatch(/^KEY_ADDED key-00000002 AVAILABLE$/m);
    expect(seen.match(/^watching$/gm)).toHaveLength(1);
    expect(seen.match(/DISABLED_ADMIN$/gm)).toHaveLength(1);
  });

  test('shows no key', async () => {
    const { env } = await bench({ [FIRST]: { behaviour: 'dead' }, [SECOND]: { behaviour: 'suspended' } });
    const { stdout, stderr } = await run(programs.callGemini, env);
    expect(stderr).toMatch(/^key-/);
    expect(stdout + stderr).not.toMatch(/AQ\.test-key/);
  });
}
