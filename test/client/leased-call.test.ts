import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { GoogleGenAI } from '@google/genai';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { connect } from '../../src/client/connect.ts';
import { KeyBalancerError } from '../../src/client/errors.ts';
import { type CallSettings, leasedCall } from '../../src/client/leased-call.ts';
import { Reports } from '../../src/client/reports.ts';
import { expectedAnswer, type FakeGemini, type FakeGeminiOptions, startFakeGemini } from '../fake-gemini/index.ts';
import { apiKeys } from '../support/orders.ts';
import { MODEL, WAYS } from './balancers.ts';

const [ONE, TWO] = apiKeys(2) as [string, string];

interface Bench {
  fake: FakeGemini;
  balancer: Balancer;
  settings: CallSettings;
}

async function bench(
  place: { address: string } | { dataDir: string },
  keys: NonNullable<FakeGeminiOptions['keys']>,
  key: { maxConcurrentLeases?: number } = {},
): Promise<Bench> {
  const fake = await startFakeGemini({ keys });
  onTestFinished(() => fake.close());
  const balancer = await connect(place);
  onTestFinished(() => balancer.close());
  for (const apiKey of Object.keys(keys)) await balancer.keyAdmin.createKey({ apiKey, key });
  const settings: CallSettings = {
    pool: '',
    model: MODEL,
    affinityKey: '',
    maxRetries: 3,
    retryDelay: 1,
    maxWait: 0,
    signal: undefined,
    deadline: undefined,
    genai: { httpOptions: { baseUrl: fake.url } },
  };
  return { fake, balancer, settings };
}

async function ask(ai: GoogleGenAI): Promise<string | undefined> {
  return (await ai.models.generateContent({ model: MODEL, contents: 'hello' })).text;
}

async function usage(balancer: Balancer): Promise<Record<string, unknown>> {
  return (await balancer.keyBalancer.getStats({})).total?.usage as unknown as Record<string, unknown>;
}

/** The balancer, but the first reports get lost on their way: before it, or the answers on the way back. */
function losing(balancer: Balancer, reports: number, lost: 'request' | 'answer'): Balancer {
  let left = reports;
  return {
    ...balancer,
    keyBalancer: {
      ...balancer.keyBalancer,
      async reportResult(request, options) {
        const away = new KeyBalancerError('away', { code: 'UNAVAILABLE' });
        if (left > 0 && lost === 'request') {
          left--;
          throw away;
        }
        const response = await balancer.keyBalancer.reportResult(request, options);
        if (left-- > 0) throw away;
        return response;
      },
    },
  };
}

/** The balancer, but what becomes of the answers to its acquires is `then`'s. */
function acquiring(balancer: Balancer, then: <T>(answer: Promise<T>, acquire: number) => Promise<T>): Balancer {
  let acquires = 0;
  const { acquireKey } = balancer.keyBalancer;
  return {
    ...balancer,
    keyBalancer: { ...balancer.keyBalancer, acquireKey: (...args) => then(acquireKey(...args), ++acquires) },
  };
}

describe.each(WAYS)('a call with leases, $way,', ({ place }) => {
  test('waits for a key that is in use', async () => {
    const { balancer, settings } = await bench(await place(), { [ONE]: {} }, { maxConcurrentLeases: 1 });
    const free = new AbortController();
    const holding = leasedCall(balancer, settings, async (ai) => {
      await once(free.signal, 'abort');
      return ask(ai);
    });
    const waiting = leasedCall(balancer, { ...settings, maxWait: 60_000 }, ask);
    await expect.poll(async () => (await balancer.keyBalancer.getStats({})).total?.waitingAcquires).toBe(1n);
    await expect(leasedCall(balancer, settings, ask)).rejects.toMatchObject({ reason: 'NO_KEY_AVAILABLE' });
    free.abort();
    expect(await holding).toBe(expectedAnswer('hello'));
    expect(await waiting).toBe(expectedAnswer('hello'));
  });

  test('ends with its signal while it waits, and takes no key', async () => {
    const { balancer, settings } = await bench(await place(), { [ONE]: {} }, { maxConcurrentLeases: 1 });
    await balancer.keyBalancer.acquireKey({ model: MODEL });
    const reason = new Error('enough');
    const controller = new AbortController();
    const waiting = leasedCall(balancer, { ...settings, maxWait: 60_000, signal: controller.signal }, ask);
    const refused = expect(waiting).rejects.toBe(reason);
    await expect.poll(async () => (await balancer.keyBalancer.getStats({})).total?.waitingAcquires).toBe(1n);
    controller.abort(reason);
    await refused;
    await expect.poll(() => usage(balancer)).toMatchObject({ acquired: 1n });
  });

  test('is told of its tries by the error of its deadline', async () => {
    const keys = { [ONE]: { behaviour: 'serverError' }, [TWO]: { behaviour: { delayMs: Infinity } } } as const;
    const { fake, balancer, settings } = await bench(await place(), keys);
    const deadline = new AbortController();
    const late = new DOMException('too late', 'TimeoutError');
    const call = leasedCall(balancer, { ...settings, signal: deadline.signal, timeout: deadline.signal }, ask);
    const refused = expect(call).rejects.toBe(late);
    await expect.poll(() => fake.counts.inFlight).toBe(1);
    deadline.abort(late);
    await refused;
    const attempts = [{ errorClass: 'SERVER_ERROR' }, { errorClass: 'CANCELLED' }];
    expect(late).toMatchObject({ attempts, cause: { name: 'ApiError', status: 500 } });
  });

  test('ends with the reason of its caller as that is, though there were tries', async () => {
    const { fake, balancer, settings } = await bench(await place(), { [ONE]: { behaviour: { delayMs: Infinity } } });
    const controller = new AbortController();
    const reason = new Error('enough');
    const call = leasedCall(balancer, { ...settings, signal: controller.signal }, ask);
    const refused = expect(call).rejects.toBe(reason);
    await expect.poll(() => fake.counts.inFlight).toBe(1);
    controller.abort(reason);
    await refused;
    expect(reason).not.toHaveProperty('attempts');
  });

  test('ends the request of a stream that the function stops reading', async () => {
    const { fake, balancer, settings } = await bench(await place(), { [ONE]: {} });
    fake.setKey(ONE, { behaviour: { chunkDelayMs: Infinity } });
    await leasedCall(balancer, settings, async (ai) => {
      for await (const _ of await ai.models.generateContentStream({ model: MODEL, contents: 'hello' })) break;
      await expect.poll(() => fake.counts.inFlight).toBe(0);
    });
    await expect.poll(() => usage(balancer)).toMatchObject({ acquired: 1n, succeeded: 1n });
  });

  test('keeps its lease for as long as it takes', async () => {
    const { balancer, settings } = await bench(await place(), { [ONE]: {} });
    await balancer.keyAdmin.updatePool({
      pool: { pool: 'default', defaultLeaseTtl: durationFromMs(4_000) },
      updateMask: { paths: ['default_lease_ttl'] },
    });
    const answer = await leasedCall(balancer, settings, async (ai) => {
      const expiry = async () => Number((await balancer.keyAdmin.listLeases({})).leases[0]?.expireTime?.seconds ?? 0);
      const first = await expiry();
      // Renewed twice at least: it would be over by then.
      await expect.poll(expiry).toBeGreaterThan(first + 4);
      return ask(ai);
    });
    expect(answer).toBe(expectedAnswer('hello'));
    await expect.poll(() => usage(balancer)).toMatchObject({ succeeded: 1n, expired: 0n, late: 0n });
  });

  test.each(['request', 'answer'] as const)(
    'reports again when the %s of a report is lost, and counts once',
    async (lost) => {
      const { balancer, settings } = await bench(await place(), { [ONE]: {} });
      expect(await leasedCall(losing(balancer, 1, lost), settings, ask)).toBe(expectedAnswer('hello'));
      await expect.poll(() => usage(balancer)).toMatchObject({ acquired: 1n, succeeded: 1n, calls: 1n });
    },
  );

  test('finds its lease again when the answer to an acquire is lost', async () => {
    const { balancer, settings } = await bench(await place(), { [ONE]: {}, [TWO]: {} });
    const forgetful = acquiring(balancer, async (answer, acquire) => {
      const response = await answer;
      if (acquire < 3) throw new KeyBalancerError('away', { code: 'UNAVAILABLE' });
      return response;
    });
    // In its own process no answer is lost, and none is asked for again.
    Object.assign(forgetful, { inProcess: false });
    expect(await leasedCall(forgetful, settings, ask)).toBe(expectedAnswer('hello'));
    await expect.poll(() => usage(balancer)).toMatchObject({ acquired: 1n, succeeded: 1n });
  });

  test('gives a lease back that comes after its signal', async () => {
    const { fake, balancer, settings } = await bench(await place(), { [ONE]: {} });
    const controller = new AbortController();
    const reason = new Error('enough');
    const slow = acquiring(balancer, async (answer) => {
      const response = await answer;
      controller.abort(reason);
      // As over a slow network.
      await sleep(50);
      return response;
    });
    await expect(leasedCall(slow, { ...settings, signal: controller.signal }, ask)).rejects.toBe(reason);
    await expect.poll(() => usage(balancer)).toMatchObject({ acquired: 1n, unused: 1n });
    expect(fake.counts.total).toBe(0);
  });

  test('goes on with another key when the answer to a report was lost', async () => {
    const { fake, balancer, settings } = await bench(await place(), { [ONE]: { behaviour: 'dead' }, [TWO]: {} });
    expect(await leasedCall(losing(balancer, 1, 'answer'), settings, ask)).toBe(expectedAnswer('hello'));
    expect(fake.counts.byKey).toEqual({ [ONE]: 1, [TWO]: 1 });
    await expect.poll(() => usage(balancer)).toMatchObject({ acquired: 2n, succeeded: 1n, failed: 1n });
  });

  test('returns what the function returned though no report arrives, and says so', async () => {
    const { balancer, settings } = await bench(await place(), { [ONE]: {} });
    const warnings: string[] = [];
    const listen = (warning: Error): void => {
      if (warning.name === 'KeyBalancerWarning') warnings.push(warning.message);
    };
    process.on('warning', listen);
    onTestFinished(() => void process.off('warning', listen));
    const away = losing(balancer, Infinity, 'request');
    const reports = new Reports(away, { patienceMs: 300 });
    for (let call = 0; call < 3; call++) {
      expect(await leasedCall(away, settings, ask, { reports })).toBe(expectedAnswer('hello'));
    }
    await expect.poll(() => warnings).toEqual([expect.stringMatching(/^a report on key \S+ was lost: away/)]);
    await reports.settled();
    reports.close();
    await expect.poll(() => warnings.at(-1)).toMatch(/^3 reports were lost/);
  });
});
