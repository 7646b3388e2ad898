import { join } from 'node:path';
import Database from 'better-sqlite3';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, KeyState, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { type OwnedStore, openStore } from '../../src/store/open-store.ts';
import type { Probe, ProbeAnswer, ProbeOrder } from '../../src/store/probe.ts';
import type { KeyView } from '../../src/store/store.ts';
import { acquireOrder, apiKeys, importOrder, report } from '../support/orders.ts';
import { INVALID_BODY } from '../support/probe-by-name.ts';
import { tempDir } from '../support/temp-dir.ts';
import { reasonOf } from './conformance/bench.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const TAKES: ProbeAnswer = { latencyMs: 5, error: undefined };
const REFUSES: ProbeAnswer = { latencyMs: 5, error: { httpStatus: 400, body: INVALID_BODY } };
const SILENT: ProbeAnswer = { latencyMs: 5, error: { httpStatus: 503, body: '' } };
const START = 1_764_000_000_000;

interface Question extends ProbeOrder {
  /** Milliseconds since the store was opened first. */
  at: number;
  answer: (answer: ProbeAnswer) => void;
  fail: (error: unknown) => void;
}

/** A store and what it asks Gemini. Questions stay open until they are answered, unless `answers` says how. */
class Desk {
  store!: OwnedStore;
  readonly asked: Question[] = [];
  answers: ((order: ProbeOrder) => Promise<ProbeAnswer>) | undefined;
  readonly dataDir = tempDir();
  #isOpen = false;

  async open({ verify = true } = {}): Promise<this> {
    const clock = { now: () => Date.now() - START + 500, wallOffset: () => START - 500 };
    const probe: Probe = (order) =>
      new Promise((resolve, reject) => {
        this.asked.push({ ...order, at: Date.now() - START, answer: resolve, fail: reject });
        this.answers?.(order).then(resolve, reject);
        order.signal?.addEventListener('abort', () => reject(order.signal?.reason));
      });
    const masterKey = { value: '0'.repeat(64) };
    const options = { dataDir: this.dataDir, durability: 'normal', masterKey, clock, random: () => 0 } as const;
    this.store = await openStore({ ...options, probe, verify });
    this.#isOpen = true;
    onTestFinished(() => this.close());
    return this;
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.store.close();
  }

  async addKeys(count: number): Promise<string[]> {
    const { results } = await this.store.importKeys(importOrder(apiKeys(count)));
    return results.map(({ keyId }) => keyId);
  }

  /** A client says that the key is dead. */
  async suspect(keyId: string, errorClass: ErrorClass = ErrorClass.KEY_SUSPENDED, caller = 'local'): Promise<void> {
    const { leaseId } = await this.store.acquire(acquireOrder({ requireKeyId: keyId, caller }));
    const finding = plainFinding(errorClass, 'key');
    await this.store.report(report(leaseId, { outcome: Outcome.FAILURE, finding, caller }));
  }

  key(keyId: string): Promise<KeyView> {
    return this.store.getKey(keyId);
  }

  async refuted(caller = 'local'): Promise<number | undefined> {
    const { callers } = await this.store.stats({ pools: [], includeModels: false });
    return callers.find((each) => each.caller === caller)?.refuted;
  }

  get times(): number[] {
    return this.asked.map(({ at }) => at);
  }
}

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const settled = (): Promise<unknown> => pass(0);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: START });
  onTestFinished(() => {
    vi.useRealTimers();
  });
});

describe('a key that a report calls dead', () => {
  test('is out of use, and Gemini is asked about it a minute later, with the key itself and without using quota', async () => {
    const desk = await new Desk().open();
    const [keyId] = await desk.addKeys(1);
    await desk.suspect(keyId!, ErrorClass.KEY_INVALID);
    expect(await desk.key(keyId!)).toMatchObject({ state: KeyState.QUARANTINED });
    await pass(MINUTE - 1);
    expect(desk.times).toEqual([]);
    await pass(1);
    expect(desk.asked).toMatchObject([{ at: MINUTE, apiKey: apiKeys(1)[0], model: '', timeoutMs: 10_000 }]);
    desk.asked[0]!.answer(TAKES);
    await settled();
    expect(await desk.key(keyId!)).toMatchObject({ state: KeyState.AVAILABLE, verification: undefined, cooldowns: [] });
    expect(await desk.refuted()).toBe(1);
  });

  test('is asked about again after 10 min when Gemini refused it, and disabled when it does so again', async () => {
    const desk = await new Desk().open();
    const [keyId] = await desk.addKeys(1);
    desk.answers = async () => REFUSES;
    await desk.suspect(keyId!, ErrorClass.KEY_INVALID);
    await pass(11 * MINUTE - 1);
    expect(desk.times).toEqual([MINUTE]);
    expect(await desk.key(keyId!)).toMatchObject({ state: KeyState.QUARANTINED, verification: { refusals: 1 } });
    await pass(1);
    expect(desk.times).toEqual([MINUTE, 11 * MINUTE]);
    expect(await desk.key(keyId!)).toMatchObject({ state: KeyState.DISABLED_AUTO, verification: undefined });
    await pass(24 * 60 * MINUTE);
    expect(desk.times).toHaveLength(2);
  });

  test('is asked about again only 10 min after Gemini took it, whatever is reported meanwhile', async () => {
    const desk = await new Desk().open();
    const [keyId] = await desk.addKeys(1);
    desk.answers = async () => TAKES;
    await desk.suspect(keyId!, ErrorClass.KEY_INVALID, 'one');
    await pass(MINUTE);
    await desk.suspect(keyId!, ErrorClass.KEY_INVALID, 'two');
    await pass(10 * MINUTE - 1);
    expect(desk.times).toEqual([MINUTE]);
    await pass(1);
    expect(desk.times).toEqual([MINUTE, 11 * MINUTE]);
  });

  test('is asked about in growing intervals while there is no answer, up to an hour, and stays out of use', async () => {
    const desk = await new Desk().open();
    const [keyId] = await desk.addKeys(1);
    desk.answers = async () => SILENT;
    await desk.suspect(keyId!);
    await settled();
    await pass(4 * 60 * MINUTE);
    const minutes = desk.times.map((time) => time / MINUTE);
    expect(minutes).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183]);
    const { state, verification } = await desk.key(keyId!);
    expect(state).toBe(KeyState.QUARANTINED);
    expect(verification).toEqual({
      nextTime: START + 243 * MINUTE,
      refusals: 0,
      unanswered: 9,
      unansweredClass: ErrorClass.OVERLOADED,
    });
    desk.answers = async () => TAKES;
    await pass(3 * MINUTE);
    expect(await desk.key(keyId!)).toMatchObject({ state: KeyState.QUARANTINED, verification: undefined });
    await pass(10 * MINUTE);
    expect(await desk.key(keyId!)).toMatchObject({ state: KeyState.AVAILABLE });
  });
});

test('of many keys one is asked about each second, and no more than four at a time', async () => {
  const desk = await new Desk().open();
  const keyIds = await desk.addKeys(8);
  for (const keyId of keyIds) await desk.suspect(keyId);
  await pass(20 * SECOND);
  expect(desk.times).toEqual([0, 1, 2, 3].map((second) => second * SECOND));
  expect(new Set(desk.asked.map(({ apiKey }) => apiKey)).size).toBe(4);
  desk.asked[2]!.answer(SILENT);
  await settled();
  expect(desk.times.slice(4)).toEqual([20 * SECOND]);
  for (const { answer } of desk.asked) answer(SILENT);
  await pass(5 * SECOND);
  // The last three; those before are due again in a minute.
  expect(desk.times.slice(5)).toEqual([21, 22, 23].map((second) => second * SECOND));
});

test('closing gives up what is asked, as if it had not been', async () => {
  const desk = await new Desk().open();
  const [keyId] = await desk.addKeys(1);
  await desk.suspect(keyId!);
  await settled();
  await desk.close();
  expect(desk.asked[0]?.signal?.aborted).toBe(true);
  await pass(MINUTE);
  expect(desk.asked).toHaveLength(1);
  await desk.open();
  expect(await desk.key(keyId!)).toMatchObject({ verification: { unanswered: 0, refusals: 0 } });
  await expect.poll(() => desk.asked).toHaveLength(2);
});

describe('an answer that comes too late', () => {
  const meanwhile: [string, (desk: Desk, keyId: string) => Promise<unknown>, object | undefined][] = [
    ['is deleted', ({ store }, keyId) => store.deleteKey({ keyId, etag: '', allowMissing: false }), undefined],
    ['is reset', ({ store }, keyId) => store.resetKey(keyId), { state: KeyState.AVAILABLE, verification: undefined }],
    [
      'gets a new API key',
      ({ store }, keyId) =>
        store.updateKey({ keyId, etag: '', change: {}, newApiKey: 'AQ.test-key-new', idempotency: undefined }),
      { state: KeyState.AVAILABLE, verification: undefined },
    ],
    [
      'is reset and suspected again',
      async (desk, keyId) => {
        await desk.store.resetKey(keyId);
        await desk.suspect(keyId, ErrorClass.KEY_INVALID, 'other');
      },
      { state: KeyState.QUARANTINED, verification: { refusals: 0, unanswered: 0 } },
    ],
  ];
  test.each(meanwhile)('touches no key that %s meanwhile', async (_, change, expected) => {
    const desk = await new Desk().open();
    const [keyId, other] = await desk.addKeys(2);
    await desk.suspect(keyId!);
    await settled();
    await pass(10);
    await change(desk, keyId!);
    desk.asked[0]!.answer({ latencyMs: 5, error: { httpStatus: 403, body: suspendedBody() } });
    await settled();
    if (expected === undefined) expect(await reasonOf(desk.key(keyId!))).toBe('KEY_NOT_FOUND');
    else expect(await desk.key(keyId!)).toMatchObject(expected);
    expect(await desk.key(other!)).toMatchObject({ state: KeyState.AVAILABLE });
  });

  test('does not apply a test to a key that got a new API key meanwhile', async () => {
    const desk = await new Desk().open();
    const [keyId] = await desk.addKeys(1);
    const tested = desk.store.testKey(testOrder(keyId!, { apply: true }));
    await pass(10);
    const update = { keyId: keyId!, etag: '', change: {}, newApiKey: 'AQ.test-key-new', idempotency: undefined };
    await desk.store.updateKey(update);
    desk.asked[0]!.answer(REFUSES);
    expect(await tested).toMatchObject({ ok: false, errorClass: ErrorClass.KEY_INVALID });
    expect(await desk.key(keyId!)).toMatchObject({ state: KeyState.AVAILABLE });
  });
});

describe('a question that fails', () => {
  test('is no answer: the key is asked about again, and health says why', async () => {
    const desk = await new Desk().open();
    const [keyId] = await desk.addKeys(1);
    await desk.suspect(keyId!);
    await settled();
    desk.asked[0]!.fail(Object.assign(new TypeError('fetch failed'), { cause: { code: 'ECONNREFUSED' } }));
    await settled();
    expect((await desk.key(keyId!)).verification).toMatchObject({ unanswered: 1, unansweredClass: ErrorClass.NETWORK });
    await pass(MINUTE);
    expect(desk.asked).toHaveLength(2);
  });

  test.each([undefined, null, 'no error', 0, Object.create(null)])('with %o too', async (thrown) => {
    const desk = await new Desk().open();
    const [keyId] = await desk.addKeys(1);
    await desk.suspect(keyId!);
    await settled();
    desk.asked[0]!.fail(thrown);
    await settled();
    expect((await desk.key(keyId!)).verification).toMatchObject({ unanswered: 1 });
  });

  test('as where the stored key cannot be read', async () => {
    const desk = await new Desk().open();
    const [keyId] = await desk.addKeys(1);
    await desk.suspect(keyId!, ErrorClass.KEY_INVALID);
    await desk.close();
    const db = new Database(join(desk.dataDir, 'keybalancer.db'));
    db.exec('DELETE FROM key_secrets');
    db.close();
    await desk.open();
    await pass(MINUTE);
    await expect.poll(async () => (await desk.key(keyId!)).verification).toMatchObject({ unanswered: 1 });
    expect(desk.asked).toEqual([]);
    expect(await reasonOf(desk.store.testKey(testOrder(keyId!)))).toBe('KEY_NOT_FOUND');
  });
});

describe('an administrator’s test', () => {
  test('tells what Gemini said and changes nothing, unless it is to be applied', async () => {
    const desk = await new Desk().open();
    const [keyId] = await desk.addKeys(1);
    desk.answers = async () => REFUSES;
    const before = await desk.key(keyId!);
    const told = { keyId, ok: false, errorClass: ErrorClass.KEY_INVALID, error: REFUSES.error, latencyMs: 5 };
    expect(await desk.store.testKey(testOrder(keyId!))).toEqual(told);
    expect(await desk.key(keyId!)).toEqual(before);
    expect(await desk.store.testKey(testOrder(keyId!, { apply: true, model: 'gemini-2.5-pro' }))).toEqual(told);
    expect(desk.asked.at(-1)).toMatchObject({ model: 'gemini-2.5-pro', timeoutMs: 3_000 });
    expect(await desk.key(keyId!)).toMatchObject({ state: KeyState.DISABLED_AUTO });
  });

  test('brings a disabled and a quarantined key back, over a restart too', async () => {
    const desk = await new Desk().open();
    const [disabled, quarantined] = await desk.addKeys(2);
    desk.answers = async () => REFUSES;
    await desk.store.testKey(testOrder(disabled!, { apply: true }));
    await desk.suspect(quarantined!, ErrorClass.KEY_INVALID);
    await desk.close();
    await desk.open();
    expect(await desk.key(disabled!)).toMatchObject({ state: KeyState.DISABLED_AUTO });
    desk.answers = async () => TAKES;
    for (const keyId of [disabled!, quarantined!]) {
      expect(await desk.store.testKey(testOrder(keyId, { apply: true }))).toMatchObject({ ok: true, error: undefined });
      expect(await desk.key(keyId)).toMatchObject({ state: KeyState.AVAILABLE, verification: undefined });
    }
    await desk.close();
    await desk.open();
    expect(await desk.key(disabled!)).toMatchObject({ state: KeyState.AVAILABLE });
  });

  test('that finds a limit brings the key back and rests what the limit is of', async () => {
    const desk = await new Desk().open();
    const [keyId] = await desk.addKeys(1);
    desk.answers = async () => REFUSES;
    await desk.store.testKey(testOrder(keyId!, { apply: true }));
    desk.answers = async () => ({ latencyMs: 1, error: { httpStatus: 429, body: '' } });
    const order = testOrder(keyId!, { apply: true, model: 'gemini-2.5-pro' });
    expect(await desk.store.testKey(order)).toMatchObject({ ok: false });
    const { state, cooldowns } = await desk.key(keyId!);
    expect(state).not.toBe(KeyState.DISABLED_AUTO);
    expect(cooldowns).toHaveLength(1);
  });

  test('without an answer changes nothing, and counts as none', async () => {
    const desk = await new Desk().open();
    const [keyId] = await desk.addKeys(1);
    desk.answers = async () => SILENT;
    const before = await desk.key(keyId!);
    await desk.store.testKey(testOrder(keyId!, { apply: true }));
    expect(await desk.key(keyId!)).toEqual(before);
  });

  test('counts as asked, so that a report after it makes nobody ask again for 10 min, restarts included', async () => {
    const desk = await new Desk().open();
    const [keyId] = await desk.addKeys(1);
    desk.answers = async () => TAKES;
    await desk.store.testKey(testOrder(keyId!, { apply: true }));
    await desk.close();
    await desk.open();
    await desk.suspect(keyId!);
    await pass(10 * MINUTE - 1);
    expect(desk.asked).toHaveLength(1);
    await pass(1);
    await expect.poll(() => desk.asked).toHaveLength(2);
  });

  test('of a key that does not exist is refused', async () => {
    const desk = await new Desk().open();
    expect(await reasonOf(desk.store.testKey(testOrder('key-00000099')))).toBe('KEY_NOT_FOUND');
  });
});

describe('where verification is off', () => {
  test('the report decides, and nobody is asked', async () => {
    const desk = await new Desk().open({ verify: false });
    const [keyId] = await desk.addKeys(1);
    await desk.suspect(keyId!, ErrorClass.KEY_INVALID);
    expect(await desk.key(keyId!)).toMatchObject({ state: KeyState.DISABLED_AUTO, verification: undefined });
    await pass(60 * MINUTE);
    expect(desk.asked).toEqual([]);
  });

  test('a key that was in quarantine when it was switched off is disabled by its report, and one that was only suspected is not', async () => {
    const desk = await new Desk().open();
    const [quarantined, suspected] = await desk.addKeys(2);
    desk.answers = async () => TAKES;
    for (let lie = 0; lie < 3; lie++) {
      await desk.suspect(suspected!, ErrorClass.KEY_INVALID, 'liar');
      await pass(11 * MINUTE);
    }
    await desk.suspect(suspected!, ErrorClass.KEY_INVALID, 'liar');
    await desk.suspect(quarantined!, ErrorClass.KEY_INVALID);
    const asked = desk.asked.length;
    expect(await desk.key(suspected!)).toMatchObject({ state: KeyState.AVAILABLE });
    await desk.close();
    await desk.open({ verify: false });
    for (const verify of [false, true]) {
      expect(await desk.key(quarantined!)).toMatchObject({ state: KeyState.DISABLED_AUTO, verification: undefined });
      expect(await desk.key(suspected!)).toMatchObject({ state: KeyState.AVAILABLE, verification: undefined });
      await desk.close();
      await desk.open({ verify });
    }
    await pass(60 * MINUTE);
    expect(desk.asked).toHaveLength(asked);
  });
});

function testOrder(keyId: string, order: { apply?: boolean; model?: string } = {}) {
  const { signal } = new AbortController();
  return { keyId, model: '', modelsPageSize: 1, timeoutMs: 3_000, apply: false, signal, ...order };
}

function suspendedBody(): string {
  const details = [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'CONSUMER_SUSPENDED' }];
  return JSON.stringify({ error: { code: 403, message: 'suspended', status: 'PERMISSION_DENIED', details } });
}
