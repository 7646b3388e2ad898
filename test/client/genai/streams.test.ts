import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { ApiError, type GoogleGenAI } from '@google/genai';
import { expect, onTestFinished, test } from 'vitest';
import type { LeaseSettings } from '../../../src/client/genai/context.ts';
import { expectedAnswer } from '../../fake-gemini/index.ts';
import { apiKeys } from '../../support/orders.ts';
import { bench, MODEL, read } from './bench.ts';

const [ONE, TWO] = apiKeys(2) as [string, string];
const HELLO = { model: MODEL, contents: 'hello' };

type Bench = Awaited<ReturnType<typeof bench>>;

async function stream({ ai }: Pick<Bench, 'ai'>): Promise<{ text: string; error?: unknown }> {
  const { chunks, error } = await read(ai.models.generateContentStream(HELLO));
  const text = chunks.map((chunk) => chunk.text ?? '').join('');
  return error === undefined ? { text } : { text, error };
}

/** A server that answers each request as the function for it does, and a client with two keys. */
async function scripted(
  answers: ((write: (text: string) => void, end: () => void, cut: () => void, response: ServerResponse) => void)[],
  settings: Partial<LeaseSettings> = {},
) {
  let at = 0;
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    const answer = answers[Math.min(at++, answers.length - 1)]!;
    answer(
      (text) => response.write(text),
      () => response.end(),
      () => response.destroy(),
      response,
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const made = await bench({ [ONE]: {}, [TWO]: {} }, { settings, genai: { httpOptions: { baseUrl } } });
  return { ...made, requests: () => at };
}

function event(data: unknown): string {
  return `data: ${JSON.stringify(data)}\r\n\r\n`;
}

const SAID = event({ candidates: [{ content: { parts: [{ text: 'Hello' }] } }] });
const LAST = event({
  candidates: [{ content: { parts: [{ text: ', you' }] }, finishReason: 'STOP' }],
  usageMetadata: { promptTokenCount: 5, candidatesTokenCount: 7, thoughtsTokenCount: 2 },
});
const OVERLOADED = { error: { code: 503, message: 'The model is overloaded.', status: 'UNAVAILABLE' } };
const SWALLOWED = { error: { code: 'rate_limit_exceeded', message: 'Too many.' } };

test('a stream that is whole is reported with its tokens', async () => {
  const made = await scripted([(write, end) => [write(SAID), write(LAST), end()]]);
  expect(await stream(made)).toEqual({ text: 'Hello, you' });
  expect(await made.endings()).toEqual({ acquired: 1, succeeded: 1 });
  expect(made.events.at(-1)).toMatchObject({ inputTokens: 5, outputTokens: 9 });
});

test.each([
  ['an error', event(OVERLOADED)],
  ['an error in an array', event([OVERLOADED])],
  ['an error with a word as code', event(SWALLOWED)],
  ['an error after a comment', `: hold on\n\n${event(OVERLOADED)}`],
  ['an error as a whole body without lines', `data: ${JSON.stringify(OVERLOADED, null, 1).replaceAll('\n', '')}`],
  ['an error right after the first chunk, in one piece with it', `${SAID}${event(OVERLOADED)}`],
  ['no chunk', ''],
  ['a comment only', ': hold on\n\n'],
  ['half a chunk', SAID.slice(0, 20)],
])('a stream that begins with %s is asked for again, and the caller sees nothing of it', async (_, body) => {
  const made = await scripted([(write, end) => [write(body), end()], (write, end) => [write(SAID + LAST), end()]]);
  expect(await stream(made)).toEqual({ text: 'Hello, you' });
  expect(made.requests()).toBe(2);
  expect(await made.endings()).toEqual({ acquired: 2, succeeded: 1, failed: 1 });
});

test('a connection that breaks before the first chunk is asked for again', async () => {
  const made = await scripted([(_, __, cut) => cut(), (write, end) => [write(SAID + LAST), end()]]);
  expect(await stream(made)).toEqual({ text: 'Hello, you' });
  expect(await made.failures()).toEqual({ NETWORK: 1 });
});

test.each([
  ['an error', event(OVERLOADED), 503, 'OVERLOADED'],
  ['an error in an array', event([OVERLOADED]), 503, 'OVERLOADED'],
  ['an error with a word as code', event(SWALLOWED), 429, 'RATE_LIMITED_MINUTE'],
])('%s in the middle of a stream is thrown, reported, and not tried again', async (_, body, status, errorClass) => {
  const sent = Promise.withResolvers<void>();
  const made = await scripted([
    async (write, end) => {
      write(SAID);
      await sent.promise;
      write(body);
      end();
    },
  ]);
  const texts: unknown[] = [];
  let error: unknown;
  try {
    for await (const chunk of await made.ai.models.generateContentStream(HELLO)) {
      texts.push(chunk.text);
      sent.resolve();
    }
  } catch (thrown) {
    error = thrown;
  }
  expect(texts).toEqual(['Hello']);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({
    status,
    message: expect.stringContaining('got status: '),
    attempts: [{ errorClass }],
  });
  expect(made.requests()).toBe(1);
  expect(await made.failures()).toEqual({ [errorClass]: 1 });
});

test('a stream that stops without saying why is broken, and its reader is told', async () => {
  const made = await bench({ [ONE]: { behaviour: { cut: 'quietly', chunkDelayMs: 1 } } });
  const { text, error } = await stream(made);
  expect(expectedAnswer('hello').startsWith(text)).toBe(true);
  expect(error).toMatchObject({ name: 'TypeError', message: 'terminated' });
  expect(await made.failures()).toEqual({ NETWORK: 1 });
  expect(made.fake.counts.total).toBe(1);
});

test('a stream whose connection breaks is not begun again once the caller has some of it', async () => {
  const made = await bench({ [ONE]: { behaviour: { cut: 'midStream' } }, [TWO]: {} });
  const { text, error } = await stream(made);
  expect(text).not.toBe('');
  expect(error).toMatchObject({ message: 'terminated', attempts: [{ errorClass: 'NETWORK' }] });
  expect(await made.endings()).toEqual({ acquired: 1, failed: 1 });
});

test('when all tries of a stream fail as they begin, its reader gets the error of the last', async () => {
  // Time for the model to be tried again.
  const settings = { maxWait: 60_000, maxRetries: 2 };
  const made = await scripted([(write, end) => [write(event([OVERLOADED])), end()]], settings);
  const { error } = await stream(made);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({ status: 503 });
  expect((error as { attempts: unknown[] }).attempts).toHaveLength(3);
});

test('a reader who stops ends request and lease at once', async () => {
  const made = await bench({ [ONE]: { behaviour: { chunkDelayMs: Infinity } } });
  for await (const { text } of await made.ai.models.generateContentStream(HELLO)) {
    expect(text).not.toBe('');
    break;
  }
  await expect.poll(() => made.fake.counts.inFlight).toBe(0);
  await expect.poll(() => made.endings()).toEqual({ acquired: 1, succeeded: 1 });
});

test.each([
  ['stream', (ai: GoogleGenAI) => ai.models.generateContentStream(HELLO)],
  ['stream of a chat', (ai: GoogleGenAI) => ai.chats.create({ model: MODEL }).sendMessageStream({ message: 'hello' })],
])('a %s that is given back before its first chunk was read ends request and lease', async (_, open) => {
  const made = await bench({ [ONE]: { behaviour: { chunkDelayMs: Infinity } } });
  const stream = await open(made.ai);
  expect(await made.endings()).toEqual({ acquired: 1, active: 1 });
  expect(await stream.return(undefined)).toEqual({ done: true, value: undefined });
  await expect.poll(() => made.fake.counts.inFlight).toBe(0);
  await expect.poll(() => made.endings()).toEqual({ acquired: 1, succeeded: 1 });
  expect(await stream.next()).toEqual({ done: true, value: undefined });
});

test('a reader of an interaction who stops ends request and lease at once', async () => {
  const made = await bench({ [ONE]: { behaviour: { chunkDelayMs: Infinity } } });
  for await (const _ of await made.ai.interactions.create({ model: MODEL, input: 'hello', stream: true })) break;
  await expect.poll(() => made.fake.counts.inFlight).toBe(0);
  await expect.poll(() => made.endings()).toEqual({ acquired: 1, succeeded: 1 });
});

test('an abort in the middle of a stream ends request and lease at once', async () => {
  const made = await bench({ [ONE]: { behaviour: { chunkDelayMs: Infinity } } });
  const leave = new AbortController();
  const config = { abortSignal: leave.signal };
  const { chunks, error } = await read(
    (async function* () {
      for await (const chunk of await made.ai.models.generateContentStream({ ...HELLO, config })) {
        yield chunk;
        leave.abort();
      }
    })() as never,
  );
  expect(chunks).toHaveLength(1);
  expect(error).toMatchObject({ name: 'AbortError', attempts: [{ errorClass: 'CANCELLED' }] });
  await expect.poll(() => made.fake.counts.inFlight).toBe(0);
  await expect.poll(() => made.failures()).toEqual({ CANCELLED: 1 });
});

test('the time limit holds while a stream flows', async () => {
  const made = await bench({ [ONE]: { behaviour: { chunkDelayMs: Infinity } } });
  const config = { httpOptions: { timeout: 2_000 } };
  const { chunks, error } = await read(made.ai.models.generateContentStream({ ...HELLO, config }));
  expect(chunks).toHaveLength(1);
  expect(error).toMatchObject({ name: 'AbortError', attempts: [{ errorClass: 'TIMEOUT' }] });
  await expect.poll(() => made.failures()).toEqual({ TIMEOUT: 1 });
});

test('the lease is renewed while a stream flows', async () => {
  const made = await scripted([
    async (write, end) => {
      write(SAID);
      await done.promise;
      write(LAST);
      end();
    },
  ]);
  const done = Promise.withResolvers<void>();
  await made.balancer.keyAdmin.updatePool({
    pool: { pool: 'default', defaultLeaseTtl: durationFromMs(4_000) },
    updateMask: { paths: ['default_lease_ttl'] },
  });
  const chunks = (await made.ai.models.generateContentStream(HELLO))[Symbol.asyncIterator]();
  await chunks.next();
  const expiry = async () => (await made.balancer.keyAdmin.listLeases({})).leases[0]!.expireTime!;
  const first = await expiry();
  await expect.poll(async () => (await expiry()).seconds).toBeGreaterThan(first.seconds);
  done.resolve();
  while (!(await chunks.next()).done);
  expect(await made.endings()).toEqual({ acquired: 1, succeeded: 1 });
});

test('a stream that is dropped without a word ends request and lease when it is collected', async () => {
  const made = await bench({ [ONE]: { behaviour: { chunkDelayMs: Infinity } } });
  const collect = garbageCollector();
  await (async () => {
    await (await made.ai.models.generateContentStream(HELLO)).next();
  })();
  expect(made.fake.counts.inFlight).toBe(1);
  await expect
    .poll(() => {
      collect();
      return made.fake.counts.inFlight;
    })
    .toBe(0);
  await expect.poll(() => made.endings()).toEqual({ acquired: 1, succeeded: 1 });
});

function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

test('an interaction whose stream begins with an error is asked for again, and the first is let go', async () => {
  let left = false;
  const created = { event_type: 'interaction.created', interaction: { id: 'i1', status: 'in_progress' } };
  const completed = { event_type: 'interaction.completed', interaction: { id: 'i1', status: 'completed' } };
  const failed = { event_type: 'error', error: { code: 'rate_limit_exceeded', message: 'Too many.' } };
  const made = await scripted([
    // It does not end by itself.
    (write, _, __, response) => {
      response.once('close', () => {
        left = true;
      });
      write(event(failed));
    },
    (write, end) => [write(event(created) + event(completed)), end()],
  ]);
  const { chunks } = await read(made.ai.interactions.create({ model: MODEL, input: 'hello', stream: true }));
  expect(chunks.map(({ event_type }) => event_type)).toEqual(['interaction.created', 'interaction.completed']);
  expect(await made.endings()).toEqual({ acquired: 2, succeeded: 1, failed: 1 });
  await expect.poll(() => left).toBe(true);
});
