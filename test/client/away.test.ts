import { writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GoogleGenAI } from '@google/genai';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  createKeyBalancer,
  type KeyBalancer,
  type KeyBalancerOptions,
  type LeasedKey,
} from '../../src/client/index.ts';
import { expectedAnswer, type FakeGemini, startFakeGemini } from '../fake-gemini/index.ts';
import { apiKeys } from '../support/orders.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { endings, MODEL, serve } from './balancers.ts';
import { warned } from './scripted-balancer.ts';

const [ONE, OWN] = apiKeys(2) as [string, string];
const NOBODY = '127.0.0.1:1';

async function ask(ai: GoogleGenAI): Promise<string | undefined> {
  return (await ai.models.generateContent({ model: MODEL, contents: 'hello' })).text;
}

const WAYS_TO_CALL: readonly [string, (balancer: KeyBalancer) => Promise<unknown>][] = [
  ['executeWithRetry()', (balancer) => balancer.executeWithRetry(ask)],
  ['genai()', (balancer) => ask(balancer.genai())],
  ['lease()', (balancer) => balancer.lease()],
  ['lease() that may wait', (balancer) => balancer.lease({ maxWait: 500 })],
];

const WAYS_TO_TAKE_KEYS: typeof WAYS_TO_CALL = [
  ...WAYS_TO_CALL,
  ['leaseBatches()', (balancer) => balancer.leaseBatches([1])],
  ['leaseBatches() that may wait', (balancer) => balancer.leaseBatches([1], { maxWait: 500 })],
];

/** A server that takes connections and answers nothing, as one that is frozen. */
async function frozen(): Promise<string> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as { port: number }).port}`;
}

async function client(
  address: string,
  options: KeyBalancerOptions,
): Promise<{ fake: FakeGemini; balancer: KeyBalancer }> {
  const fake = await startFakeGemini({ keys: { [ONE]: {}, [OWN]: {} } });
  onTestFinished(() => fake.close());
  const balancer = createKeyBalancer({
    address,
    model: MODEL,
    genai: { httpOptions: { baseUrl: fake.url } },
    ...options,
  });
  // Nobody waits: to close takes its time where the balancer is away.
  onTestFinished(() => void balancer.close());
  return { fake, balancer };
}

describe.each([
  ['away', async () => NOBODY],
  ['frozen', frozen],
])('a balancer that is %s', (_, place) => {
  test.each(WAYS_TO_TAKE_KEYS)('fails %s with a typed error, where that is wanted', async (_name, call) => {
    const address = await place();
    const { fake, balancer } = await client(address, { away: 'fail' });
    const patient = await client(address, {});
    const exhausted: unknown[] = [];
    balancer.on('exhausted', ({ reason }) => exhausted.push(reason));
    const first = await Promise.any([
      call(balancer).catch((error: unknown) => error),
      // Who waits is still waiting then.
      call(patient.balancer).catch(() => 'waited'),
    ]);
    expect(first).toMatchObject({ name: 'KeyBalancerError', code: 'UNAVAILABLE', reason: 'BALANCER_AWAY' });
    expect(exhausted).toEqual(['BALANCER_AWAY']);
    expect(fake.counts.total).toBe(0);
  });

  test.each(WAYS_TO_CALL)('is done without by a key of one’s own in %s', async (_name, call) => {
    const { fake, balancer } = await client(await place(), { away: { fallbackKey: ` ${OWN}\n` } });
    const keyIds: string[] = [];
    balancer.on('lease', ({ keyId }) => keyIds.push(keyId));
    await call(balancer);
    expect(balancer.servedByFallback).toBe(1);
    expect(keyIds).toEqual(['fallback']);
    expect(Object.keys(fake.counts.byKey).every((key) => key === OWN)).toBe(true);
  });

  test('fails batches of keys where a key of one’s own would serve: it is one', async () => {
    const { balancer } = await client(await place(), { away: { fallbackKey: OWN } });
    await expect(balancer.leaseBatches([1])).rejects.toMatchObject({ code: 'UNAVAILABLE', reason: 'BALANCER_AWAY' });
    expect(balancer.servedByFallback).toBe(0);
  });

  test('ends a call at its deadline', async () => {
    const { balancer } = await client(await place(), {});
    const call = balancer.withRetry(ask, { deadline: 300 })();
    await expect(call).rejects.toMatchObject({ name: 'TimeoutError' });
  });

  test('keeps no call from being made for a setting of the pool', async () => {
    const { balancer } = await client(await place(), { away: { fallbackKey: OWN }, autoSuccess: true });
    expect(await balancer.executeWithRetry(ask)).toBe(expectedAnswer('hello'));
  });
});

test('a balancer that hangs costs not every call its patience, where calls are to fail', async () => {
  const address = await frozen();
  const { balancer } = await client(address, { away: 'fail' });
  const other = await client(address, { away: 'fail' });
  const refused = (by: KeyBalancer) => expect(by.lease()).rejects.toMatchObject({ reason: 'BALANCER_AWAY' });
  await refused(balancer);
  const ended: string[] = [];
  // Each client finds out for itself, at the cost of its patience; what is known by then costs none.
  const finding = refused(other.balancer).then(() => ended.push('another client'));
  for (let call = 0; call < 20; call++) await refused(balancer);
  ended.push('twenty calls');
  await finding;
  expect(ended).toEqual(['twenty calls', 'another client']);
});

test('batches of keys wait for a balancer that is restarted, as a lease does', async () => {
  const dataDir = tempDir();
  const server = await ServerProcess.start({ dataDir });
  const { balancer } = await client(server.grpc, {});
  await balancer.addKey(ONE);
  await balancer.executeWithRetry(ask);
  server.process.kill('SIGKILL');
  await server.exit;
  const taking = [balancer.leaseBatches([1]), balancer.leaseBatches([1], { maxWait: 500 })];
  await ServerProcess.start({ dataDir, grpc: server.grpc });
  for (const [[key]] of (await Promise.all(taking)) as [[LeasedKey]][]) await key.succeeded();
  expect(await endings(balancer)).toMatchObject({ acquired: 3, succeeded: 3 });
});

test('what takes no key waits for a balancer that is restarted, too, and a watch begins when it is back', async () => {
  const dataDir = tempDir();
  const file = join(tempDir(), 'keys.txt');
  await writeFile(file, `${OWN}\n`);
  const server = await serve(dataDir);
  const { balancer } = await client(`unix:${join(dataDir, 'keybalancer.sock')}`, {});
  await balancer.getStats();
  await server.drain();
  const waiting = Promise.all([
    balancer.addKey(ONE),
    balancer.importKeysFromFile(file),
    balancer.getStats(),
    balancer.getMemoryUsage(),
    balancer.watchHealth()[Symbol.asyncIterator]().next(),
  ]);
  await serve(dataDir);
  const [isNew, summary, , , { done }] = await waiting;
  expect({ isNew, imported: summary.new, done }).toEqual({ isNew: true, imported: 1, done: false });
});

test.each<[string, (balancer: KeyBalancer) => Promise<unknown>]>([
  ['addKey()', (balancer) => balancer.addKey(ONE)],
  ['getStats()', (balancer) => balancer.getStats()],
  ['getMemoryUsage()', (balancer) => balancer.getMemoryUsage()],
  ['importKeysFromFile()', (balancer) => balancer.importKeysFromFile(import.meta.filename)],
])('%s rejects at once where nobody wants to wait', async (_, call) => {
  for (const away of ['fail', { fallbackKey: OWN }] as const) {
    const { balancer } = await client(NOBODY, { away });
    await expect(call(balancer)).rejects.toMatchObject({ code: 'UNAVAILABLE', reason: 'BALANCER_AWAY' });
  }
});

test('a call waits for a balancer that is frozen to its deadline, and goes on when it thaws', async () => {
  const server = await ServerProcess.start({ dataDir: tempDir() });
  const { balancer } = await client(server.grpc, {});
  await balancer.addKey(ONE);
  await balancer.executeWithRetry(ask);
  server.process.kill('SIGSTOP');
  const thawed = balancer.executeWithRetry(ask);
  const given = balancer.withRetry(ask, { deadline: 300 })();
  await expect(given).rejects.toMatchObject({ name: 'TimeoutError' });
  server.process.kill('SIGCONT');
  expect(await thawed).toBe(expectedAnswer('hello'));
});

test.each([
  ['dies', 'SIGKILL'],
  ['freezes', 'SIGSTOP'],
] as const)(
  'a balancer that %s keeps nobody waiting for its word on a lease, where calls are to fail',
  async (_, signal) => {
    const server = await ServerProcess.start({ dataDir: tempDir() });
    const { balancer } = await client(server.grpc, { away: 'fail' });
    const patient = await client(server.grpc, {});
    await balancer.addKey(ONE);
    const leases = await Promise.all([balancer.lease(), balancer.lease(), patient.balancer.lease()]);
    server.process.kill(signal);
    const ended: string[] = [];
    const waiting = leases[2].failed({ status: 429, body: 'no' }).then(() => ended.push('who waits'));
    expect(await leases[0].failed({ status: 429, body: 'no' })).toMatchObject({ errorClass: 'UNKNOWN', retry: false });
    await leases[1].succeeded();
    ended.push('who does not');
    await expect(balancer.getStats()).rejects.toMatchObject({ code: 'UNAVAILABLE', reason: 'BALANCER_AWAY' });
    await waiting;
    expect(ended).toEqual(['who does not', 'who waits']);
  },
);

test('a balancer that is away is waited for, if nothing else is said, and then a call rejects', async () => {
  const { balancer } = await client(NOBODY, {});
  await expect(balancer.executeWithRetry(ask)).rejects.toMatchObject({ code: 'UNAVAILABLE', reason: '' });
});

test('failures of a key of one’s own are Gemini’s errors, and are not tried again', async () => {
  const { fake, balancer } = await client(NOBODY, { away: { fallbackKey: OWN }, retryDelay: 1 });
  for (const [behaviour, status] of [
    ['dead', 400],
    ['overloaded', 503],
    [{ minuteLimit: 0 }, 429],
  ] as const) {
    fake.reset();
    fake.setKey(OWN, { behaviour });
    await expect(balancer.executeWithRetry(ask)).rejects.toMatchObject({
      name: 'ApiError',
      status,
      attempts: [{ keyId: 'fallback', errorClass: 'UNKNOWN' }],
    });
    await expect(ask(balancer.genai())).rejects.toMatchObject({ name: 'ApiError', status });
    expect(fake.counts.total).toBe(2);
  }
});

test('a key of one’s own serves, warned of once and counted, until the server is back', async () => {
  const warnings = warned();
  const dataDir = tempDir();
  const first = await ServerProcess.start({ dataDir });
  const { fake, balancer } = await client(first.grpc, { away: { fallbackKey: OWN } });
  await balancer.addKey(ONE);
  /** How many calls went with each key, once the server's has served anew: a slow machine may take one of one's own first. */
  const served = async () => {
    const before = fake.counts.byKey[ONE] ?? 0;
    await expect
      .poll(async () => {
        expect(await balancer.executeWithRetry(ask)).toBe(expectedAnswer('hello'));
        return fake.counts.byKey[ONE];
      })
      .toBe(before + 1);
    return { one: before + 1, own: balancer.servedByFallback };
  };
  const { one, own } = await served();
  await first.kill();
  for (let call = 0; call < 5; call++) {
    expect(await balancer.executeWithRetry(ask)).toBe(expectedAnswer('hello'));
    expect(await ask(balancer.genai())).toBe(expectedAnswer('hello'));
  }
  expect(balancer.servedByFallback).toBe(own + 10);
  expect(fake.counts.byKey).toEqual({ [ONE]: one, [OWN]: own + 10 });
  await ServerProcess.start({ dataDir, grpc: first.grpc });
  const back = await served();
  expect(fake.counts.byKey).toEqual({ [ONE]: back.one, [OWN]: back.own });
  await sleep(0);
  // Clients of other tests may still be closing, and tell of their reports.
  expect(warnings.filter((warning) => !warning.includes('report'))).toEqual([
    'the balancer is away; calls go with the fallback key until it is back (fallback in events)',
  ]);
  // What the server knows of is its own leases alone.
  expect(await endings(balancer)).toMatchObject({ succeeded: back.one });
});

test('the setting of the pool is made when the server is there', async () => {
  const dataDir = tempDir();
  const first = await ServerProcess.start({ dataDir });
  await first.stop();
  const { balancer } = await client(first.grpc, { away: { fallbackKey: OWN }, autoSuccess: true });
  await balancer.executeWithRetry(ask);
  const second = await ServerProcess.start({ dataDir, grpc: first.grpc });
  const admin = second.connect();
  await expect
    .poll(async () => {
      await balancer.getStats();
      return (await admin.keyAdmin.listPools({})).pools[0]?.autoSuccess;
    })
    .toBe(true);
});
