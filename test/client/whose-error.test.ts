import { GoogleGenAI } from '@google/genai';
import { describe, expect, test } from 'vitest';
import type { GeminiWrapper } from '../../src/client/index.ts';
import { KeyState } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { expectedAnswer, type FakeGemini, type FakeGeminiOptions } from '../fake-gemini/index.ts';
import { apiKeys } from '../support/orders.ts';
import { bench, endings, MODEL, WAYS } from './balancers.ts';

const [ONE, TWO, THREE] = apiKeys(3) as [string, string, string];

async function ask(ai: GoogleGenAI): Promise<string | undefined> {
  return (await ai.models.generateContent({ model: MODEL, contents: 'hello' })).text;
}

async function readStream(ai: GoogleGenAI): Promise<string> {
  let text = '';
  for await (const part of await ai.models.generateContentStream({ model: MODEL, contents: 'hello' })) {
    text += part.text ?? '';
  }
  return text;
}

async function thrownBy(promise: Promise<unknown>): Promise<Error & { attempts?: unknown[] }> {
  return promise.then(
    () => {
      throw new Error('it did not reject');
    },
    (error: Error) => error,
  );
}

/** Keys of the pool that may not be lent now. */
async function resting(wrapper: GeminiWrapper): Promise<number> {
  const { keys } = await wrapper.getStats();
  return keys.filter((key) => key.state !== KeyState.AVAILABLE || key.cooldowns.length > 0).length;
}

/** A client of the function's own, with a key that no pool knows. */
function ownClient(fake: FakeGemini): GoogleGenAI {
  return new GoogleGenAI({ apiKey: 'AQ.test-key-own', vertexai: false, httpOptions: { baseUrl: fake.url } });
}

const DEAD = { behaviour: 'dead' } as const;

describe.each(WAYS)('whose error it is, $way:', ({ place }) => {
  test('of nested calls over dead keys only the dead keys are blamed, and the inner error comes out', async () => {
    const keys: FakeGeminiOptions['keys'] = { [ONE]: DEAD, [TWO]: DEAD, [THREE]: {} };
    const { fake, wrapper } = await bench(await place(), keys, { maxRetries: 0 });
    const { keys: known } = await wrapper.getStats();
    // However the turns fall, the outer lease's key makes no request.
    let inner: unknown;
    const nested = wrapper.withRetry(() =>
      wrapper.executeWithRetry(ask).catch((error: unknown) => {
        inner = error;
        throw error;
      }),
    );
    const caught: unknown[] = [];
    for (let call = 0; call < 4; call++) {
      inner = undefined;
      const result = await nested().catch((error: unknown) => error);
      if (inner === undefined) continue;
      expect(result).toBe(inner);
      caught.push(result);
    }
    expect(known).toHaveLength(3);
    expect(caught.length).toBeGreaterThan(0);
    expect(await resting(wrapper)).toBe(caught.length);
    const { failed = 0, active = 0 } = await endings(wrapper);
    expect({ failed, active }).toEqual({ failed: fake.counts.byStatus[400], active: 0 });
    expect(fake.counts.byKey[THREE] ?? 0).toBe(fake.counts.byKeyAndStatus[THREE]?.[200] ?? 0);
  });

  test('nor is a lease blamed whose own request was answered well, though a wrapper inside it failed', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const other = await bench(await place(), { [TWO]: DEAD }, { maxRetries: 0 });
    const error = await thrownBy(
      wrapper.executeWithRetry(async (ai) => {
        await ask(ai);
        try {
          return await other.wrapper.executeWithRetry(ask);
        } catch (cause) {
          throw new Error('the other one failed', { cause });
        }
      }),
    );
    expect(error.message).toBe('the other one failed');
    expect(error).not.toHaveProperty('attempts');
    expect(await endings(wrapper)).toEqual({ acquired: 1, succeeded: 1 });
    expect(await endings(other.wrapper)).toEqual({ acquired: 1, failed: 1 });
  });

  test('nor for what a client of the function met, be it an answer, a cut stream or nobody', async () => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: {}, [TWO]: {} });
    fake.setKey('AQ.test-key-own', DEAD);
    const own = ownClient(fake);
    expect(await thrownBy(wrapper.executeWithRetry(() => ask(own)))).toMatchObject({ status: 400 });
    const after = async (ai: GoogleGenAI): Promise<unknown> => {
      await readStream(ai);
      await ask(ai);
      return ask(own);
    };
    expect(await thrownBy(wrapper.executeWithRetry(after))).toMatchObject({ status: 400 });
    fake.setKey('AQ.test-key-own', { behaviour: { cut: 'midStream' } });
    expect(await thrownBy(wrapper.executeWithRetry(() => readStream(own)))).not.toHaveProperty('attempts');
    expect(await resting(wrapper)).toBe(0);
    expect(await endings(wrapper)).toEqual({ acquired: 3, succeeded: 1, unused: 2 });
  });

  test.each([
    ['an error', { errorMidStream: 'overloaded_503_old' }],
    ['an error of which the SDK takes no notice', { errorMidStream: 'overloaded_503_old', wrapping: 'array' }],
    ['a cut', { cut: 'midStream' }],
    ['an end without a reason', { cut: 'quietly' }],
  ] as const)('%s in the middle of a stream is of its lease, and another key is tried', async (_, behaviour) => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: { behaviour }, [TWO]: {} }, { retryDelay: 1 });
    const seen: unknown[] = [];
    const reading = wrapper.executeWithRetry((ai) =>
      readStream(ai).catch((error: unknown) => {
        seen.push(error);
        throw error;
      }),
    );
    expect(await reading).toBe(expectedAnswer('hello'));
    expect(seen).toHaveLength(1);
    expect(fake.counts.byKey).toEqual({ [ONE]: 1, [TWO]: 1 });
    expect(await endings(wrapper)).toEqual({ acquired: 2, succeeded: 1, failed: 1 });
  });

  test('an error of one of several requests at once is of their lease, though another ends well after it', async () => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: {}, [TWO]: {} });
    fake.setKey(ONE, { behaviour: { error: 'key_invalid_json', on: ['countTokens'] } });
    const both = async (ai: GoogleGenAI): Promise<unknown> => {
      const counting = ai.models.countTokens({ model: MODEL, contents: 'hello' });
      const [counted] = await Promise.allSettled([counting, ask(ai)]);
      if (counted.status === 'rejected') throw counted.reason;
      return 'both';
    };
    expect(await wrapper.executeWithRetry(both)).toBe('both');
    expect(await endings(wrapper)).toEqual({ acquired: 2, succeeded: 1, failed: 1 });
  });

  test('a live session that finds nobody is of its lease, which asks by ways that are not watched', async () => {
    const { wrapper } = await bench(
      await place(),
      {
        [ONE]: { behaviour: { cut: 'beforeAnswer', on: ['live'] } },
        [TWO]: { behaviour: { cut: 'beforeAnswer', on: ['live'] } },
      },
      { maxRetries: 0 },
    );
    const talk = (): Promise<unknown> =>
      wrapper.executeWithRetry((ai) => {
        const nobody = new TypeError('fetch failed', {
          cause: Object.assign(new Error('no'), { code: 'ECONNREFUSED' }),
        });
        ai.live.connect = () => Promise.reject(nobody);
        return ai.live.connect({ model: MODEL, callbacks: { onmessage: () => {} } });
      });
    // Replaced by the function itself, it is the function's own.
    expect(await thrownBy(talk())).not.toHaveProperty('attempts');
    const connected = wrapper.executeWithRetry((ai) =>
      ai.live.connect({ model: MODEL, callbacks: { onmessage: () => {} } }),
    );
    expect(await thrownBy(connected)).toHaveProperty('attempts');
    expect(await endings(wrapper)).toEqual({ acquired: 2, failed: 1, unused: 1 });
  });
});
