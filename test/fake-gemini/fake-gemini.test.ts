import { readFileSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { ApiError, GoogleGenAI } from '@google/genai';
import { expect, onTestFinished, test } from 'vitest';
import { tempDir } from '../support/temp-dir.ts';
import { CountBook } from './counts.ts';
import recorded from './errors.json' with { type: 'json' };
import {
  errorNames,
  expectedAnswer,
  expectedTokens,
  type FakeGemini,
  type FakeGeminiOptions,
  type FakeRequest,
  nextPacificMidnight,
  startFakeGemini,
} from './index.ts';

const KEY = 'AQ.test-key-000001';
const SAME_PROJECT = 'AQ.test-key-000002';
const OTHER_PROJECT = 'AQ.test-key-000003';
const MODEL = 'gemini-2.5-flash';
const NOON = Date.parse('2026-11-24T20:00:00Z'); // noon in Pacific time

async function started(options: FakeGeminiOptions = {}): Promise<FakeGemini> {
  const keys = { [KEY]: { project: 'p1' }, [SAME_PROJECT]: { project: 'p1' }, [OTHER_PROJECT]: { project: 'p2' } };
  const fake = await startFakeGemini({ keys, ...options });
  onTestFinished(() => fake.close());
  return fake;
}

function client(fake: FakeGemini, apiKey = KEY, httpOptions = {}): GoogleGenAI {
  return new GoogleGenAI({ apiKey, vertexai: false, httpOptions: { baseUrl: fake.url, ...httpOptions } });
}

function generate(fake: FakeGemini, apiKey = KEY, contents = 'hello', model = MODEL) {
  return client(fake, apiKey).models.generateContent({ model, contents });
}

/** The texts of a stream, and what it threw, if it did. */
async function streamed(fake: FakeGemini, apiKey = KEY) {
  const texts: (string | undefined)[] = [];
  let finishReason: string | undefined;
  try {
    for await (const chunk of await client(fake, apiKey).models.generateContentStream({
      model: MODEL,
      contents: 'hello',
    })) {
      texts.push(chunk.text);
      finishReason = chunk.candidates?.[0]?.finishReason ?? finishReason;
    }
  } catch (error) {
    return { texts, finishReason, error };
  }
  return { texts, finishReason, error: undefined };
}

async function thrown(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    (value) => expect.fail(`resolved with ${JSON.stringify(value)}`),
    (error: unknown) => error as Error,
  );
}

/** The status of an ApiError and the body within its message. */
async function refused(promise: Promise<unknown>) {
  const error = await thrown(promise);
  expect(error).toBeInstanceOf(ApiError);
  const body = JSON.parse(error.message);
  return { status: (error as ApiError).status, body, error: body.error };
}

const named = (name: string) => recorded.find((each) => each.name === name)!;

test('generateContent answers from the prompt alone, with its tokens', async () => {
  const fake = await started();
  const first = await generate(fake, KEY, 'Where is Kyoto?');
  const second = await generate(fake, OTHER_PROJECT, 'Where is Kyoto?', 'gemini-2.5-pro');
  const answer = expectedAnswer('Where is Kyoto?');
  expect(first.text).toBe(answer);
  expect(second.text).toBe(answer);
  expect(first.candidates?.[0]?.finishReason).toBe('STOP');
  expect(first.usageMetadata).toMatchObject({
    promptTokenCount: 4,
    candidatesTokenCount: expectedTokens(answer),
    totalTokenCount: 4 + expectedTokens(answer),
  });
  expect(second.modelVersion).toBe('gemini-2.5-pro');
});

test('a stream gives the same text in several chunks, the last with finishReason and usage', async () => {
  const fake = await started({ models: [{ behaviour: { chunks: 6 } }] });
  const chunks = [];
  for await (const chunk of await client(fake).models.generateContentStream({ model: MODEL, contents: 'hello there' }))
    chunks.push(chunk);
  expect(chunks).toHaveLength(6);
  expect(chunks.map((chunk) => chunk.text).join('')).toBe(expectedAnswer('hello there'));
  expect(chunks.map((chunk) => chunk.candidates?.[0]?.finishReason)).toEqual([...Array(5), 'STOP']);
  expect(chunks.map((chunk) => chunk.usageMetadata?.promptTokenCount)).toEqual([...Array(5), 3]);
});

test('a stream without alt=sse is one JSON array, under any API version and with the key in the URL', async () => {
  const fake = await started();
  const body = JSON.stringify({ contents: [{ parts: [{ text: 'hello' }] }] });
  const response = await fetch(`${fake.url}/v1beta/models/${MODEL}:streamGenerateContent?key=${KEY}`, {
    method: 'POST',
    body,
  });
  expect(response.headers.get('content-type')).toContain('application/json');
  const chunks = (await response.json()) as { candidates: [{ content: { parts: [{ text: string }] } }] }[];
  expect(chunks.map((chunk) => chunk.candidates[0].content.parts[0].text).join('')).toBe(expectedAnswer('hello'));
});

test('a chat answers the last message and pays for the whole history', async () => {
  const fake = await started();
  const chat = client(fake).chats.create({ model: MODEL, config: { systemInstruction: 'Be brief' } });
  const first = await chat.sendMessage({ message: 'one' });
  const second = await chat.sendMessage({ message: 'two' });
  expect(first.text).toBe(expectedAnswer('one'));
  expect(second.text).toBe(expectedAnswer('two'));
  const history = [expectedAnswer('one'), 'one', 'two', 'Be brief'];
  expect(second.usageMetadata?.promptTokenCount).toBe(history.reduce((sum, text) => sum + expectedTokens(text), 0));
});

test('countTokens counts what generateContent will, and uses no quota', async () => {
  const fake = await started({ models: [{ behaviour: { minuteLimit: 1 } }] });
  const contents = 'a prompt of some length';
  const counted = await client(fake).models.countTokens({ model: MODEL, contents });
  expect((await generate(fake, KEY, contents)).usageMetadata?.promptTokenCount).toBe(counted.totalTokens);
});

test('models are listed in pages and got by name', async () => {
  const fake = await started({ modelNames: ['m1', 'm2', 'm3'], models: [{ model: 'm4', behaviour: 'healthy' }] });
  const pager = await client(fake).models.list({ config: { pageSize: 3 } });
  expect(pager.page.map((model) => model.name)).toEqual(['models/m1', 'models/m2', 'models/m3']);
  const names = [];
  for await (const model of pager) names.push(model.name);
  expect(names).toEqual(['models/m1', 'models/m2', 'models/m3', 'models/m4']);
  expect((await client(fake).models.get({ model: 'm4' })).name).toBe('models/m4');
  const missing = await refused(generate(fake, KEY, 'hello', 'gemini-0.1-none'));
  expect(missing.status).toBe(404);
  expect(missing.error.message).toMatch(
    /^models\/gemini-0.1-none is not found for API version v1, or is not supported for generateContent/,
  );
});

test('a file goes up in parts, and is got, listed, named in a prompt, downloaded and deleted by any key of its project', async () => {
  const fake = await started();
  const dir = tempDir();
  // Two parts: the client sends 8 MiB at a time.
  const bytes = Buffer.alloc(9 * 1024 * 1024, 'some text ');
  writeFileSync(join(dir, 'up.txt'), bytes);
  const file = await client(fake).files.upload({ file: join(dir, 'up.txt'), config: { displayName: 'Up' } });
  expect(file).toMatchObject({
    mimeType: 'text/plain',
    sizeBytes: String(bytes.length),
    displayName: 'Up',
    state: 'ACTIVE',
  });
  const same = client(fake, SAME_PROJECT);
  expect(await same.files.get({ name: file.name! })).toMatchObject({ name: file.name, uri: file.uri });
  expect((await same.files.list()).page.map((each) => each.name)).toEqual([file.name]);
  const part = { fileData: { fileUri: file.uri!, mimeType: 'text/plain' } };
  expect((await same.models.generateContent({ model: MODEL, contents: ['read', part] })).text).toBe(
    expectedAnswer('read'),
  );
  await same.files.download({ file: file.name!, downloadPath: join(dir, 'down.txt') });
  expect(readFileSync(join(dir, 'down.txt')).equals(bytes)).toBe(true);
  await same.files.delete({ name: file.name! });
  expect((await same.files.list()).page).toEqual([]);
  expect(fake.counts.byMethod).toMatchObject({
    'files.upload': 3,
    'files.get': 1,
    'files.download': 1,
    'files.delete': 1,
  });
});

test("another project's file is refused with the real 403, by request and within a prompt", async () => {
  const fake = await started();
  const file = await client(fake).files.upload({
    file: new Blob(['text'], { type: 'text/plain' }),
    config: { name: 'my-file' },
  });
  expect(file.name).toBe('files/my-file');
  const other = client(fake, OTHER_PROJECT);
  const part = { fileData: { fileUri: file.uri!, mimeType: 'text/plain' } };
  for (const call of [
    () => other.files.get({ name: 'my-file' }),
    () => other.files.delete({ name: 'my-file' }),
    () => other.files.download({ file: 'files/my-file', downloadPath: join(tempDir(), 'down') }),
    () => other.models.generateContent({ model: MODEL, contents: [part] }),
  ]) {
    const { status, error } = await refused(call());
    expect(status).toBe(403);
    expect(error.message).toBe('You do not have permission to access the File my-file or it may not exist.');
  }
  expect((await other.files.list()).page).toEqual([]);
  expect((await client(fake).files.get({ name: 'my-file' })).name).toBe('files/my-file');
});

test('the URL of an upload is enough to go on with it, but not for a key of another project', async () => {
  const fake = await started();
  const begun = await fetch(`${fake.url}/upload/v1beta/files`, {
    method: 'POST',
    headers: {
      'x-goog-api-key': KEY,
      'x-goog-upload-command': 'start',
      'x-goog-upload-header-content-type': 'text/plain',
    },
  });
  const url = begun.headers.get('x-goog-upload-url') ?? '';
  const proceed = async (headers: Record<string, string>) => {
    const response = await fetch(url, { method: 'POST', body: 'text', headers });
    return [response.status, response.headers.get('x-goog-upload-status')];
  };
  expect(await proceed({ 'x-goog-upload-command': 'upload, finalize', 'x-goog-api-key': OTHER_PROJECT })).toEqual([
    403,
    null,
  ]);
  expect(await proceed({ 'x-goog-upload-command': 'upload' })).toEqual([200, 'active']);
  expect(await proceed({ 'x-goog-upload-command': 'upload' })).toEqual([400, null]);
  expect(await proceed({ 'x-goog-upload-command': 'upload, finalize', 'x-goog-upload-offset': '4' })).toEqual([
    200,
    'final',
  ]);
  const [file] = (await client(fake, SAME_PROJECT).files.list()).page;
  expect(file).toMatchObject({ sizeBytes: '8', mimeType: 'text/plain' });
  expect(fake.counts.byKey).toEqual({ [KEY]: 4, [OTHER_PROJECT]: 1, [SAME_PROJECT]: 1 });
});

test('an unknown key is API_KEY_INVALID unless unknown keys are taken, and no key is an unregistered caller', async () => {
  const fake = await started();
  expect((await refused(generate(fake, 'AQ.unknown'))).body).toEqual(named('key_invalid_json').body);
  const response = await fetch(`${fake.url}/v1/models`);
  expect(await response.json()).toEqual(named('unregistered_caller_no_key').body);
  const open = await started({ acceptUnknownKeys: true });
  expect((await generate(open, 'AQ.unknown')).text).toBe(expectedAnswer('hello'));
  expect(open.projectOf('AQ.unknown')).not.toBe(open.projectOf(KEY));
});

test.each([
  ['dead', 400, 'API_KEY_INVALID', 'API key not valid'],
  ['expired', 400, 'API_KEY_INVALID', 'API key expired'],
  ['suspended', 403, 'CONSUMER_SUSPENDED', `Permission denied: Consumer 'api_key:${KEY}' has been suspended.`],
  ['leaked', 403, undefined, 'Your API key was reported as leaked.'],
] as const)('a key that is %s is refused whatever it asks', async (behaviour, status, reason, message) => {
  const fake = await started({ keys: { [KEY]: { project: 'p7', behaviour }, [OTHER_PROJECT]: {} } });
  for (const call of [() => generate(fake), () => client(fake).models.list(), () => client(fake).files.list()]) {
    const { error, ...answer } = await refused(call());
    expect(answer.status).toBe(status);
    expect(error.message).toContain(message);
    expect(error.details?.[0].reason).toBe(reason);
    if (behaviour === 'suspended') expect(error.details[0].metadata.consumer).toBe('projects/p7');
  }
  await generate(fake, OTHER_PROJECT);
});

test.each([
  ['overloaded', 503, /The model is overloaded/],
  ['serverError', 500, /An internal error has occurred/],
  ['badGateway', 502, /<!DOCTYPE html>/],
  ['zeroQuota', 429, /limit: 0, model: gemini-2.5-flash/],
] as const)(
  '%s fails what generates, lets models be listed, and tokens be counted where only quota is lacking',
  async (behaviour, status, message) => {
    const fake = await started();
    fake.setKey(KEY, { behaviour });
    const { error, ...answer } = await refused(generate(fake));
    expect(answer.status).toBe(status);
    expect(error.message).toMatch(message);
    expect((await client(fake).models.list()).page.length).toBeGreaterThan(0);
    const count = client(fake).models.countTokens({ model: MODEL, contents: 'hello' });
    if (status === 429) await count;
    else expect((await refused(count)).status).toBe(status);
  },
);

test('a minute limit holds for all keys of a project, for one model, and says when it ends', async () => {
  let now = NOON;
  const fake = await started({
    now: () => now,
    models: [{ project: 'p1', model: MODEL, behaviour: { minuteLimit: 2 } }],
  });
  await generate(fake, KEY);
  now += 10_430;
  await generate(fake, SAME_PROJECT);
  const { status, error } = await refused(generate(fake, KEY));
  expect(status).toBe(429);
  expect(error.status).toBe('RESOURCE_EXHAUSTED');
  expect(error.message).toMatch(
    /^You exceeded your current quota[\s\S]*_free_tier_requests, limit: 2, model: gemini-2.5-flash\nPlease retry in 49.57s\.$/,
  );
  expect(error.details.slice(1)).toEqual([
    {
      '@type': 'type.googleapis.com/google.rpc.QuotaFailure',
      violations: [
        {
          quotaMetric: 'generativelanguage.googleapis.com/generate_content_free_tier_requests',
          quotaId: 'GenerateRequestsPerMinutePerProjectPerModel-FreeTier',
          quotaDimensions: { model: MODEL, location: 'global' },
          quotaValue: '2',
        },
      ],
    },
    { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '49s' },
  ]);
  await generate(fake, KEY, 'hello', 'gemini-2.5-pro');
  await generate(fake, OTHER_PROJECT);
  now += 49_569;
  await refused(generate(fake, KEY));
  now += 1;
  await generate(fake, KEY);
});

test('a day limit ends at Pacific midnight, and can state the misleading delay of the free tier', async () => {
  let now = NOON;
  const fake = await started({ now: () => now, models: [{ behaviour: { dayLimit: 1 } }] });
  await generate(fake);
  const { error } = await refused(generate(fake));
  expect(error.details[1].violations[0].quotaId).toBe('GenerateRequestsPerDayPerProjectPerModel-FreeTier');
  expect(error.details[2].retryDelay).toBe('43200s');
  fake.setModel({ behaviour: { dayLimit: 1, dayRetryDelayMs: 36_430 } });
  expect((await refused(generate(fake))).error.message).toMatch(/Please retry in 36.43s\.$/);
  now = nextPacificMidnight(NOON) - 1;
  await refused(generate(fake));
  now += 1;
  await generate(fake);
});

test('input tokens are limited by what the prompts have, and a limit of zero has no quotaValue', async () => {
  const fake = await started({
    now: () => NOON,
    keys: { [KEY]: { behaviour: { minuteTokenLimit: 5, dayTokenLimit: 7 } } },
  });
  const quotaIds = async (contents: string) =>
    (await refused(generate(fake, KEY, contents))).error.details[1].violations.map(
      (each: { quotaId: string }) => each.quotaId,
    );
  const minute = 'GenerateContentInputTokensPerModelPerMinute-FreeTier';
  const day = 'GenerateContentInputTokensPerModelPerDay-FreeTier';
  await generate(fake, KEY, 'x'.repeat(16));
  await generate(fake, KEY, 'x');
  expect(await quotaIds('x')).toEqual([minute]);
  expect(await quotaIds('x'.repeat(12))).toEqual([minute, day]);
  fake.resetQuotas();
  await generate(fake, KEY, 'x'.repeat(20));
  fake.setKey(KEY, { behaviour: { dayLimit: 0 } });
  const { error } = await refused(generate(fake));
  expect(error.message).toContain('limit: 0');
  expect(error.details[1].violations[0]).not.toHaveProperty('quotaValue');
});

test('refused and failing requests use no quota; those cut or answered do', async () => {
  let now = NOON;
  const fake = await started({ now: () => now, models: [{ behaviour: { minuteLimit: 2, dayLimit: 3 } }] });
  fake.setKey(KEY, { behaviour: 'overloaded', times: 3 });
  for (let at = 0; at < 3; at += 1) await refused(generate(fake));
  fake.setKey(KEY, { behaviour: { cut: 'beforeAnswer' }, times: 1 });
  await thrown(generate(fake));
  await generate(fake);
  expect((await refused(generate(fake))).status).toBe(429);
  now += 60_000;
  await generate(fake);
  expect((await refused(generate(fake))).status).toBe(429);
});

test('a minute opens with the first request that it admits, and a prompt above the limit never fits', async () => {
  let now = NOON;
  const limits = { minuteTokenLimit: 5, dayLimit: 9, dayRetryDelayMs: 1000 };
  const fake = await started({ now: () => now, models: [{ behaviour: limits }] });
  const delayOf = async (contents: string) =>
    (await refused(generate(fake, KEY, contents))).error.details[2].retryDelay;
  expect(await delayOf('x'.repeat(24))).toBe('60s');
  now += 50_000;
  expect(await delayOf('x'.repeat(24))).toBe('60s');
  await generate(fake, KEY, 'x'.repeat(20));
  now += 20_000;
  expect(await delayOf('x')).toBe('40s');
});

test('the Pacific midnight is right on both days when clocks change', () => {
  const next = (time: string) => new Date(nextPacificMidnight(Date.parse(time))).toISOString();
  expect(next('2026-03-08T09:30:00Z')).toBe('2026-03-09T07:00:00.000Z'); // 01:30 PST, before the hour that is missing
  expect(next('2026-03-08T20:00:00Z')).toBe('2026-03-09T07:00:00.000Z');
  expect(next('2026-11-01T07:00:00Z')).toBe('2026-11-02T08:00:00.000Z'); // midnight PDT, a day of 25 hours begins
  expect(next('2026-11-01T20:00:00Z')).toBe('2026-11-02T08:00:00.000Z');
  expect(next('2026-07-01T06:59:59.999Z')).toBe('2026-07-01T07:00:00.000Z');
});

test('a connection cut before the answer is a failed fetch, and one cut within a stream or body is terminated', async () => {
  const fake = await started();
  fake.setKey(KEY, { behaviour: { cut: 'beforeAnswer' } });
  const before = await thrown(generate(fake));
  expect(before).toBeInstanceOf(TypeError);
  expect(before).toMatchObject({ message: 'fetch failed', cause: { code: 'UND_ERR_SOCKET' } });
  fake.setKey(KEY, { behaviour: { cut: 'midStream' } });
  const stream = await streamed(fake);
  expect(stream.texts).toHaveLength(1);
  expect(stream.error).toMatchObject({ name: 'TypeError', message: 'terminated', cause: { code: 'UND_ERR_SOCKET' } });
  expect(await thrown(generate(fake))).toMatchObject({ name: 'TypeError', message: 'terminated' });
  expect(fake.counts.byStatus).toEqual({ 0: 1, 200: 2 });
  expect(fake.counts.byEnding).toEqual({ cut: 3 });
});

test('a stream that is cut quietly ends without error and without finishReason', async () => {
  const fake = await started({ keys: { [KEY]: { behaviour: { cut: 'quietly' } } } });
  const stream = await streamed(fake);
  expect(stream.error).toBeUndefined();
  expect(stream.texts).toHaveLength(3);
  expect(stream.finishReason).toBeUndefined();
  await generate(fake);
});

test('an error chunk within a stream throws, but passes unseen when it is an array or its code is no number', async () => {
  const fake = await started();
  fake.setKey(KEY, { behaviour: { errorMidStream: 'overloaded_503_old' } });
  const bare = await streamed(fake);
  expect(bare.texts).toHaveLength(1);
  expect(bare.error).toBeInstanceOf(ApiError);
  expect(bare.error).toMatchObject({
    status: 503,
    message: expect.stringMatching(/^got status: UNAVAILABLE\. \{"error":/),
  });
  fake.setKey(KEY, { behaviour: { errorMidStream: 'overloaded_503_old', wrapping: 'array' } });
  expect(await streamed(fake)).toMatchObject({ error: undefined, finishReason: undefined, texts: { length: 2 } });
  fake.setKey(KEY, {
    behaviour: {
      errorMidStream: { status: 429, body: { error: { code: 'rate_limit_exceeded', message: 'Slow down' } } },
    },
  });
  expect(await streamed(fake)).toMatchObject({ error: undefined, finishReason: undefined, texts: { length: 2 } });
  expect(fake.counts.byEnding).toEqual({ errorMidStream: 3 });
});

test('errors come in the wrappings that Google has, as the client shows them', async () => {
  const fake = await started();
  const { body } = named('key_leaked');
  const messageOf = async () => JSON.parse((await thrown(generate(fake))).message);
  fake.setKey(KEY, { behaviour: { error: 'key_leaked', wrapping: 'array' } });
  expect(await messageOf()).toEqual([body]);
  for (const wrapping of ['text', 'sse'] as const) {
    fake.setKey(KEY, { behaviour: { error: 'key_leaked', wrapping } });
    const { error } = await messageOf();
    expect(error).toMatchObject({ code: 403, status: 'Forbidden' });
    expect(JSON.parse(error.message)).toEqual(body);
  }
  const wrapped = await started({ wrapping: 'array' });
  expect(JSON.parse((await thrown(generate(wrapped, 'AQ.unknown'))).message)).toEqual([named('key_invalid_json').body]);
});

test('every recorded error reaches the client as it was recorded', async () => {
  const fake = await started({ keys: { [KEY]: { project: '100000000002' } } });
  const missing = recorded.filter((each) => !errorNames.includes(each.name)).map((each) => each.shape);
  expect(missing).toEqual(['live-close', 'live-close']);
  const bodies = recorded.filter(
    (each) => each.shape === undefined || each.shape === 'sdk-nested' || each.shape === 'interactions',
  );
  expect(bodies).toHaveLength(42);
  for (const { name, http_status, body } of bodies) {
    fake.setKey(KEY, { behaviour: { error: name } });
    if (http_status === 200) {
      expect((await generate(fake)).candidates?.[0]?.finishReason).toBe('BLOCKLIST');
      expect((await streamed(fake)).finishReason).toBe('BLOCKLIST');
      continue;
    }
    const error = (await thrown(generate(fake))) as ApiError;
    expect(error.status).toBe(http_status);
    const message = JSON.parse(error.message);
    expect(plain(typeof body === 'string' ? message.error.message : message)).toEqual(plain(body));
  }
  const stream = named('overloaded_midstream');
  fake.setKey(KEY, { behaviour: { error: stream.name } });
  expect((await streamed(fake)).error).toMatchObject({ status: 503, message: stream.body });
  for (const name of ['network_fetch_failed', 'sdk_bad_json_body']) {
    fake.setKey(KEY, { behaviour: { error: name } });
    expect(String(await thrown(generate(fake)))).toBe(named(name).body);
  }
});

/** Without what the fake fills in: model, project and key. */
function plain(body: unknown): unknown {
  const text = JSON.stringify(body).replaceAll(
    /gemini-(?:\d|embedding)[\w.-]*\w|1000000000\d\d|demo-fake|AIzaSyFAKE0+|AQ\.test-key-\d+/g,
    '~',
  );
  return JSON.parse(text);
}

test('a slow key is waited for, a silent one until the client gives up, and a stalled stream too', async () => {
  const fake = await started();
  fake.setKey(KEY, { behaviour: { delayMs: 50 }, times: 1 });
  const begun = performance.now();
  await generate(fake);
  expect(performance.now() - begun).toBeGreaterThanOrEqual(49);
  fake.setKey(KEY, { behaviour: { delayMs: Infinity } });
  const impatient = client(fake, KEY, { timeout: 1_000 });
  expect(await thrown(impatient.models.generateContent({ model: MODEL, contents: 'hello' }))).toMatchObject({
    name: 'AbortError',
  });
  await expect.poll(() => fake.counts.log.at(-1)).toMatchObject({ status: 0, ending: 'clientGone' });
  fake.setKey(KEY, { behaviour: { chunkDelayMs: Infinity } });
  const texts: unknown[] = [];
  const stream = await impatient.models.generateContentStream({ model: MODEL, contents: 'hello' });
  const reading = async () => {
    for await (const chunk of stream) texts.push(chunk.text);
  };
  expect(await thrown(reading())).toMatchObject({ name: 'AbortError' });
  expect(texts).toHaveLength(1);
  await expect.poll(() => fake.counts.log.at(-1)).toMatchObject({ status: 200, ending: 'clientGone' });
  expect(fake.counts.inFlight).toBe(0);
});

test('a behaviour for some requests passes, counting only those that it touches', async () => {
  const fake = await started();
  fake.setKey(KEY, { behaviour: 'serverError', times: 2 });
  await client(fake).models.list();
  expect((await refused(generate(fake))).status).toBe(500);
  expect((await streamed(fake)).error).toMatchObject({ status: 500 });
  await generate(fake);
  fake.setKey(KEY, { behaviour: { error: 'internal_500', on: ['models.list'] } });
  await generate(fake);
  expect((await refused(client(fake).models.list())).status).toBe(500);
});

test('the narrowest rule holds for a model, and the key comes before the model', async () => {
  const fake = await started({
    models: [
      { behaviour: 'overloaded' },
      { model: MODEL, behaviour: 'serverError' },
      { project: 'p1', behaviour: 'badGateway' },
      { project: 'p1', model: MODEL, behaviour: 'healthy' },
    ],
  });
  await generate(fake, KEY);
  expect((await refused(generate(fake, KEY, 'hello', 'gemini-2.5-pro'))).status).toBe(502);
  expect((await refused(generate(fake, OTHER_PROJECT))).status).toBe(500);
  expect((await refused(generate(fake, OTHER_PROJECT, 'hello', 'gemini-2.5-pro'))).status).toBe(503);
  fake.setModel({ model: MODEL, behaviour: 'overloaded', times: 1 });
  fake.setKey(OTHER_PROJECT, { behaviour: 'dead' });
  expect((await refused(generate(fake, OTHER_PROJECT))).status).toBe(400);
  fake.setKey(OTHER_PROJECT, { behaviour: 'healthy' });
  expect((await refused(generate(fake, OTHER_PROJECT))).status).toBe(503);
  fake.setModel({ model: MODEL, behaviour: { delayMs: Infinity } });
  fake.setKey(OTHER_PROJECT, { behaviour: { delayMs: 0 } });
  await generate(fake, OTHER_PROJECT);
});

test('a behaviour can be a function of the request; one that throws is answered with what it threw', async () => {
  const seen: FakeRequest[] = [];
  const fake = await started({ now: () => NOON });
  fake.setKey(KEY, {
    behaviour: (request) => {
      seen.push(request);
      return seen.length % 2 === 0 ? 'overloaded' : 'healthy';
    },
  });
  await generate(fake);
  expect((await refused(generate(fake))).status).toBe(503);
  expect(seen[0]).toMatchObject({ apiKey: KEY, project: 'p1', method: 'generateContent', model: MODEL, at: NOON });
  expect(seen[0]?.body).toMatchObject({ contents: [{ parts: [{ text: 'hello' }] }] });
  fake.setKey(KEY, { behaviour: () => ({ error: 'no_such' }) });
  expect((await refused(generate(fake))).error.message).toMatch(
    /behaviour function failed: .*error "no_such" is none of/,
  );
});

test('what cannot be is refused when it is set, naming field and value', async () => {
  const fake = await started();
  const setting = (behaviour: object | string, times?: number) => () =>
    fake.setKey(KEY, { behaviour: behaviour as 'dead', ...(times === undefined ? {} : { times }) });
  expect(setting('ded')).toThrow(/behaviour "ded" is none of healthy, dead/);
  expect(setting({ error: 'live_close_1008_key' })).toThrow(/error "live_close_1008_key" is none of/);
  expect(setting({ error: { status: 99, body: {} } })).toThrow(/error.status is 99/);
  expect(setting({ minuteLimit: -1 })).toThrow(/behaviour.minuteLimit is -1/);
  expect(setting({ delayMs: Number.NaN })).toThrow(/behaviour.delayMs is NaN/);
  expect(setting({ chunks: 1 })).toThrow(/behaviour.chunks is 1/);
  expect(setting('dead', 0)).toThrow(/times is 0/);
  await generate(fake);
});

test('counts tell keys, models, methods and statuses apart, the log is bounded, and reset begins anew', async () => {
  const fake = await started({ now: () => NOON, logSize: 3 });
  fake.setKey(SAME_PROJECT, { behaviour: 'dead' });
  await generate(fake);
  await generate(fake, KEY, 'hello', 'gemini-2.5-pro');
  await refused(generate(fake, SAME_PROJECT));
  await refused(generate(fake, 'constructor'));
  await client(fake).models.list();
  expect(fake.counts).toMatchObject({ total: 5, inFlight: 0 });
  expect(fake.counts.byKey).toEqual({ [KEY]: 3, [SAME_PROJECT]: 1, constructor: 1 });
  expect(fake.counts.byKeyAndModel).toEqual({
    [KEY]: { [MODEL]: 1, 'gemini-2.5-pro': 1 },
    [SAME_PROJECT]: { [MODEL]: 1 },
    constructor: { [MODEL]: 1 },
  });
  expect(fake.counts.byMethod).toEqual({ generateContent: 4, 'models.list': 1 });
  expect(fake.counts.byStatus).toEqual({ 200: 3, 400: 2 });
  expect(fake.counts.byKeyAndStatus).toEqual({
    [KEY]: { 200: 3 },
    [SAME_PROJECT]: { 400: 1 },
    constructor: { 400: 1 },
  });
  expect(fake.counts.log).toEqual([
    {
      apiKey: SAME_PROJECT,
      project: 'p1',
      model: MODEL,
      method: 'generateContent',
      status: 400,
      ending: 'whole',
      at: NOON,
    },
    {
      apiKey: 'constructor',
      project: '',
      model: MODEL,
      method: 'generateContent',
      status: 400,
      ending: 'whole',
      at: NOON,
    },
    { apiKey: KEY, project: 'p1', model: undefined, method: 'models.list', status: 200, ending: 'whole', at: NOON },
  ]);
  fake.reset();
  expect(fake.counts).toMatchObject({ total: 0, byKey: {}, byStatus: {}, log: [] });
});

test('what was under way at a reset is not counted when it ends', () => {
  const counts = new CountBook(10);
  const ended = counts.arrived({ apiKey: KEY, project: 'p1', model: MODEL, method: 'generateContent', at: NOON });
  expect(counts.inFlight).toBe(1);
  counts.reset();
  ended(200, 'whole');
  expect(counts).toMatchObject({ total: 0, inFlight: 0, byStatus: {}, log: [] });
});

test('malformed, empty and oversized bodies are 400 INVALID_ARGUMENT, and unknown paths 404', async () => {
  const fake = await started({ maxBodyBytes: 1000 });
  const post = async (body: string | Buffer, path = `/v1/models/${MODEL}:generateContent`) => {
    const response = await fetch(`${fake.url}${path}`, { method: 'POST', body, headers: { 'x-goog-api-key': KEY } });
    const { error } = (await response.json()) as { error: { status: string; message: string } };
    return `${response.status} ${error.status} ${error.message}`;
  };
  expect(await post('{"contents": [')).toMatch(/^400 INVALID_ARGUMENT Invalid JSON payload received/);
  expect(await post('[]')).toMatch(/^400 INVALID_ARGUMENT Invalid JSON payload received/);
  expect(await post('{}')).toMatch(/^400 INVALID_ARGUMENT .*contents is not specified/);
  expect(await post(Buffer.alloc(5_000_000, ' '))).toMatch(
    /^400 INVALID_ARGUMENT Request payload size exceeds the limit: 1000 bytes/,
  );
  expect(await post('{}', `/v1/models/${MODEL}:paint`)).toMatch(/^404 NOT_FOUND/);
  expect(await post('{}', '/')).toMatch(/^404 NOT_FOUND/);
});

test('closing cuts what is open, and a client that leaves while it sends is no error', async () => {
  const fake = await started();
  const request = httpRequest(`${fake.url}/v1/models/${MODEL}:generateContent?key=${KEY}`, { method: 'POST' });
  request.on('error', () => {});
  request.write('{"contents');
  await expect.poll(() => fake.counts.inFlight).toBe(1);
  request.destroy();
  await expect.poll(() => fake.counts.byEnding).toEqual({ clientGone: 1 });
  fake.setKey(KEY, { behaviour: { delayMs: Infinity } });
  const waiting = thrown(generate(fake));
  await expect.poll(() => fake.counts.inFlight).toBe(1);
  await fake[Symbol.asyncDispose]();
  expect(await waiting).toMatchObject({ message: 'fetch failed' });
  await fake.close();
});
