import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GoogleGenAI } from '@google/genai';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { bench, endings, MODEL, WAYS } from '../client/balancers.ts';
import { expectedAnswer } from '../fake-gemini/index.ts';
import { cliHere } from '../support/cli-here.ts';
import { testKeys } from '../support/key-dirs.ts';
import { tempDir } from '../support/temp-dir.ts';

const KEYS = testKeys(60);
const [ONE, TWO, THREE] = KEYS as [string, string, string];
/** A pause that a test would not outlive. */
const FOR_EVER = 3_600_000;

const ask = async (ai: GoogleGenAI, prompt = 'hello'): Promise<string | undefined> =>
  (await ai.models.generateContent({ model: MODEL, contents: prompt })).text;

describe.each(WAYS)('$way', ({ place }) => {
  test('row 1: createGeminiWrapper makes up to 1 + 3 tries where nothing else is said', async () => {
    const failing = Object.fromEntries(KEYS.slice(0, 6).map((key) => [key, { behaviour: 'serverError' as const }]));
    const { fake, wrapper } = await bench(await place(), failing, { retryDelay: 1 });
    await expect(wrapper.executeWithRetry(ask)).rejects.toMatchObject({ status: 500 });
    expect(fake.counts.total).toBe(4);
  });

  test('row 2: addKey adds a key with weight and source, and says false where it is there', async () => {
    const at = await place();
    const { wrapper } = await bench(at, {});
    expect(await wrapper.addKey(ONE, 2, 'vault')).toBe(true);
    expect(await wrapper.addKey(ONE, 3)).toBe(false);
    expect(await wrapper.addKey(TWO)).toBe(true);
    const { keys, total } = await wrapper.getStats();
    expect(keys.map(({ weight }) => weight).sort()).toEqual([1, 2]);
    expect(total!.keysBySource).toEqual({ vault: 1n, manual: 1n });
  });

  test('row 3: executeWithRetry gives the function a client and its arguments, and the last error when all tries fail', async () => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: { behaviour: 'serverError' }, [TWO]: {} });
    expect(await wrapper.executeWithRetry(ask, 'a prompt of mine')).toBe(expectedAnswer('a prompt of mine'));
    expect(await endings(wrapper)).toMatchObject({ succeeded: 1 });
    fake.setKey(TWO, { behaviour: 'leaked' });
    fake.setKey(ONE, { behaviour: 'dead' });
    await expect(wrapper.executeWithRetry(ask)).rejects.toMatchObject({ name: 'ApiError' });
  });

  test('row 4: withRetry makes a function that leases, with the client as the first argument, and its own number of tries', async () => {
    const { fake, wrapper } = await bench(
      await place(),
      {
        [ONE]: { behaviour: 'serverError' },
        [TWO]: { behaviour: 'serverError' },
        [THREE]: { behaviour: 'serverError' },
      },
      { retryDelay: 1 },
    );
    const summarize = wrapper.withRetry(ask, { maxRetries: 1 });
    await expect(summarize('a text')).rejects.toMatchObject({ status: 500 });
    expect(fake.counts.total).toBe(2);
    for (const key of [ONE, TWO, THREE]) fake.setKey(key, { behaviour: 'healthy' });
    expect(await summarize('a text')).toBe(expectedAnswer('a text'));
  });

  test('row 5: importKeysFromFile takes KEY and KEY:WEIGHT, skips comments and blank lines, and counts', async () => {
    const { wrapper } = await bench(await place(), {});
    const file = join(tempDir(), 'keys.txt');
    writeFileSync(file, `# ours\n${ONE}\n\n${TWO}:2.5\n${ONE}\nno key at all\n`);
    const summary = await wrapper.importKeysFromFile(file);
    expect(summary).toMatchObject({ new: 2, updated: 0, skipped: 1, rejected: 1 });
    expect(summary.rejections).toEqual([expect.objectContaining({ line: 6 })]);
    const { keys } = await wrapper.getStats();
    expect(keys.map(({ weight }) => weight).sort()).toEqual([1, 2.5]);
  });

  test('row 8: batchGetKeys gives as many keys as each size says', async () => {
    const { wrapper } = await bench(await place(), {});
    for (const key of KEYS) await wrapper.addKey(key);
    const batches = await wrapper.batchGetKeys([10, 20, 30]);
    expect(batches.map(({ length }) => length)).toEqual([10, 20, 30]);
    for (const key of batches.flat()) await key.succeeded();
    expect(await endings(wrapper)).toEqual({ acquired: 60, succeeded: 60 });
  });

  test('row 14: a failure that is the key’s own is no reason to wait: the next key is tried at once', async () => {
    const { fake, wrapper } = await bench(
      await place(),
      { [ONE]: { behaviour: 'dead' }, [TWO]: { behaviour: 'zeroQuota' }, [THREE]: {} },
      { retryDelay: FOR_EVER },
    );
    expect(await wrapper.executeWithRetry(ask)).toEqual(expect.any(String));
    expect(fake.counts.byKey).toMatchObject({ [THREE]: 1 });
  });
});

test('row 9: optimizeForLargeKeysets and cacheSize set by hand how many keys stay decrypted', async () => {
  vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
  const capacity = async (size?: number, keys?: number): Promise<number> => {
    const { wrapper } = await bench({ dataDir: tempDir() }, {}, size === undefined ? {} : { cacheSize: size });
    if (keys !== undefined) wrapper.optimizeForLargeKeysets(keys);
    return Number((await wrapper.getStats()).server!.cache!.capacity);
  };
  expect([await capacity(), await capacity(777), await capacity(undefined, 5_000)]).toEqual([100, 777, 5_000]);
});

test('row 2: add-key adds a key with weight and source, and says where it is there', async () => {
  const at = ['--data-dir', tempDir()];
  const add = ['add-key', ONE, '--weight', '2', '--source', 'vault', ...at];
  expect(await cliHere(add)).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^added key-00000001 /) });
  expect(await cliHere(add)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('already') });
  const { keys } = JSON.parse((await cliHere(['list', '--json', ...at])).stdout);
  expect(keys).toMatchObject([{ weight: 2, source: 'vault' }]);
});
