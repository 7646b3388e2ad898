import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { connect } from '../../src/client/connect.ts';
import { openEmbedded } from '../../src/client/embedded.ts';
import { KeyBalancerError } from '../../src/client/errors.ts';
import { createGeminiWrapper } from '../../src/client/index.ts';
import { connectRemote } from '../../src/client/remote.ts';
import { HealthEventKind } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { apiKeys } from '../support/orders.ts';
import { tempDir } from '../support/temp-dir.ts';
import { serve, WAYS } from './balancers.ts';

const [ONE] = apiKeys(1) as [string];

async function opened(options: Parameters<typeof connect>[0]): Promise<Balancer> {
  const balancer = await connect({ embedded: { warn: () => {} }, ...options });
  onTestFinished(() => balancer.close());
  return balancer;
}

async function errorOf(promise: Promise<unknown>): Promise<KeyBalancerError> {
  try {
    await promise;
  } catch (error) {
    expect(error).toBeInstanceOf(KeyBalancerError);
    return error as KeyBalancerError;
  }
  throw new Error('it did not reject');
}

describe.each(WAYS)('a balancer, $way,', ({ place }) => {
  test('refuses with code, reason, metadata and the fields that are wrong', async () => {
    const balancer = await opened(await place());
    expect(await errorOf(balancer.keyBalancer.acquireKey({ pool: 'none' }))).toMatchObject({
      code: 'NOT_FOUND',
      reason: 'POOL_NOT_FOUND',
    });
    const field = await errorOf(balancer.keyBalancer.acquireKey({ model: 'no model' }));
    expect(field).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', metadata: { field: 'model' } });
    expect(field.violations).toEqual([{ field: 'model', description: field.message }]);
  });

  test('says when a key will be free', async () => {
    const balancer = await opened(await place());
    await balancer.keyAdmin.createKey({ apiKey: ONE, key: { maxConcurrentLeases: 1 } });
    await balancer.keyBalancer.acquireKey({});
    const error = await errorOf(balancer.keyBalancer.acquireKey({}));
    expect(error).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      reason: 'NO_KEY_AVAILABLE',
      metadata: { cause: 'all_leased' },
    });
    expect(error.retryAfterMs).toBeGreaterThan(0);
  });

  test('gives a waiting acquire up when its caller does, without taking a key', async () => {
    const balancer = await opened(await place());
    await balancer.keyAdmin.createKey({ apiKey: ONE, key: { maxConcurrentLeases: 1 } });
    const { lease } = await balancer.keyBalancer.acquireKey({});
    const controller = new AbortController();
    const waiting = balancer.keyBalancer.acquireKey({ maxWait: { seconds: 60n } }, { signal: controller.signal });
    const refused = errorOf(waiting);
    const waitingNow = async (): Promise<bigint | undefined> =>
      (await balancer.keyBalancer.getStats({})).total?.waitingAcquires;
    await expect.poll(waitingNow).toBe(1n);
    controller.abort(new Error('enough'));
    expect(await refused).toMatchObject({ code: 'CANCELLED', cause: new Error('enough') });
    await expect.poll(waitingNow).toBe(0n);
    await balancer.keyBalancer.reportResult({ leaseId: lease!.leaseId, outcome: 3 });
    expect((await balancer.keyBalancer.getStats({})).total?.activeLeases).toBe(0n);
  });

  test('ends a call at its time limit', async () => {
    const balancer = await opened(await place());
    await balancer.keyAdmin.createKey({ apiKey: ONE, key: { maxConcurrentLeases: 1 } });
    await balancer.keyBalancer.acquireKey({});
    const error = await errorOf(balancer.keyBalancer.acquireKey({ maxWait: { seconds: 60n } }, { timeoutMs: 100 }));
    // The server's own answer may come just before.
    expect(['DEADLINE_EXCEEDED', 'RESOURCE_EXHAUSTED']).toContain(error.code);
  });

  test('takes a time limit that is no whole number', async () => {
    const balancer = await opened(await place());
    expect((await balancer.keyBalancer.getStats({}, { timeoutMs: 10_000.5 })).total?.totalKeys).toBe(0n);
  });

  test('streams health, and ends the stream with the loop', async () => {
    const balancer = await opened(await place());
    await balancer.keyAdmin.createKey({ apiKey: ONE });
    const kinds: unknown[] = [];
    for await (const { event } of balancer.watchHealth({ kinds: [HealthEventKind.KEY_CHANGED] })) {
      if (event.case === 'snapshot') {
        expect(event.value.keys).toHaveLength(1);
        await balancer.keyAdmin.updateKey({ key: { keyId: event.value.keys[0]!.keyId, weight: 2 } });
      } else if (event.case === 'change') {
        kinds.push(event.value.kind);
        break;
      }
    }
    expect(kinds).toEqual([HealthEventKind.KEY_CHANGED]);
    await expect.poll(async () => (await balancer.keyBalancer.getStats({})).server?.watchers).toBe(0n);
  });

  test('ends a stream whose reader gives up', async () => {
    const balancer = await opened(await place());
    const controller = new AbortController();
    const read = async (): Promise<void> => {
      for await (const _ of balancer.watchHealth({}, { signal: controller.signal })) controller.abort();
    };
    expect(await errorOf(read())).toMatchObject({ code: 'CANCELLED' });
  });

  test('refuses calls once it is closed', async () => {
    const balancer = await opened(await place());
    await balancer.close();
    await balancer.close();
    expect(await errorOf(balancer.keyBalancer.getStats({}))).toMatchObject({ code: 'FAILED_PRECONDITION' });
  });
});

test('a data dir that a server owns is reached by the socket of the server', async () => {
  const dataDir = tempDir();
  await serve(dataDir);
  const balancer = await opened({ dataDir });
  expect(balancer.where).toBe(`unix:${join(dataDir, 'keybalancer.sock')}`);
  await balancer.keyAdmin.createKey({ apiKey: ONE });
  expect((await balancer.keyAdmin.listKeys({})).keys).toHaveLength(1);
});

test('a data dir that nobody owns is opened, also where a killed server left its socket', async () => {
  const dataDir = tempDir();
  const server = await serve(dataDir);
  await server.drain();
  const socket = JSON.stringify(join(dataDir, 'keybalancer.sock'));
  const program = `require('net').createServer().listen(${socket}, () => process.kill(process.pid, 'SIGKILL'))`;
  expect(spawnSync(process.execPath, ['-e', program]).signal).toBe('SIGKILL');
  expect(existsSync(join(dataDir, 'keybalancer.sock'))).toBe(true);
  const balancer = await opened({ dataDir });
  expect(balancer.where).toBe(`data dir ${dataDir}`);
});

test('an owner that serves nothing, and is about to leave the data dir, is waited for', async () => {
  const dataDir = tempDir();
  const owner = await openEmbedded({ dataDir, warn: () => {} });
  const connecting = opened({ dataDir });
  // Long enough to be told that the dir is in use; a client without patience has failed by then.
  await Promise.race([connecting, sleep(500)]);
  await owner.close();
  expect((await connecting).where).toBe(`data dir ${dataDir}`);
});

test('an owner that serves nothing is named, after some patience', async () => {
  const dataDir = tempDir();
  const owner = await openEmbedded({ dataDir, warn: () => {} });
  onTestFinished(() => owner.close());
  await expect(connect({ dataDir })).rejects.toMatchObject({
    name: 'KeyBalancerError',
    code: 'UNAVAILABLE',
    reason: 'DATA_DIR_IN_USE',
    cause: expect.objectContaining({ name: 'DataDirInUseError' }),
    message: expect.stringContaining(`process ${process.pid}`),
  });
});

test.each([
  ['a file in its place', 'DATA_DIR_UNUSABLE', (dataDir: string) => writeFileSync(dataDir, '')],
  [
    'a master key that is none',
    'MASTER_KEY_UNUSABLE',
    (dataDir: string) => {
      mkdirSync(dataDir);
      writeFileSync(join(dataDir, 'master.key'), 'none');
    },
  ],
])('a data dir that cannot be opened, with %s, is said by a typed error', async (_, reason, spoil) => {
  const dataDir = join(tempDir(), 'data');
  spoil(dataDir);
  for (const use of [() => connect({ dataDir }), () => createGeminiWrapper({ dataDir }).getStats()]) {
    const error = await errorOf(use());
    expect(error).toMatchObject({ code: 'FAILED_PRECONDITION', reason });
    expect(error.cause).toBeInstanceOf(Error);
    expect(error.message).toContain(dataDir);
  }
});

test('a server that does not answer is said with the time that it had', async () => {
  const silent = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void silent.close());
  await once(silent, 'listening');
  const { port } = silent.address() as { port: number };
  const remote = connectRemote(`127.0.0.1:${port}`, { timeoutMs: 500 });
  onTestFinished(() => remote.close());
  expect(await errorOf(remote.keyBalancer.getStats({}))).toMatchObject({
    code: 'DEADLINE_EXCEEDED',
    message: `no answer from 127.0.0.1:${port} within 0.5 s`,
  });
});

test('nobody at an address is said with the address', async () => {
  const free = createServer();
  await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
  const { port } = free.address() as { port: number };
  await new Promise((resolve) => free.close(resolve));
  const remote = connectRemote(`127.0.0.1:${port}`);
  onTestFinished(() => remote.close());
  expect(await errorOf(remote.keyBalancer.getStats({}))).toMatchObject({
    code: 'UNAVAILABLE',
    message: `no KeyBalancer answers at 127.0.0.1:${port} (ECONNREFUSED)`,
  });
});

test('a client finds a server again that was restarted', async () => {
  const dataDir = tempDir();
  const first = await serve(dataDir);
  const remote = connectRemote(`unix:${first.socket}`);
  onTestFinished(() => remote.close());
  await remote.keyAdmin.createKey({ apiKey: ONE });
  await first.drain();
  await serve(dataDir);
  await expect.poll(async () => (await remote.keyAdmin.listKeys({})).totalSize).toBe(1n);
});

test.each([
  '',
  'localhost',
  ':50051',
  'localhost:',
  'localhost:0',
  'localhost:65536',
  'http://localhost:50051',
  '::1:50051',
  'unix:',
  'a b:1',
])('the address %j is refused with what is allowed', (address) => {
  expect(() => connectRemote(address)).toThrow(/^address is .*; allowed: HOST:PORT/);
});

test.each([
  [{ address: '127.0.0.1:1', dataDir: '/nowhere' }, /address and dataDir/],
  [{ maxRetrys: 3 }, /option "maxRetrys" is unknown; allowed: address, dataDir, pool/],
  [{ maxRetries: -1 }, /maxRetries is -1; allowed: 0 to 60/],
  [{ maxRetries: 1.5 }, /maxRetries is 1.5; allowed: a whole number/],
  [{ retryDelay: Number.NaN }, /retryDelay is NaN/],
  [{ retryDelay: Infinity }, /retryDelay is Infinity/],
  [{ maxWait: '3' }, /maxWait is 3/],
  [{ pool: '' }, /pool is empty/],
  [{ pool: 7 }, /pool is a number; allowed: a text/],
  [[], /options is an array; allowed: an object/],
  ['127.0.0.1:1', /options is a string; allowed: an object/],
  [null, /options is null; allowed: an object/],
  [{ genai: { httpOptions: { headers: { 'X-Goog-Api-Key': ONE } } } }, /headers\["X-Goog-Api-Key"\] is given/],
  [{ genai: { apiKey: ONE } }, /genai.apiKey is given; allowed: left out/],
  [{ genai: { vertexai: true } }, /genai.vertexai is true/],
  [{ genai: { httpOptions: { retryOptions: {} } } }, /retryOptions is given/],
])('a wrapper with %j is refused by name', (options, message) => {
  let error: Error | undefined;
  try {
    createGeminiWrapper(options as object);
  } catch (thrown) {
    error = thrown as Error;
  }
  expect(error?.message).toMatch(message);
  expect(error?.message).not.toContain(ONE);
});

test('a wrapper without a place takes KEYBALANCER_ADDRESS, else the default data dir', async () => {
  const home = tempDir();
  vi.stubEnv('XDG_DATA_HOME', home);
  vi.stubEnv('KEYBALANCER_ADDRESS', '');
  vi.stubEnv('KEYBALANCER_DATA_DIR', '');
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
  const embedded = await opened({});
  expect(embedded.where).toBe(`data dir ${join(home, 'keybalancer')}`);
  const { grpc } = await serve();
  vi.stubEnv('KEYBALANCER_ADDRESS', grpc!);
  const remote = await opened({});
  expect(remote.where).toBe(grpc);
});

test('KEYBALANCER_ADDRESS lists several addresses with commas, and one that is none is refused', async () => {
  const { grpc } = await serve();
  vi.stubEnv('KEYBALANCER_ADDRESS', `127.0.0.1:1, ${grpc}`);
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
  const balancer = await opened({});
  expect(balancer.where).toBe(`127.0.0.1:1, ${grpc}`);
  expect((await balancer.keyBalancer.getStats({})).server?.version).not.toBe('');
  vi.stubEnv('KEYBALANCER_ADDRESS', `${grpc},`);
  await expect(connect({})).rejects.toThrow('KEYBALANCER_ADDRESS is ""; allowed: HOST:PORT');
});

test('a client of a server loads neither SQLite nor the server', () => {
  const program = `
    import { registerHooks } from 'node:module';
    const loaded = [];
    registerHooks({ load: (url, context, next) => { loaded.push(url); return next(url, context); } });
    const { connect } = await import(${JSON.stringify(new URL('../../src/client/index.ts', import.meta.url).href)});
    const balancer = await connect({ address: '127.0.0.1:1' });
    await balancer.keyBalancer.getStats({}).catch(() => {});
    await balancer.close();
    console.log(JSON.stringify(loaded));
  `;
  const loaded = JSON.parse(
    execFileSync(process.execPath, ['--input-type=module', '--eval', program], { encoding: 'utf8' }),
  ) as string[];
  expect(loaded.some((url) => url.includes('/src/client/remote.ts'))).toBe(true);
  expect(
    loaded.filter((url) => /better-sqlite3|(?<!build)\/src\/(server|engine|store\/(?!data-dir))/.test(url)),
  ).toEqual([]);
});
