import { inspect } from 'node:util';
import type { GoogleGenAI } from '@google/genai';
import { describe, expect, test } from 'vitest';
import type { Attempt } from '../../src/client/attempts.ts';
import { KeyBalancerError } from '../../src/client/errors.ts';
import { createGeminiWrapper } from '../../src/client/index.ts';
import { KeyState } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { expectedAnswer } from '../fake-gemini/index.ts';
import { apiKeys } from '../support/orders.ts';
import { bench, endings, MODEL, WAYS } from './balancers.ts';

const [ONE, TWO, THREE] = apiKeys(3) as [string, string, string];
/** A pause that a test would not outlive. */
const FOR_EVER = 3_600_000;

function refuse(): never {
  throw new Error('no');
}

/** Asks what a backend asks. */
async function ask(ai: GoogleGenAI, prompt = 'hello'): Promise<string | undefined> {
  return (await ai.models.generateContent({ model: MODEL, contents: prompt })).text;
}

async function thrownBy(promise: Promise<unknown>): Promise<Error & { attempts?: Attempt[]; status?: number }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it did not reject');
}

describe.each(WAYS)('a wrapper, $way,', ({ place }) => {
  test('runs the function with a leased key and reports success with the tokens used', async () => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: {} });
    const response = await wrapper.executeWithRetry((ai) =>
      ai.models.generateContent({ model: MODEL, contents: 'hello' }),
    );
    expect(response.text).toBe(expectedAnswer('hello'));
    expect(fake.counts.byKey).toEqual({ [ONE]: 1 });
    expect(await endings(wrapper)).toEqual({ acquired: 1, succeeded: 1 });
    const { tokens } = (await wrapper.getStats()).pools[0]!.usage!;
    const { promptTokenCount, candidatesTokenCount } = response.usageMetadata!;
    expect(tokens).toMatchObject({
      inputTokens: BigInt(promptTokenCount!),
      outputTokens: BigInt(candidatesTokenCount!),
    });
  });

  test('goes on with another key at once when one is dead', async () => {
    const { fake, wrapper } = await bench(
      await place(),
      { [ONE]: { behaviour: 'dead' }, [TWO]: {} },
      { retryDelay: FOR_EVER },
    );
    expect(await wrapper.executeWithRetry(ask)).toBe(expectedAnswer('hello'));
    expect(fake.counts.byKey).toEqual({ [ONE]: 1, [TWO]: 1 });
    expect(await endings(wrapper)).toEqual({ acquired: 2, succeeded: 1, failed: 1 });
  });

  test('leaves a rate-limited key alone in later calls', async () => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: { behaviour: { minuteLimit: 1 } }, [TWO]: {} });
    for (let call = 0; call < 6; call++) expect(await wrapper.executeWithRetry(ask)).toBe(expectedAnswer('hello'));
    expect(fake.counts.byKeyAndStatus[ONE]).toEqual({ 200: 1, 429: 1 });
    expect(fake.counts.byKeyAndStatus[TWO]).toEqual({ 200: 5 });
    const { keys } = await wrapper.getStats();
    expect(keys.filter((key) => key.cooldowns.length > 0)).toHaveLength(1);
  });

  test('throws the error of Gemini when every key fails, with an attempt for each key', async () => {
    const keys = {
      [ONE]: { behaviour: 'dead' },
      [TWO]: { behaviour: 'leaked' },
      [THREE]: { behaviour: 'zeroQuota' },
    } as const;
    const { fake, wrapper } = await bench(await place(), keys, { retryDelay: FOR_EVER, maxWait: FOR_EVER });
    const error = await thrownBy(wrapper.executeWithRetry(ask));
    expect(error).toMatchObject({ name: 'ApiError', status: 429 });
    expect(error.attempts?.map(({ errorClass }) => errorClass)).toEqual(['KEY_INVALID', 'KEY_SUSPENDED', 'QUOTA_ZERO']);
    expect(new Set(error.attempts?.map(({ keyId }) => keyId)).size).toBe(3);
    expect(error.attempts?.every(({ latencyMs }) => latencyMs >= 0 && latencyMs < 10_000)).toBe(true);
    // What generates: without a server this process also asks Gemini about the keys that failed.
    const once = { [MODEL]: 1 };
    expect(fake.counts.byKeyAndModel).toEqual({ [ONE]: once, [TWO]: once, [THREE]: once });
    expect(await endings(wrapper)).toEqual({ acquired: 3, failed: 3 });
  });

  test('makes 1 + maxRetries tries at most', async () => {
    const keys = { [ONE]: { behaviour: 'badGateway' }, [TWO]: { behaviour: 'badGateway' }, [THREE]: {} } as const;
    const { fake, wrapper } = await bench(await place(), keys, { maxRetries: 1, retryDelay: 1 });
    const error = await thrownBy(wrapper.executeWithRetry(ask));
    expect(error.attempts).toHaveLength(2);
    expect(fake.counts.total).toBe(2);
  });

  test('throws at once what no other key would change', async () => {
    const behaviour = { error: 'invalid_json_fieldviolation', on: ['generateContent'] } as const;
    const { fake, wrapper } = await bench(await place(), { [ONE]: { behaviour }, [TWO]: { behaviour } });
    const error = await thrownBy(wrapper.executeWithRetry(ask));
    expect(error).toMatchObject({ status: 400, attempts: [{ errorClass: 'BAD_REQUEST' }] });
    expect(fake.counts.total).toBe(1);
    const { keys } = await wrapper.getStats();
    expect(keys.map((key) => [key.state, key.effectiveWeight])).toEqual([
      [KeyState.AVAILABLE, 1],
      [KeyState.AVAILABLE, 1],
    ]);
  });

  test('pauses and takes the same key again when the provider is to blame and there is no other', async () => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: {} }, { retryDelay: 1 });
    fake.setKey(ONE, { behaviour: 'overloaded', times: 1 });
    expect(await wrapper.executeWithRetry(ask)).toBe(expectedAnswer('hello'));
    expect(fake.counts.byKeyAndStatus[ONE]).toEqual({ 503: 1, 200: 1 });
  });

  test('takes another key when the provider is to blame and there is one', async () => {
    const { fake, wrapper } = await bench(
      await place(),
      { [ONE]: { behaviour: 'serverError' }, [TWO]: {} },
      { retryDelay: 1 },
    );
    expect(await wrapper.executeWithRetry(ask)).toBe(expectedAnswer('hello'));
    expect(fake.counts.byKey).toEqual({ [ONE]: 1, [TWO]: 1 });
  });

  test('does not try a key again that failed while there is another, whatever their weights', async () => {
    const { fake, wrapper } = await bench(await place(), {}, { retryDelay: 1 });
    for (const apiKey of [ONE, TWO]) fake.setKey(apiKey, {});
    await wrapper.addKey(ONE, 1000);
    await wrapper.addKey(TWO, 0.001);
    // From now on every turn but one in a million is the first key's.
    for (let call = 0; call < 3; call++) await wrapper.executeWithRetry(ask);
    fake.reset();
    fake.setKey(ONE, { behaviour: 'serverError' });
    expect(await wrapper.executeWithRetry(ask)).toBe(expectedAnswer('hello'));
    expect(fake.counts.byKey).toEqual({ [ONE]: 1, [TWO]: 1 });
  });

  test('tries again when the connection breaks before an answer', async () => {
    const { wrapper } = await bench(
      await place(),
      { [ONE]: { behaviour: { cut: 'beforeAnswer' } }, [TWO]: {} },
      { retryDelay: 1 },
    );
    expect(await wrapper.executeWithRetry(ask)).toBe(expectedAnswer('hello'));
    expect(await endings(wrapper)).toEqual({ acquired: 2, succeeded: 1, failed: 1 });
  });

  test('throws a mistake of the function at once, as it is, and blames no key for it', async () => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: {}, [TWO]: {} });
    const mistake = new TypeError("Cannot read properties of undefined (reading 'text')");
    await expect(
      wrapper.executeWithRetry(async (ai) => {
        await ask(ai);
        throw mistake;
      }),
    ).rejects.toBe(mistake);
    await expect(
      wrapper.executeWithRetry(() => {
        throw mistake;
      }),
    ).rejects.toBe(mistake);
    expect(mistake).not.toHaveProperty('attempts');
    expect(fake.counts.total).toBe(1);
    expect(await endings(wrapper)).toEqual({ acquired: 2, succeeded: 1, unused: 1 });
  });

  test('tells a host of the function that is not there from Gemini', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {}, [TWO]: {} });
    const error = await thrownBy(wrapper.executeWithRetry(() => fetch('http://127.0.0.1:1/')));
    expect(error.message).toBe('fetch failed');
    const after = await thrownBy(
      wrapper.executeWithRetry(async (ai) => {
        await ask(ai);
        return fetch('http://127.0.0.1:1/');
      }),
    );
    expect(after.message).toBe('fetch failed');
    expect(await endings(wrapper)).toEqual({ acquired: 2, succeeded: 1, unused: 1 });
  });

  test('reports what Gemini said where the function swallows it', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: { behaviour: 'dead' } });
    expect(await wrapper.executeWithRetry((ai) => ask(ai).catch(() => 'nothing'))).toBe('nothing');
    expect(await endings(wrapper)).toEqual({ acquired: 1, failed: 1 });
    expect((await wrapper.getStats()).pools[0]?.failuresByClass).toEqual({ KEY_INVALID: 1n });
  });

  test.each([
    ['undefined', undefined],
    ['null', null],
    ['a string', 'no'],
    ['a frozen object', Object.freeze({ no: 1 })],
    ['an object whose properties throw', new Proxy({}, { get: refuse })],
    ['an object that shows nothing', new Proxy({}, { get: refuse, ownKeys: refuse, defineProperty: refuse })],
  ])('reports the lease when the function throws %s', async (_, thrown) => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    let caught: unknown = 'nothing was thrown';
    await wrapper
      .executeWithRetry(() => Promise.reject(thrown))
      .catch((error: unknown) => {
        caught = error;
      });
    expect(caught === thrown).toBe(true);
    expect(await endings(wrapper)).toEqual({ acquired: 1, unused: 1 });
  });

  test('accounts for every lease of many calls at once', async () => {
    const keys = Object.fromEntries(
      apiKeys(12).map((key, index) => [key, index % 4 === 0 ? { behaviour: 'dead' as const } : {}]),
    );
    const { fake, wrapper } = await bench(await place(), keys, { retryDelay: 1 });
    await Promise.all(Array.from({ length: 60 }, (_, index) => wrapper.executeWithRetry(ask, `call ${index}`)));
    const { acquired = 0, succeeded = 0, failed = 0, ...others } = await endings(wrapper);
    expect(others).toEqual({});
    expect(succeeded).toBe(60);
    expect(acquired).toBe(succeeded + failed);
    expect(fake.counts.byStatus).toEqual({ 200: succeeded, 400: failed });
  });

  test('passes arguments and results through withRetry', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const add = wrapper.withRetry(
      async (ai: GoogleGenAI, prompt: string, times: number) => (await ask(ai, prompt))!.repeat(times),
      {
        maxRetries: 0,
      },
    );
    expect(await add('twice', 2)).toBe(expectedAnswer('twice').repeat(2));
    expect(await add('once', 1)).toBe(expectedAnswer('once'));
  });

  test('ends the call, and its request, when its signal is aborted', async () => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: { behaviour: { delayMs: Infinity } } });
    const controller = new AbortController();
    const call = wrapper.withRetry(ask, { signal: controller.signal })('hello');
    await expect.poll(() => fake.counts.inFlight).toBe(1);
    const reason = new Error('enough');
    controller.abort(reason);
    expect(await thrownBy(call)).toBe(reason);
    await expect.poll(() => fake.counts.inFlight).toBe(0);
    await expect.poll(() => endings(wrapper)).toEqual({ acquired: 1, failed: 1 });
    expect((await wrapper.getStats()).pools[0]?.failuresByClass).toEqual({ CANCELLED: 1n });
  });

  test('ends the call with its signal though the function does not care, whatever becomes of it later', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const reason = new Error('enough');
    const controller = new AbortController();
    const late = Promise.withResolvers<never>();
    const began = Promise.withResolvers<void>();
    const call = wrapper.withRetry(
      () => {
        began.resolve();
        return late.promise;
      },
      { signal: controller.signal },
    )();
    const thrown = thrownBy(call);
    await began.promise;
    controller.abort(reason);
    expect(await thrown).toBe(reason);
    late.reject(new Error('too late'));
    await expect.poll(() => endings(wrapper)).toEqual({ acquired: 1, unused: 1 });
  });

  test('takes a time limit of the SDK for one, and tries again', async () => {
    const { wrapper } = await bench(
      await place(),
      { [ONE]: { behaviour: { delayMs: Infinity } }, [TWO]: {} },
      { retryDelay: 1, genai: { httpOptions: { timeout: 2_000 } } },
    );
    expect(await wrapper.executeWithRetry(ask)).toBe(expectedAnswer('hello'));
    expect((await wrapper.getStats()).pools[0]?.failuresByClass).toEqual({ TIMEOUT: 1n });
  });

  test('says by a typed error that no key could be had', async () => {
    const { wrapper } = await bench(await place(), {});
    const error = await thrownBy(wrapper.executeWithRetry(ask));
    expect(error).toBeInstanceOf(KeyBalancerError);
    expect(error).toMatchObject({ code: 'FAILED_PRECONDITION', reason: 'POOL_EMPTY', metadata: { pool: 'default' } });
  });

  test('adds a key once', async () => {
    const { wrapper } = await bench(await place(), {});
    expect(await wrapper.addKey(ONE, 2, 'by hand')).toBe(true);
    expect(await wrapper.addKey(ONE)).toBe(false);
    const stats = await wrapper.getStats();
    expect(stats.pools[0]?.keysBySource).toEqual({ 'by hand': 1n });
    expect(stats.keys[0]?.weight).toBe(2);
  });

  test('names the field when a key cannot be added', async () => {
    const { wrapper } = await bench(await place(), {});
    const error = await thrownBy(wrapper.addKey(ONE, 0));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
    expect((error as KeyBalancerError).violations[0]?.field).toMatch(/weight/);
    for (const [args, message] of [
      [[undefined], 'apiKey is undefined; allowed: a string'],
      [[{ apiKey: ONE }], 'apiKey is an object; allowed: a string'],
      [[ONE, '2'], 'weight is a string; allowed: a number'],
      [[ONE, 2, null], 'source is null; allowed: a string'],
    ] as const) {
      expect(await thrownBy(wrapper.addKey(...(args as unknown as [string])))).toMatchObject({ message });
    }
    expect(await thrownBy(wrapper.addKey('AQ.with spaces in it'))).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('shows no key in what it throws, nor in itself', async () => {
    // Gemini repeats the key in this message.
    const body = {
      error: { code: 403, status: 'PERMISSION_DENIED', message: `Consumer 'api_key:${ONE}' has been suspended.` },
    };
    const { wrapper } = await bench(
      await place(),
      { [ONE]: { behaviour: { error: { status: 403, body } } } },
      { maxRetries: 0 },
    );
    const error = await thrownBy(wrapper.executeWithRetry(ask));
    expect(error.message).toMatch(/has been suspended/);
    // That key rests now.
    const { wrapper: other } = await bench(await place(), { [ONE]: {} });
    const own = await thrownBy(
      other.executeWithRetry(() => {
        const headers = { 'x-goog-api-key': ONE };
        const url = new URL(`http://127.0.0.1/?key=${ONE}`);
        throw new Error(`cannot log ${ONE}`, {
          cause: { headers, sent: new Headers(headers), map: new Map([[1, ONE]]), url },
        });
      }),
    );
    const { sent, url } = own.cause as { sent: Headers; url: URL };
    expect(inspect([error, own, [...sent], url.href, wrapper], { depth: 20, showHidden: true })).not.toContain(ONE);
  });

  test('takes no lease for what is no function', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const error = await thrownBy(wrapper.executeWithRetry(undefined as never));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', message: 'fn is undefined; allowed: a function' });
    expect(await endings(wrapper)).toEqual({});
  });

  test('counts a call as given up when the function leaves before the answer', async () => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: { behaviour: { delayMs: Infinity } } });
    const controller = new AbortController();
    let left: Promise<unknown> | undefined;
    await wrapper.executeWithRetry(async (ai) => {
      const config = { abortSignal: controller.signal };
      left = ai.models.generateContent({ model: MODEL, contents: 'hello', config }).catch((error: Error) => error.name);
      await expect.poll(() => fake.counts.inFlight).toBe(1);
    });
    expect((await wrapper.getStats()).pools[0]?.failuresByClass).toEqual({ CANCELLED: 1n });
    controller.abort();
    expect(await left).toBe('AbortError');
  });

  test('waits on closing for the calls that run, and reports them', async () => {
    const where = await place();
    const { fake, wrapper } = await bench(where, { [ONE]: { behaviour: { delayMs: 300 } } });
    const call = wrapper.executeWithRetry(ask);
    await expect.poll(() => fake.counts.inFlight).toBe(1);
    await wrapper.close();
    expect(await call).toBe(expectedAnswer('hello'));
    await using later = createGeminiWrapper(where);
    expect(await endings(later)).toEqual({ acquired: 1, succeeded: 1 });
  });

  test('refuses calls once it is closed', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    await wrapper.close();
    expect(await thrownBy(wrapper.executeWithRetry(ask))).toMatchObject({ code: 'FAILED_PRECONDITION' });
  });
});
