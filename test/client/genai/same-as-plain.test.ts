import { GoogleGenAI } from '@google/genai';
import { expect, onTestFinished, test, vi } from 'vitest';
import { startFakeGemini } from '../../fake-gemini/index.ts';
import { apiKeys } from '../../support/orders.ts';
import { tempDir } from '../../support/temp-dir.ts';
import { bench } from './bench.ts';
import { USAGES } from './sdk-usages.ts';

const KEYS = apiKeys(6);
/** Two keys for each of three projects. */
const PROJECTS = Object.fromEntries(KEYS.map((key, at) => [key, { project: `30000000000${at % 3}` }]));
const ONE_PROJECT = Object.fromEntries(KEYS.map((key) => [key, { project: '300000000000' }]));
/** A clock that stands: what is compared has times in it. */
const now = (): number => Date.parse('2026-11-25T12:00:00Z');

/** Less what differs between two servers: their address, and with it the names in what they answer. */
function comparable(value: unknown, url: string): unknown {
  return JSON.parse(
    JSON.stringify(value ?? null, (name, inner: unknown) =>
      name === 'headers' || name === 'date' ? undefined : inner,
    ).replaceAll(url, 'http://fake'),
  );
}

test('there are more than 40 usages', () => {
  expect(USAGES.length).toBeGreaterThan(40);
  expect(new Set(USAGES.map(({ name }) => name)).size).toBe(USAGES.length);
});

test.each(USAGES)('$name: a leased client gives what a plain one gives', async ({ run, oneProject }) => {
  // Music and others warn that they are experimental.
  vi.spyOn(console, 'warn').mockReturnValue(undefined);
  onTestFinished(() => {
    vi.restoreAllMocks();
  });
  const plainFake = await startFakeGemini({ keys: { [KEYS[0]!]: {} }, now });
  onTestFinished(() => plainFake.close());
  const plain = new GoogleGenAI({ apiKey: KEYS[0]!, vertexai: false, httpOptions: { baseUrl: plainFake.url } });
  const expected = comparable(await run(plain, tempDir()), plainFake.url);

  const { fake, ai, endings } = await bench(oneProject ? ONE_PROJECT : PROJECTS, { fake: { now } });
  expect(comparable(await run(ai, tempDir()), fake.url)).toEqual(expected);
  expect(fake.counts.byMethod).toEqual(plainFake.counts.byMethod);
  // Every lease is reported, and none was used for nothing.
  await expect.poll(async () => (await endings()).active).toBeUndefined();
  const { acquired = 0, succeeded = 0, failed = 0, ...others } = await endings();
  expect(others).toEqual({});
  expect(succeeded + failed).toBe(acquired);
  expect(acquired).toBe(fake.counts.total);
});
