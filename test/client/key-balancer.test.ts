import { setTimeout as sleep } from 'node:timers/promises';
import type { GoogleGenAI } from '@google/genai';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { connect } from '../../src/client/connect.ts';
import {
  type ClientEvent,
  type ClientEventType,
  createGeminiWrapper,
  createKeyBalancer,
  type KeyBalancer,
  type KeyBalancerOptions,
} from '../../src/client/index.ts';
import { expectedAnswer } from '../fake-gemini/index.ts';
import { apiKeys } from '../support/orders.ts';
import { tempDir } from '../support/temp-dir.ts';
import { bench, endings, MODEL, serve, WAYS } from './balancers.ts';
import { warned } from './scripted-balancer.ts';

const [ONE, TWO] = apiKeys(2) as [string, string];
/** A call that a test would not outlive. */
const FOR_EVER = 3_600_000;
const TYPES: readonly ClientEventType[] = ['lease', 'retry', 'report', 'exhausted'];

async function ask(ai: GoogleGenAI, contents = 'hello'): Promise<string | undefined> {
  return (await ai.models.generateContent({ model: MODEL, contents })).text;
}

function askUntil(ai: GoogleGenAI, abortSignal: AbortSignal): Promise<unknown> {
  return ai.models.generateContent({ model: MODEL, contents: 'hello', config: { abortSignal } });
}

async function readStream(ai: GoogleGenAI, contents = 'hello'): Promise<string> {
  let text = '';
  for await (const chunk of await ai.models.generateContentStream({ model: MODEL, contents })) text += chunk.text ?? '';
  return text;
}

async function thrownBy(
  promise: Promise<unknown>,
): Promise<Error & { code?: string; reason?: string; attempts?: unknown[] }> {
  return promise.then(
    () => {
      throw new Error('it did not reject');
    },
    (error: Error) => error,
  );
}

/** What happens from now on. */
function told(balancer: KeyBalancer): ClientEvent[] {
  const events: ClientEvent[] = [];
  for (const type of TYPES) balancer.on(type, (event) => events.push(event));
  return events;
}

test('createGeminiWrapper is the same function by its old name', () => {
  expect(createGeminiWrapper).toBe(createKeyBalancer);
});

describe.each(WAYS)('a client, $way,', ({ place }) => {
  test('generates and streams by genai(), each request with a lease that is reported', async () => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: { behaviour: 'dead' }, [TWO]: {} });
    const ai = wrapper.genai();
    expect(await ask(ai)).toBe(expectedAnswer('hello'));
    expect(await readStream(ai, 'again')).toBe(expectedAnswer('again'));
    expect(fake.counts.byKeyAndStatus[TWO]).toEqual({ 200: 2 });
    expect(await endings(wrapper)).toEqual({ acquired: 3, succeeded: 2, failed: 1 });
  });

  test('finds a file by its project that another client made', async () => {
    const where = await place();
    const keys = Object.fromEntries(apiKeys(6).map((key, at) => [key, { project: `30000000000${at % 3}` }]));
    const { fake, wrapper } = await bench(where, keys);
    const file = await wrapper.genai().files.upload({ file: new Blob(['words'], { type: 'text/plain' }) });
    const { project } = fake.counts.log[0]!;
    await using other = createKeyBalancer({ ...where, genai: { httpOptions: { baseUrl: fake.url } } });
    const fileData = { fileUri: file.uri!, mimeType: 'text/plain' };
    const parts = [{ text: 'Sum it up' }, { fileData }];
    await other.genai().models.generateContent({ model: MODEL, contents: [{ role: 'user', parts }] });
    expect(fake.counts.log.at(-1)).toMatchObject({ project, status: 200, method: 'generateContent' });
    const { pools, keys: health } = await other.getStats();
    expect(pools[0]?.failuresByClass).not.toHaveProperty('KEY_INVALID');
    expect(health.every((key) => key.cooldowns.length === 0 && key.effectiveWeight === 1)).toBe(true);
  });

  test('keeps calls of one affinity key with one key', async () => {
    const { fake, wrapper } = await bench(await place(), Object.fromEntries(apiKeys(5).map((key) => [key, {}])));
    const ofOne = wrapper.withRetry(ask, { affinityKey: 'one' });
    const ai = wrapper.genai({ affinityKey: 'one' });
    for (let call = 0; call < 3; call++) {
      await ofOne();
      await ask(ai);
    }
    expect(Object.values(fake.counts.byKey)).toEqual([6]);
    expect(() => wrapper.genai({ affinityKey: '' })).toThrow('affinityKey is empty');
    expect(() => wrapper.withRetry(ask, { affinityKey: '' })).toThrow('affinityKey is empty');
  });

  test('ends a call at its deadline though its function never returns, and one that waits for the balancer', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const error = await thrownBy(wrapper.withRetry(() => new Promise(() => {}), { deadline: 50.5 })());
    expect(error.name).toBe('TimeoutError');
    await expect.poll(() => endings(wrapper)).toEqual({ acquired: 1, unused: 1 });
  });

  test('does not wait for the answer to a report once its signal is aborted', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: { behaviour: 'overloaded' } }, { retryDelay: FOR_EVER });
    const controller = new AbortController();
    const reason = new Error('enough');
    wrapper.on('retry', () => controller.abort(reason));
    expect(await thrownBy(wrapper.withRetry(ask, { signal: controller.signal })())).toBe(reason);
  });

  test('tells of leases, repeats, reports and want of keys in their order, for each way to call', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: { behaviour: 'dead' }, [TWO]: {} });
    const events = told(wrapper);
    await wrapper.executeWithRetry(ask);
    await wrapper.getStats();
    expect(events.map(({ type, method, model }) => [type, method, model])).toEqual([
      ['lease', 'executeWithRetry', MODEL],
      ['report', 'executeWithRetry', MODEL],
      ['retry', 'executeWithRetry', MODEL],
      ['lease', 'executeWithRetry', MODEL],
      ['report', 'executeWithRetry', MODEL],
    ]);
    expect(events[1]).toMatchObject({ outcome: 'failure', errorClass: 'KEY_INVALID', httpStatus: 400 });
    expect(events[2]).toMatchObject({ errorClass: 'KEY_INVALID', attempt: 1, delayMs: 0, search: false });
    expect(events[3]).toMatchObject({ attempt: 1 });
    expect(events[4]).toMatchObject({ outcome: 'success', errorClass: '', inputTokens: expect.any(Number) });
    events.length = 0;
    await ask(wrapper.genai());
    expect(events.map(({ type, method }) => [type, method])).toEqual([
      ['lease', 'generateContent'],
      ['report', 'generateContent'],
    ]);
    events.length = 0;
    await (await wrapper.lease()).succeeded({ inputTokens: 7 });
    expect(events).toMatchObject([
      { type: 'lease', method: 'lease', model: MODEL, attempt: 0 },
      { type: 'report', method: 'lease', outcome: 'success', inputTokens: 7 },
    ]);
  });

  test('tells of calls that got no key, with the reason', async () => {
    const { wrapper } = await bench(await place(), {});
    const events = told(wrapper);
    await thrownBy(wrapper.executeWithRetry(ask));
    await thrownBy(ask(wrapper.genai()));
    await thrownBy(wrapper.lease());
    await thrownBy(wrapper.leaseBatches([1]));
    expect(events.map(({ type }) => type)).toEqual(Array(4).fill('exhausted'));
    expect(events.map((event) => 'reason' in event && event.reason)).toEqual(Array(4).fill('POOL_EMPTY'));
  });

  test('a listener that throws harms no call, and the others are told; it is an uncaught error of its own', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const uncaught: unknown[] = [];
    const before = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => uncaught.push(error));
    onTestFinished(() => {
      process.removeAllListeners('uncaughtException');
      for (const listener of before) process.on('uncaughtException', listener);
    });
    const mistake = new Error('in a listener');
    const stop = wrapper.on('lease', () => {
      throw mistake;
    });
    const events = told(wrapper);
    await wrapper.executeWithRetry(ask);
    await ask(wrapper.genai());
    expect(events.filter(({ type }) => type === 'lease')).toHaveLength(2);
    expect(uncaught).toEqual([mistake, mistake]);
    stop();
    stop();
    await wrapper.executeWithRetry(ask);
    expect(uncaught).toHaveLength(2);
    expect(await endings(wrapper)).toEqual({ acquired: 3, succeeded: 3 });
  });

  test('takes listeners of known events only, and functions only', async () => {
    const { wrapper } = await bench(await place(), {});
    const on = wrapper.on as (type: unknown, listener: unknown) => unknown;
    const listen = (type: unknown, listener: unknown) => () => on.call(wrapper, type, listener);
    expect(listen('leased', () => {})).toThrow(
      'the type of event is unknown; allowed: lease, retry, report, exhausted',
    );
    expect(listen('constructor', () => {})).toThrow('the type of event is unknown');
    expect(listen('lease', undefined)).toThrow('listener is undefined; allowed: a function');
  });

  test('waits on closing for requests of genai() and streams that are read, and reports them', async () => {
    const where = await place();
    const keys = { [ONE]: { behaviour: { delayMs: 200, chunkDelayMs: 100 } } } as const;
    const { fake, wrapper } = await bench(where, keys);
    const calls = [ask(wrapper.genai()), readStream(wrapper.genai())];
    await expect.poll(() => fake.counts.inFlight).toBe(2);
    await wrapper.close();
    expect(await Promise.all(calls)).toEqual([expectedAnswer('hello'), expectedAnswer('hello')]);
    await using later = createKeyBalancer(where);
    expect(await endings(later)).toEqual({ acquired: 2, succeeded: 2 });
  });

  test.each([
    ['in the same turn', async () => {}],
    ['a tick', () => sleep(0)],
    ['20 ms', () => sleep(20)],
  ])('waits on closing for its first calls, made %s before, and reports them', async (_, pass) => {
    const where = await place();
    const { fake, wrapper } = await bench(where, { [ONE]: {} });
    await wrapper.close();
    const warnings = warned();
    const client = createKeyBalancer({ ...where, model: MODEL, genai: { httpOptions: { baseUrl: fake.url } } });
    const calls = [ask(client.genai()), readStream(client.genai())];
    await pass();
    await client.close();
    expect(await Promise.all(calls)).toEqual(Array(2).fill(expectedAnswer('hello')));
    await using later = createKeyBalancer(where);
    expect(await endings(later)).toEqual({ acquired: 2, succeeded: 2 });
    expect(warnings).toEqual([]);
  });

  test('gives the keys of calls back that are not over when the time of closing is, and their reports count for nothing', async () => {
    const where = await place();
    const { fake, wrapper } = await bench(where, { [ONE]: { behaviour: { delayMs: Infinity } } });
    const warnings = warned();
    const idle = Promise.withResolvers<string>();
    const gone = new AbortController();
    const calls = [
      wrapper.executeWithRetry(() => idle.promise),
      thrownBy(wrapper.executeWithRetry((ai) => askUntil(ai, gone.signal))),
      thrownBy(askUntil(wrapper.genai(), gone.signal)),
    ];
    await expect.poll(() => fake.counts.inFlight).toBe(2);
    await expect.poll(() => endings(wrapper)).toEqual({ acquired: 3, active: 3 });
    // It takes the 10 s that it gives them: the client's timers cannot be moved.
    await wrapper.close();
    idle.resolve('late');
    gone.abort();
    expect(await Promise.all(calls)).toMatchObject(['late', { name: 'AbortError' }, { name: 'AbortError' }]);
    await using later = createKeyBalancer(where);
    expect(await endings(later)).toEqual({ acquired: 3, failed: 3 });
    expect(warnings).toEqual([]);
  });

  test('says so where an own fetch gives no response, tries no other key, and ends its lease', async () => {
    let requests = 0;
    const fetch = async (): Promise<undefined> => {
      requests++;
      return undefined;
    };
    const genai = { httpOptions: { fetch: fetch as never } };
    const { wrapper } = await bench(await place(), { [ONE]: {}, [TWO]: {} }, { genai });
    const ai = wrapper.genai();
    const said = { name: 'TypeError', message: 'httpOptions.fetch gave undefined; allowed: a promise of a Response' };
    expect(await thrownBy(ask(ai))).toMatchObject(said);
    expect(await thrownBy(readStream(ai))).toMatchObject(said);
    expect(await thrownBy(wrapper.executeWithRetry(ask))).toMatchObject(said);
    expect(requests).toBe(3);
    expect(await endings(wrapper)).toEqual({ acquired: 3, failed: 3 });
  });

  test('refuses everything once it is closed', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const ai = wrapper.genai();
    const wrapped = wrapper.withRetry(ask);
    await wrapper.close();
    const closed = { code: 'FAILED_PRECONDITION', message: 'the client of this KeyBalancer is closed' };
    const watch = wrapper.watchHealth()[Symbol.asyncIterator]();
    for (const call of [
      () => wrapper.executeWithRetry(ask),
      () => wrapped(),
      () => wrapper.lease(),
      () => wrapper.leaseBatches([1]),
      () => watch.next(),
      () => wrapper.addKey(TWO),
      () => wrapper.importKeysFromFile('/nowhere'),
      () => wrapper.getStats(),
      () => wrapper.getMemoryUsage(),
      () => ask(ai),
    ]) {
      expect(await thrownBy(call())).toMatchObject(closed);
    }
    expect(() => wrapper.genai()).toThrow(closed.message);
    expect(() => wrapper.optimizeForLargeKeysets(1_000)).toThrow(closed.message);
    await wrapper.close();
  });

  test('adds keys, imports them from a file, and says what they hold in memory', async () => {
    const { wrapper } = await bench(await place(), {});
    const path = `${tempDir()}/keys.txt`;
    const { writeFile } = await import('node:fs/promises');
    await writeFile(path, `${ONE}\n${TWO}:2\n# no key\n`);
    expect(await wrapper.addKey(ONE)).toBe(true);
    const summary = await wrapper.importKeysFromFile(path, 'a file');
    expect(summary).toMatchObject({ new: 1, skipped: 1 });
    const { pools } = await wrapper.getStats();
    expect(pools[0]?.keysBySource).toEqual({ manual: 1n, 'a file': 1n });
    const memory = await wrapper.getMemoryUsage();
    expect(memory.$typeName).toBe('keybalancer.v1.MemoryStats');
  });

  test.each([true, false])('autoSuccess: %s makes the pool so with the first call', async (autoSuccess) => {
    const where = await place();
    const { wrapper } = await bench(where, { [ONE]: {} }, { autoSuccess });
    await wrapper.executeWithRetry(ask);
    const balancer = await connect(where);
    onTestFinished(() => balancer.close());
    const { pools } = await balancer.keyAdmin.listPools({});
    expect(pools.find(({ pool }) => pool === 'default')?.autoSuccess).toBe(autoSuccess);
  });

  test('takes what is not a number, a list or a name of an option for what it is, in every method', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const calls: readonly [() => Promise<unknown>, string][] = [
      [() => wrapper.lease({ maxWait: Number.NaN }), 'maxWait is NaN; allowed: 0 to 86400000'],
      [() => wrapper.lease({ estimatedTokens: -1 }), 'estimatedTokens is -1; allowed: 0 to'],
      [() => wrapper.lease({ modell: MODEL } as object), 'option "modell" is unknown; allowed: model,'],
      [() => wrapper.lease({ excludeKeyIds: 'key' as never }), 'excludeKeyIds is a string; allowed: a list of texts'],
      [() => wrapper.lease({ signal: {} as never }), 'signal is an object; allowed: an AbortSignal'],
      [() => wrapper.lease(null as never), 'options is null; allowed: an object'],
      [() => wrapper.leaseBatches(3 as never), 'sizes is a number; allowed: a list of sizes'],
      [() => wrapper.leaseBatches([1, 2.5]), 'sizes[1] is 2.5; allowed: a whole number'],
      [() => wrapper.leaseBatches([1], { maxWait: -1 }), 'maxWait is -1; allowed: 0 to'],
      [() => watching(wrapper, { heartbeatInterval: Number.NaN }), 'heartbeatInterval is NaN; allowed: a whole number'],
      [() => watching(wrapper, { pools: 'default' as never }), 'pools is a string; allowed: a list of texts'],
      [() => watching(wrapper, { pool: 'default' } as object), 'option "pool" is unknown; allowed: pools,'],
      [async () => wrapper.withRetry(ask, { deadline: Number.NaN }), 'deadline is NaN; allowed: 0 to'],
      [
        async () => wrapper.withRetry(ask, { retries: 1 } as object),
        'option "retries" is unknown; allowed: maxRetries',
      ],
      [async () => wrapper.genai(null as never), 'genai is null; allowed: options of the SDK'],
      [async () => wrapper.genai({ apiKey: ONE } as object), 'genai.apiKey is given; allowed: left out'],
      [async () => wrapper.genai({ httpOptions: { retryOptions: {} } }), 'the SDK would try the same key again'],
      [async () => wrapper.optimizeForLargeKeysets(Number.NaN), 'keys is NaN; allowed: a whole number'],
    ];
    for (const [call, message] of calls) {
      const error = await thrownBy(call());
      expect(error.message).toContain(message);
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
    }
    expect(await endings(wrapper)).toEqual({});
  });

  test('a Vertex environment, and keys in it, change nothing', async () => {
    const where = await place();
    for (const [name, value] of Object.entries({
      GOOGLE_GENAI_USE_VERTEXAI: 'true',
      GOOGLE_CLOUD_PROJECT: 'a-project',
      GOOGLE_CLOUD_LOCATION: 'us-central1',
      GOOGLE_API_KEY: 'AQ.environment',
      GEMINI_API_KEY: 'AQ.environment',
    })) {
      vi.stubEnv(name, value);
    }
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    const { fake, wrapper } = await bench(where, { [ONE]: {} });
    expect(await wrapper.executeWithRetry(ask)).toBe(expectedAnswer('hello'));
    expect(await ask(wrapper.genai())).toBe(expectedAnswer('hello'));
    expect(fake.counts.byKey).toEqual({ [ONE]: 2 });
  });
});

function watching(wrapper: KeyBalancer, options: Parameters<KeyBalancer['watchHealth']>[0]): Promise<unknown> {
  return wrapper.watchHealth(options)[Symbol.asyncIterator]().next();
}

test.each<[KeyBalancerOptions | Record<string, unknown>, RegExp]>([
  [{ adress: 'x' }, /option "adress" is unknown; allowed: address, dataDir/],
  [{ address: '127.0.0.1:1', dataDir: '/nowhere' }, /address and dataDir is .*; allowed: one of them, or neither/],
  [{ address: [] }, /address is an empty list/],
  [{ retryBudget: 2 }, /retryBudget is 2; allowed: 0 to 1/],
  [{ retryBudget: Number.NaN }, /retryBudget is NaN/],
  [{ deadline: -1 }, /deadline is -1/],
  [{ maxProjects: 0 }, /maxProjects is 0; allowed: a whole number, 1 to 64/],
  [{ cacheSize: 1.5 }, /cacheSize is 1.5/],
  [{ autoSuccess: 'yes' }, /autoSuccess is a string; allowed: true or false/],
  [{ maxRetries: ONE }, /maxRetries is a string/],
  [{ away: ONE }, /away is another text; allowed: "wait", "fail" or/],
  [{ away: null }, /away is null/],
  [{ away: {} }, /away.fallbackKey is undefined; allowed: an API key/],
  [{ away: { fallbackKey: ' ' } }, /away.fallbackKey is empty/],
  [{ away: { fallbackKey: `${ONE}\n${TWO}` } }, /away.fallbackKey is a text that is none/],
  [{ away: { fallbackKey: ONE, key: TWO } }, /option "key" is unknown/],
  [{ genai: { vertexai: true } }, /genai.vertexai is true; allowed: left out: Vertex takes no API keys/],
  [{ genai: { httpOptions: { retryOptions: { attempts: 2 } } } }, /retryOptions is given; .*same key again/],
])('a client with %j is refused by name, and no key is said', (options, message) => {
  let error: unknown;
  try {
    createKeyBalancer(options as KeyBalancerOptions);
  } catch (thrown) {
    error = thrown;
  }
  expect(String(error)).toMatch(message);
  expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
  expect(String(error)).not.toContain(ONE.slice(0, 12));
});

describe('the cache of decrypted keys', () => {
  async function capacity(dataDir: string, make: (balancer: KeyBalancer) => void, options: KeyBalancerOptions = {}) {
    vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    await using balancer = createKeyBalancer({ dataDir, ...options });
    make(balancer);
    const { server } = await balancer.getStats();
    return Number(server?.cache?.capacity);
  }

  test('has the size that cacheSize or optimizeForLargeKeysets() say before the first call', async () => {
    expect(await capacity(tempDir(), () => {})).toBe(100);
    expect(await capacity(tempDir(), () => {}, { cacheSize: 321 })).toBe(321);
    expect(await capacity(tempDir(), (balancer) => balancer.optimizeForLargeKeysets(54_321))).toBe(54_321);
  });

  test('is not changed later, or of a server, and that is said', async () => {
    const warnings = warned();
    await using balancer = createKeyBalancer({ address: (await serve()).grpc! });
    balancer.optimizeForLargeKeysets(1_000);
    vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    await using embedded = createKeyBalancer({ dataDir: tempDir() });
    await embedded.getStats();
    embedded.optimizeForLargeKeysets(1_000);
    await sleep(0);
    expect(warnings).toEqual([
      'optimizeForLargeKeysets() changed nothing: a server sizes its cache itself',
      'optimizeForLargeKeysets() changed nothing: the data dir is open, and its cache grows by itself',
    ]);
  });
});
