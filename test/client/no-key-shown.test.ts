import { inspect } from 'node:util';
import type { GoogleGenAI } from '@google/genai';
import { type Span, trace } from '@opentelemetry/api';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createKeyBalancer, type KeyBalancer } from '../../src/client/index.ts';
import { apiKeys } from '../support/orders.ts';
import { bench, endings, MODEL, WAYS } from './balancers.ts';
import { warned } from './scripted-balancer.ts';

const [ONE, TWO] = apiKeys(2) as [string, string];

/** All that a log could show of it. */
function shown(value: unknown): string {
  let json = '';
  try {
    json = JSON.stringify(value) ?? '';
  } catch {
    // What refers to itself has no JSON.
  }
  return inspect(value, { depth: null, showHidden: true, maxArrayLength: null, maxStringLength: null }) + json;
}

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
    for (const each of [errors, events, told, warnings, ai, wrapper]) expect(shown(each)).not.toContain(ONE);
  });

  test('in the clients that functions are given, at any depth, and they work', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    await wrapper.executeWithRetry(async (ai) => {
      expect(shown(ai)).not.toContain(ONE);
      for (const part of [ai.models, ai.files, ai.chats, ai.live, ai.caches, ai.interactions]) {
        expect(shown(part)).not.toContain(ONE);
      }
      await ai.files.upload({ file: new Blob(['words'], { type: 'text/plain' }) });
      await ai.interactions.create({ model: MODEL, input: 'hello' });
      const session = await ai.live.connect({ model: MODEL, callbacks: { onmessage: () => {} } });
      session.close();
      await ask(ai);
      expect((ai as unknown as { apiKey: string }).apiKey).toBe(ONE);
    });
    expect(await endings(wrapper)).toEqual({ acquired: 1, succeeded: 1 });
  });

  test('in leased keys, nor in what they judge', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {}, [TWO]: {} });
    const events = record(wrapper);
    const key = await wrapper.lease();
    expect(key.apiKey).toMatch(/./);
    expect(inspect(key)).toBe(`LeasedKey ${key.keyId}`);
    const batches = await wrapper.leaseBatches([2]);
    const judgement = await key.failed({ status: 403, body: JSON.stringify(REPEATS_KEY.body) });
    for (const each of [key, { ...key }, batches, judgement, events]) {
      expect(shown(each)).not.toContain(ONE);
      expect(shown(each)).not.toContain(TWO);
    }
    for (const held of batches.flat()) await held[Symbol.asyncDispose]();
  });

  test('in refusals of keys that cannot be added', async () => {
    const { wrapper } = await bench(await place(), {});
    for (const call of [() => wrapper.addKey(ONE, Number.NaN), () => wrapper.addKey(`${ONE} ${TWO}`)]) {
      const error = await call().catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
      expect(shown(error)).not.toContain(ONE);
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
      (wrapper) => wrapper.genai().models.generateContent({ model: MODEL, contents, config: aborted(100) }),
      'failed',
    ],
    ['when it times out', SLOW, (wrapper) => ask(wrapper.genai({ httpOptions: { timeout: 100 } })), 'failed'],
    ['when the call’s deadline passes', SLOW, (wrapper) => wrapper.withRetry(ask, { deadline: 100 })(), 'failed'],
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
  for (const each of [balancer, key, balancer.genai()]) expect(shown(each)).not.toContain(fallbackKey);
  await key.succeeded();
});
