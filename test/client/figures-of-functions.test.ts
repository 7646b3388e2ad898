import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GoogleGenAI } from '@google/genai';
import { expect, test } from 'vitest';
import type { ReportEvent } from '../../src/client/events.ts';
import type { Behaviour } from '../fake-gemini/index.ts';
import { apiKeys } from '../support/orders.ts';
import { bench, MODEL, WAYS } from './balancers.ts';

const [ONE] = apiKeys(1) as [string];
const ASKED = { model: MODEL, contents: 'How are you today, my dear old friend?' };

type Ask = (ai: GoogleGenAI) => Promise<unknown>;

/** A client with one key, and what it reports. */
async function client(behaviour: Behaviour = {}) {
  const { wrapper } = await bench(await WAYS[0]!.place(), { [ONE]: { behaviour } }, { maxRetries: 0 });
  const reports: ReportEvent[] = [];
  wrapper.on('report', (event) => reports.push(event));
  const tokens = async () => (await wrapper.getStats()).pools[0]?.usage?.tokens;
  return { wrapper, reports, tokens };
}

const generate: Ask = (ai) => ai.models.generateContent(ASKED);
const stream: Ask = async (ai) => {
  let text = '';
  for await (const chunk of await ai.models.generateContentStream(ASKED)) text += chunk.text;
  return text;
};

/** What a function does, and how many requests it makes. */
const FUNCTIONS: [what: string, ask: Ask, requests: number][] = [
  ['that returns the answer', generate, 1],
  ['that returns its text', async (ai) => (await ai.models.generateContent(ASKED)).text, 1],
  ['that reads a stream', stream, 1],
  ['that makes two requests at once', (ai) => Promise.all([generate(ai), stream(ai)]), 2],
  ['that makes two, one after the other', (ai) => generate(ai).then(() => generate(ai)), 2],
  [
    'that throws of its own',
    async (ai) => {
      await generate(ai);
      throw new RangeError('its own');
    },
    1,
  ],
];

test.each(FUNCTIONS)('the tokens of a function %s are reported and counted', async (_, ask, requests) => {
  const { wrapper, reports, tokens } = await client();
  await generate(wrapper.genai());
  const once = await tokens();
  await wrapper.executeWithRetry(ask).catch((error: unknown) => expect(error).toBeInstanceOf(RangeError));
  const [one, all] = reports as [ReportEvent, ReportEvent];
  expect(one.inputTokens).toBeGreaterThan(0);
  expect(one.outputTokens).toBeGreaterThan(0);
  expect(all).toMatchObject({ inputTokens: requests * one.inputTokens, outputTokens: requests * one.outputTokens });
  const times = BigInt(1 + requests);
  expect(await tokens()).toMatchObject({
    inputTokens: times * once!.inputTokens,
    outputTokens: times * once!.outputTokens,
  });
});

test('a function that leaves a stream has the tokens that Gemini told until then', async () => {
  const { wrapper, reports } = await client();
  await wrapper.executeWithRetry(async (ai) => {
    for await (const _ of await ai.models.generateContentStream(ASKED)) return;
  });
  expect(reports[0]?.inputTokens).toBeGreaterThan(0);
});

test('a stream that a function returns still streams', async () => {
  const { wrapper, reports } = await client({ chunkDelayMs: 20 });
  const returned = await wrapper.executeWithRetry((ai) => ai.models.generateContentStream(ASKED));
  expect(reports).toMatchObject([{ outcome: 'success', httpStatus: 200, inputTokens: 0 }]);
  let chunks = 0;
  for await (const _ of returned) chunks++;
  expect(chunks).toBeGreaterThan(1);
});

test('the latency of a function is what Gemini took, without what the function did besides', async () => {
  const { wrapper, reports } = await client({ delayMs: 50 });
  let own = 0;
  const pause = async (): Promise<void> => {
    const since = performance.now();
    await sleep(100);
    own += performance.now() - since;
  };
  const startedAt = performance.now();
  await wrapper.executeWithRetry(async (ai) => {
    await pause();
    await generate(ai);
    await pause();
    for await (const _ of await ai.models.generateContentStream(ASKED)) await pause();
    await pause();
  });
  const { latencyMs } = reports[0]!;
  expect(latencyMs).toBeLessThanOrEqual(performance.now() - startedAt - own + 1);
  // Twice the delay, which a timer may cut by a millisecond.
  expect(latencyMs).toBeGreaterThanOrEqual(2 * 50 - 3);
});

test('the latency of requests at once is no longer than they took together', async () => {
  const { wrapper, reports } = await client({ delayMs: 50 });
  const startedAt = performance.now();
  await wrapper.executeWithRetry((ai) => Promise.all(Array.from({ length: 8 }, () => generate(ai))));
  expect(reports[0]?.latencyMs).toBeLessThanOrEqual(performance.now() - startedAt + 1);
});

test('a stream that was given up while it was waited for has the latency until then', async () => {
  const { wrapper, reports } = await client({ chunkDelayMs: Infinity });
  const controller = new AbortController();
  const reason = new Error('enough');
  const read = wrapper.withRetry(
    async (ai) => {
      for await (const _ of await ai.models.generateContentStream(ASKED))
        setTimeout(() => controller.abort(reason), 50);
    },
    { signal: controller.signal },
  );
  await expect(read()).rejects.toBe(reason);
  await expect.poll(() => reports).toMatchObject([{ outcome: 'failure', errorClass: 'CANCELLED', httpStatus: 200 }]);
  expect(reports[0]?.latencyMs).toBeGreaterThanOrEqual(50 - 2);
});

test.each<[string, Behaviour, Partial<ReportEvent>]>([
  ['of a good answer', {}, { outcome: 'success', httpStatus: 200 }],
  ['of an error', { error: 'internal_500' }, { outcome: 'failure', httpStatus: 500 }],
  ['of an answer that broke off', { cut: 'midStream' }, { outcome: 'failure', httpStatus: 200 }],
  ['0 where no answer came', { cut: 'beforeAnswer' }, { outcome: 'failure', httpStatus: 0 }],
])('a function is reported with the HTTP status %s', async (_, behaviour, report) => {
  const { wrapper, reports } = await client(behaviour);
  await wrapper.executeWithRetry(stream).catch(() => undefined);
  await expect.poll(() => reports).toMatchObject([report]);
});
