import { GoogleGenAI } from '@google/genai';
import { afterEach, expect, test, vi } from 'vitest';
import type { GenAIContext } from '../../../src/client/genai/context.ts';
import { createLeasedGenAI } from '../../../src/client/genai/leased-client.ts';
import { ResourceOrigins } from '../../../src/client/genai/resource-origins.ts';
import type { GenAIOptions } from '../../../src/client/leased-genai.ts';
import { expectedAnswer } from '../../fake-gemini/index.ts';
import { apiKeys } from '../../support/orders.ts';
import { bench, MODEL } from './bench.ts';

const [ONE, TWO] = apiKeys(2) as [string, string];
const HELLO = { model: MODEL, contents: 'hello' };
const context: GenAIContext = {
  connected: () => Promise.reject(new Error('closed')),
  settings: { pool: '', maxRetries: 3, retryDelay: 1, maxWait: undefined },
  origins: new ResourceOrigins(),
  notify: () => undefined,
};

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

test('it is a real GoogleGenAI, and has no key to show', () => {
  const ai = createLeasedGenAI(context);
  expect(ai).toBeInstanceOf(GoogleGenAI);
  expect(ai.vertexai).toBe(false);
});

test('variables that change the SDK change nothing here, print nothing, and stay set', async () => {
  const env = {
    GOOGLE_API_KEY: 'AQ.env-key-1',
    GEMINI_API_KEY: 'AQ.env-key-2',
    GOOGLE_GENAI_USE_VERTEXAI: 'true',
    GOOGLE_GENAI_USE_ENTERPRISE: 'false',
    GOOGLE_CLOUD_PROJECT: 'p',
    GOOGLE_CLOUD_LOCATION: 'l',
    GOOGLE_GENAI_API_VERSION: 'v9',
    GOOGLE_VERTEX_BASE_URL: 'http://127.0.0.1:1',
    GOOGLE_GEMINI_BASE_URL: 'http://127.0.0.1:1',
  };
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  const said = (['warn', 'debug', 'error', 'log'] as const).map((name) => vi.spyOn(console, name));
  const { ai, fake } = await bench({ [ONE]: {} });
  expect((await ai.models.generateContent(HELLO)).text).toBe(expectedAnswer('hello'));
  expect((await ai.interactions.create({ model: MODEL, input: 'hello' })).output_text).toBe(expectedAnswer('hello'));
  expect(fake.counts.byKey).toEqual({ [ONE]: 2 });
  for (const spy of said) expect(spy).not.toHaveBeenCalled();
  for (const [name, value] of Object.entries(env)) expect(process.env[name]).toBe(value);
});

test('the base URL of the environment counts where none is given', async () => {
  const { fake } = await bench({ [ONE]: {} });
  vi.stubEnv('GOOGLE_GEMINI_BASE_URL', fake.url);
  const ai = createLeasedGenAI(context);
  expect((ai as unknown as { httpOptions: { baseUrl: string } }).httpOptions.baseUrl).toBe(fake.url);
});

test.each(['localhost', 'ftp://example.com', 'not a url'])('one that is none is refused: %s', (url) => {
  vi.stubEnv('GOOGLE_GEMINI_BASE_URL', url);
  expect(() => createLeasedGenAI(context)).toThrow('the base URL in the environment is');
});

test.each([
  [{ httpOptions: { retryOptions: { attempts: 2 } } }, 'genai.httpOptions.retryOptions is given'],
  [{ apiKey: ONE }, 'genai.apiKey is given'],
  [{ vertexai: true }, 'genai.vertexai is true'],
  [{ project: 'p' }, 'genai.project is given'],
  [{ httpOptions: { headers: { 'X-Goog-Api-Key': ONE } } }, 'genai.httpOptions.headers["X-Goog-Api-Key"] is given'],
])('options that the lease decides are refused, and why is said: %j', (options, message) => {
  expect(() => createLeasedGenAI(context, options as GenAIOptions)).toThrow(message);
});

test.each([
  [{ htpOptions: {} }, 'option "htpOptions" is unknown; allowed: apiVersion, httpOptions; did you mean "httpOptions"?'],
  [{ httpOptions: { timout: 1 } }, /^option "timout" is unknown; allowed: baseUrl, .*; did you mean "timeout"\?$/],
  [{ httpOptions: 'x' }, 'genai.httpOptions is a string; allowed: an object'],
  [[], 'genai is an array; allowed: options of the SDK'],
])('options that the SDK does not have are refused, and which was meant is said: %j', (options, message) => {
  expect(() => createLeasedGenAI(context, options as GenAIOptions)).toThrow(message);
});

test('options that are left undefined are not given', () => {
  const options = { apiKey: undefined, vertexai: false, apiVersion: undefined, httpOptions: undefined };
  expect(() => createLeasedGenAI(context, options as unknown as GenAIOptions)).not.toThrow();
});

const ownFetch = vi.fn<typeof fetch>();

test.each([
  [{ fetch: ownFetch }, 'config.httpOptions.fetch is given; allowed: left out'],
  [{ retryOptions: { attempts: 2 } }, 'config.httpOptions.retryOptions is given; allowed: left out'],
  [
    { baseUrl: 'https://europe-west1-aiplatform.googleapis.com' },
    'config.httpOptions.baseUrl is of europe-west1-aiplat',
  ],
  [{ headers: { 'X-Goog-Api-Key': TWO } }, 'config.httpOptions.headers["X-Goog-Api-Key"] is given; allowed: left out'],
])(
  'a call cannot have for itself what the lease decides, and costs no key anything: %j',
  async (httpOptions, message) => {
    const { ai, fake, endings } = await bench({ [ONE]: {} });
    const config = { httpOptions };
    const calls: Promise<unknown>[] = [
      ai.models.generateContent({ ...HELLO, config }),
      ai.models.generateContentStream({ ...HELLO, config }),
      ai.chats.create({ model: MODEL, config }).sendMessage({ message: 'hello' }),
      ai.models.list({ config }),
      ai.files.upload({ file: new Blob(['words'], { type: 'text/plain' }), config }),
      ai.files.get({ name: 'files/a', config }),
      ai.batches.list({ config }),
    ];
    for (const call of calls) {
      const error = await call.catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(message) });
      expect((error as Error).message).not.toContain(TWO);
    }
    expect(ownFetch).not.toHaveBeenCalled();
    expect(fake.counts.byKey).toEqual({});
    expect(await endings()).toEqual({});
  },
);

test.each([
  [{ maxRetries: 2 }, 'options.maxRetries is given; allowed: left out'],
  [{ retries: { strategy: 'backoff' as const } }, 'options.retries is given; allowed: left out'],
])('nor can one of interactions and the like: %j', async (options, message) => {
  const { ai, fake } = await bench({ [ONE]: {} });
  for (const call of [
    ai.interactions.create({ model: MODEL, input: 'hello' }, options),
    ai.interactions.create({ model: MODEL, input: 'hello', stream: true }, options),
    ai.interactions.get('one', {}, options),
    ai.agents.list({}, options),
  ]) {
    await expect(call).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(message) });
  }
  expect(fake.counts.total).toBe(0);
});

test('an interaction may say that it is not to be tried again by the SDK', async () => {
  const { ai } = await bench({ [ONE]: {} });
  for (const options of [{ maxRetries: 0 }, { retries: { strategy: 'none' as const } }]) {
    const { output_text } = await ai.interactions.create({ model: MODEL, input: 'hello' }, options);
    expect(output_text).toBe(expectedAnswer('hello'));
  }
});

test('a call has the rest of its options for itself', async () => {
  const { ai, fake } = await bench({ [ONE]: {} }, { genai: { httpOptions: { baseUrl: 'http://127.0.0.1:1' } } });
  const httpOptions = { baseUrl: fake.url, timeout: 60_000, headers: { 'x-own': '1' } };
  const answer = await ai.models.generateContent({ ...HELLO, config: { httpOptions } });
  expect(answer.text).toBe(expectedAnswer('hello'));
});

test('the options given are not changed', () => {
  const options = Object.freeze({ httpOptions: Object.freeze({ headers: Object.freeze({ 'x-own': '1' }) }) });
  expect(() => createLeasedGenAI(context, options)).not.toThrow();
});

test('a closed client rejects, whatever is asked', async () => {
  const ai = createLeasedGenAI(context);
  const callbacks = { onmessage: () => undefined };
  await expect(ai.models.generateContent(HELLO)).rejects.toThrow('closed');
  await expect(ai.models.generateContentStream(HELLO)).rejects.toThrow('closed');
  await expect(ai.files.list()).rejects.toThrow('closed');
  await expect(ai.interactions.create({ model: MODEL, input: 'x' })).rejects.toThrow();
  await expect(ai.live.connect({ model: MODEL, callbacks })).rejects.toThrow('closed');
});
