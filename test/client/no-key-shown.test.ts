import { inspect } from 'node:util';
import type { GoogleGenAI } from '@google/genai';
import { type Span, trace } from '@opentelemetry/api';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createKeyBalancer, type KeyBalancer } from '../../src/client/index.ts';
import { everythingReachable } from '../support/everything-reachable.ts';
import { apiKeys } from '../support/orders.ts';
import { bench, endings, MODEL, WAYS } from './balancers.ts';
import { warned } from './scripted-balancer.ts';

const [ONE, TWO] = apiKeys(2) as [string, string];

async function ask(ai: GoogleGenAI): Promise<string | undefined> {
  return (await ai.models.generateContent({ model: MODEL, contents: 'hello' })).text;
}

async function read(ai: GoogleGenAI): Promise<void> {
  for await (const _ of await ai.models.generateContentStream({ model: MODEL, contents: 'hello' }));
}

function record(balancer: KeyBalancer): unknown[] {
  const events: unknown[] = [];
  for (const type of ['lease', 'retry', 'report', 'exhausted'] as const)
    balancer.on(type, (event) => events.push(event));
  return events;
}

/** The events of an interaction are added to `given`. */
async function listen(ai: GoogleGenAI, given: unknown[]): Promise<void> {
  for await (const event of await ai.interactions.create({ model: MODEL, input: 'hello', stream: true })) {
    given.push(event);
  }
}

/** All parts of a client, each used, with what it gives. */
async function useAll(ai: GoogleGenAI): Promise<void> {
  const chat = ai.chats.create({ model: MODEL, history: [{ role: 'user', parts: [{ text: 'first' }] }] });
  const file = new Blob(['words'], { type: 'text/plain' });
  const uploaded = await ai.files.upload({ file });
  const src = [{ contents: [{ role: 'user', parts: [{ text: 'hello' }] }] }];
  const given = [
    await ai.models.generateContent({ model: MODEL, contents: 'hello' }),
    await ai.models.list(),
    await chat.sendMessage({ message: 'hello' }),
    chat,
    uploaded,
    await ai.files.list(),
    await ai.caches.create({ model: MODEL, config: { contents: 'hello' } }),
    await ai.caches.list(),
    await ai.batches.create({ model: MODEL, src }),
    await ai.interactions.create({ model: MODEL, input: 'hello' }),
    ...(await talkLive(ai)).told,
  ];
  for (const each of given) expect(everythingReachable(each)).not.toContain(ONE);
}

/** A live session from its beginning to its end: what its caller is told, and by what it ended. */
async function talkLive(ai: GoogleGenAI): Promise<{ told: unknown[]; ended: string[] }> {
  const told: unknown[] = [];
  const ended: string[] = [];
  const turnOver = Promise.withResolvers<void>();
  const over = Promise.withResolvers<void>();
  const end = (by: string) => {
    ended.push(by);
    turnOver.resolve();
    over.resolve();
  };
  try {
    const session = await ai.live.connect({
      model: MODEL,
      callbacks: {
        onopen(...args: unknown[]) {
          told.push(this, args);
        },
        onmessage(message) {
          told.push(this, message);
          if (message.serverContent?.turnComplete) turnOver.resolve();
        },
        onerror(event) {
          told.push(this, event);
          end('error');
        },
        onclose(event) {
          told.push(this, event);
          end('close');
        },
      },
    });
    told.push(session, session.conn);
    session.sendClientContent({ turns: 'hello' });
    session.sendRealtimeInput({ text: 'hello' });
    session.sendToolResponse({ functionResponses: { id: '1', name: 'f', response: {} } });
    await turnOver.promise;
    session.close();
    await over.promise;
  } catch (error) {
    told.push(error);
    await over.promise;
  }
  return { told, ended };
}

/** What spans are told. */
function spans(): unknown[] {
  const told: unknown[] = [];
  const startSpan = (...about: unknown[]): Span => {
    told.push(about);
    return { setStatus: (status: unknown) => told.push(status), end() {} } as unknown as Span;
  };
  trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan }) as never });
  onTestFinished(() => trace.disable());
  return told;
}

/** As Gemini does. */
const REPEATS_KEY = {
  status: 403,
  body: {
    error: { code: 403, status: 'PERMISSION_DENIED', message: `Consumer 'api_key:${ONE}' has been suspended.` },
  },
};

beforeEach(() => {
  // Parts of the SDK say that they are new.
  vi.spyOn(console, 'warn').mockReturnValue(undefined);
});

describe.each(WAYS)('no key is shown, $way,', ({ place }) => {
  test.each([
    ['a refusal that repeats it', { error: REPEATS_KEY }],
    ['a connection that breaks', { cut: 'beforeAnswer' }],
    ['a stream that breaks', { cut: 'midStream' }],
    ['a stream with an error in it', { errorMidStream: REPEATS_KEY }],
  ] as const)('in the errors, events, spans and warnings of %s', async (_, behaviour) => {
    const warnings = warned();
    const told = spans();
    const { wrapper } = await bench(await place(), { [ONE]: { behaviour } }, { maxRetries: 0 });
    const events = record(wrapper);
    const ai = wrapper.genai();
    const errors: unknown[] = [];
    for (const call of [() => wrapper.executeWithRetry(read), () => read(ai), () => ask(ai), () => wrapper.lease()]) {
      await call().catch((error: unknown) => errors.push(error));
    }
    expect(errors.length).toBeGreaterThan(0);
    expect(events.length).toBeGreaterThan(2);
    expect(told.length).toBeGreaterThan(0);
    for (const each of [errors, events, told, warnings, ai, wrapper])
      expect(everythingReachable(each)).not.toContain(ONE);
  });

  test('in the clients that functions are given, at any depth, and they work', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    await wrapper.executeWithRetry(async (ai) => {
      await useAll(ai);
      expect(everythingReachable(ai, { except: ['apiKey'] })).not.toContain(ONE);
      expect(inspect(ai, { showHidden: true, getters: true })).toContain('GoogleGenAI');
      expect((ai as unknown as { apiKey: string }).apiKey).toBe(ONE);
    });
    expect(await endings(wrapper)).toEqual({ acquired: 1, succeeded: 1 });
  });

  test('in the clients that stay, nor in what they give', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const ai = wrapper.genai();
    await useAll(ai);
    for (const each of [ai, wrapper]) expect(everythingReachable(each)).not.toContain(ONE);
  });

  test('in the log that the SDK writes of its requests where it is told to', async () => {
    vi.stubEnv('GOOGLE_GENAI_DEBUG', '1');
    onTestFinished(() => void vi.unstubAllEnvs());
    const lines: unknown[] = [];
    for (const name of ['log', 'group'] as const) {
      vi.spyOn(console, name).mockImplementation((...words: unknown[]) => void lines.push(words));
    }
    onTestFinished(() => void vi.restoreAllMocks());
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const interact = (ai: GoogleGenAI) => ai.interactions.create({ model: MODEL, input: 'hello' });
    await wrapper.executeWithRetry(interact);
    await interact(wrapper.genai());
    expect(JSON.stringify(lines)).toContain('x-goog-api-key');
    expect(JSON.stringify(lines)).not.toContain(ONE);
  });

  test.each<[string, (wrapper: KeyBalancer, fn: (ai: GoogleGenAI) => Promise<unknown>) => Promise<unknown>]>([
    ['a function', (wrapper, fn) => wrapper.executeWithRetry(fn)],
    ['a client that stays', (wrapper, fn) => fn(wrapper.genai())],
  ])('in what interactions throw, nor in what they threw within: %s', async (_, call) => {
    const details = [{ reason: 'CONSUMER_SUSPENDED', metadata: { consumer: `api_key:${ONE}` } }];
    const error = { status: 403, body: { error: { ...REPEATS_KEY.body.error, details } } };
    const { wrapper } = await bench(await place(), { [ONE]: { behaviour: { error } } }, { maxRetries: 0 });
    const shown: string[] = [];
    const look = (thrown: unknown): void => {
      const metadata = { consumer: 'api_key:[redacted]' };
      expect(thrown).toMatchObject({ error: { error: { details: [{ metadata }] } } });
      shown.push(everythingReachable(thrown));
    };
    const asking = call(wrapper, async (ai) => {
      try {
        await ai.interactions.create({ model: MODEL, input: 'hello' });
      } catch (thrown) {
        look(thrown);
        throw thrown;
      }
    });
    await asking.catch(look);
    expect(shown).toHaveLength(2);
    for (const each of shown) expect(each).not.toContain(ONE);
  });

  test('in an event of interactions that says an error', async () => {
    const given: unknown[] = [];
    for (const call of [
      (wrapper: KeyBalancer) => wrapper.executeWithRetry((ai) => listen(ai, given)),
      (wrapper: KeyBalancer) => listen(wrapper.genai(), given),
    ]) {
      const keys = { [ONE]: { behaviour: { errorMidStream: REPEATS_KEY } } };
      const { wrapper } = await bench(await place(), keys, { maxRetries: 0 });
      await call(wrapper).catch((error: unknown) => given.push(error));
    }
    expect(JSON.stringify(given).match(/has been suspended/g)).toHaveLength(2);
    expect(everythingReachable(given)).not.toContain(ONE);
  });

  test('in such an event that is the first, though the key comes in two parts', async () => {
    const event = `event: error\ndata: {"event_type":"error","error":{"code":"x","message":"No: ${ONE}"}}\n\n`;
    const cut = event.indexOf(ONE) + 5;
    const inParts = async (): Promise<Response> =>
      new Response(ReadableStream.from([event.slice(0, cut), event.slice(cut)].map((part) => Buffer.from(part))), {
        headers: { 'content-type': 'text/event-stream' },
      });
    const genai = { httpOptions: { fetch: inParts } };
    const { wrapper } = await bench(await place(), { [ONE]: {} }, { maxRetries: 0, genai });
    const given: unknown[] = [];
    await listen(wrapper.genai(), given).catch((error: unknown) => given.push(error));
    expect(JSON.stringify(given)).toContain('No: [redacted]');
    expect(everythingReachable(given)).not.toContain(ONE.slice(5));
  });

  test.each([
    ['opens and is closed', {}],
    ['is refused as it opens', { behaviour: { error: REPEATS_KEY } }],
    ['is ended by Gemini', { behaviour: { errorMidStream: REPEATS_KEY } }],
    ['breaks', { behaviour: { cut: 'midStream', on: ['live'] } }],
  ] as const)('in a live session that %s, its events and its errors', async (_, key) => {
    const { wrapper } = await bench(await place(), { [ONE]: key }, { maxRetries: 0 });
    const talk = async (ai: GoogleGenAI) => {
      const { told, ended } = await talkLive(ai);
      expect(ended).toContain('close');
      for (const each of told) expect(everythingReachable(each, { except: ['apiKey'] })).not.toContain(ONE);
    };
    await talk(wrapper.genai());
    await wrapper.executeWithRetry(talk);
  });

  test('in a live session that finds nobody', async () => {
    const genai = { httpOptions: { baseUrl: 'http://127.0.0.1:1' } };
    const { wrapper } = await bench(await place(), { [ONE]: {} }, { maxRetries: 0 });
    const talk = async (ai: GoogleGenAI) => {
      const { told, ended } = await talkLive(ai);
      expect(ended).toContain('error');
      for (const each of told) expect(everythingReachable(each, { except: ['apiKey'] })).not.toContain(ONE);
    };
    await talk(wrapper.genai(genai));
  });

  test('in leased keys, nor in what they judge', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {}, [TWO]: {} });
    const events = record(wrapper);
    const key = await wrapper.lease();
    expect(key.apiKey).toMatch(/./);
    expect(inspect(key, { getters: true, showHidden: true })).toBe(`LeasedKey ${key.keyId}`);
    const batches = await wrapper.leaseBatches([2]);
    const judgement = await key.failed({ status: 403, body: JSON.stringify(REPEATS_KEY.body) });
    for (const each of [key, { ...key }, ...batches.flat(), judgement, events]) {
      const all = everythingReachable(each, { except: ['apiKey'] });
      expect(all).not.toContain(ONE);
      expect(all).not.toContain(TWO);
    }
    for (const held of batches.flat()) await held[Symbol.asyncDispose]();
  });

  test('in refusals of keys that cannot be added', async () => {
    const { wrapper } = await bench(await place(), {});
    for (const call of [() => wrapper.addKey(ONE, Number.NaN), () => wrapper.addKey(`${ONE} ${TWO}`)]) {
      const error = await call().catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
      expect(everythingReachable(error)).not.toContain(ONE);
    }
  });
});

describe.each(WAYS)('a lease ends, $way,', ({ place }) => {
  const SLOW = { behaviour: { delayMs: Infinity } } as const;
  const DRIPPING = { behaviour: { chunkDelayMs: Infinity } } as const;
  const aborted = (ms: number) => ({ abortSignal: AbortSignal.timeout(ms) });
  const contents = 'hello';
  const cases: readonly [string, object, (wrapper: KeyBalancer) => Promise<unknown>, string][] = [
    [
      'when a request is aborted',
      SLOW,
      (wrapper) => wrapper.genai().models.generateContent({ model: MODEL, contents, config: aborted(2_000) }),
      'failed',
    ],
    ['when it times out', SLOW, (wrapper) => ask(wrapper.genai({ httpOptions: { timeout: 2_000 } })), 'failed'],
    ['when the call’s deadline passes', SLOW, (wrapper) => wrapper.withRetry(ask, { deadline: 2_000 })(), 'failed'],
    [
      'when a reader stops',
      DRIPPING,
      async (wrapper) => {
        for await (const _ of await wrapper.genai().models.generateContentStream({ model: MODEL, contents })) break;
      },
      'succeeded',
    ],
    [
      'when fn throws',
      {},
      (wrapper) =>
        wrapper.executeWithRetry(() => {
          throw new TypeError('mine');
        }),
      'unused',
    ],
    [
      'when fn never returns',
      {},
      (wrapper) => wrapper.withRetry(() => new Promise(() => {}), { deadline: 50 })(),
      'unused',
    ],
    [
      'when a block that holds it throws',
      {},
      async (wrapper) => {
        await using key = await wrapper.lease();
        throw new TypeError(key.keyId);
      },
      'unused',
    ],
  ];
  test.each(cases)('%s', async (_, key, call, outcome) => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: key }, { maxRetries: 0 });
    await call(wrapper).catch(() => {});
    await expect.poll(() => endings(wrapper)).toEqual({ acquired: 1, [outcome]: 1 });
    await expect.poll(() => fake.counts.inFlight).toBe(0);
  });
});

test('no key of one’s own is shown by its client', async () => {
  const fallbackKey = ONE;
  await using balancer = createKeyBalancer({ address: '127.0.0.1:1', away: { fallbackKey } });
  const key = await balancer.lease();
  expect(key.apiKey).toBe(fallbackKey);
  for (const each of [balancer, key, balancer.genai()])
    expect(everythingReachable(each, { except: ['apiKey'] })).not.toContain(fallbackKey);
  await key.succeeded();
});
