import { describe, expect, test } from 'vitest';
import { plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, KeyState } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { type OwnedStore, openStore } from '../../src/store/open-store.ts';
import type { Store } from '../../src/store/store.ts';
import { acquireOrder, createKeyOrder, report } from '../support/orders.ts';
import { probeByName } from '../support/probe-by-name.ts';
import { START_TIME } from '../support/service.ts';
import { StoreChild } from '../support/store-child.ts';
import { tempDir } from '../support/temp-dir.ts';
import { reasonOf } from './conformance/bench.ts';
import { brokenFor, FLASH, fail, judgeAll, PRO, pictureOf } from './judged-state.ts';

const FIRST = 10_000.25;

/** Where a store is opened again, on another clock that shows the same time. */
class Reopened {
  store!: OwnedStore;
  #now = 77.5;
  readonly #wallOffset: number;

  constructor(wall: number) {
    this.#wallOffset = wall - this.#now;
  }

  async open(dataDir: string): Promise<OwnedStore> {
    const clock = { now: () => this.#now, wallOffset: () => this.#wallOffset };
    const masterKey = { value: '0'.repeat(64) };
    const options = { dataDir, durability: 'normal', masterKey, clock, probe: probeByName, random: () => 0.5 } as const;
    this.store = await openStore(options);
    return this.store;
  }

  pass(ms: number): void {
    this.#now += ms;
  }
}

/** Judges in a process that is killed or closed right after, and opens what it left. */
async function judgedAndReopened(end: 'killed' | 'closed') {
  const dataDir = tempDir();
  const child = new StoreChild();
  let now = FIRST;
  await child.open(dataDir, { now, wallOffset: START_TIME });
  const pass = async (ms: number): Promise<void> => {
    now += ms;
    await child.pass(ms);
  };
  const { keys, stays } = await judgeAll({ store: child.store, pass });
  const before = await pictureOf(child.store);
  const broken = await brokenFor(child.store);
  if (end === 'closed') await child.store.close();
  await child.kill();
  const reopened = new Reopened(now + START_TIME);
  const store = await reopened.open(dataDir);
  return { keys, stays, before, broken, store, reopened, dataDir };
}

describe.each(['killed', 'closed'] as const)('what was judged by a process that was %s', (end) => {
  test('is in force afterwards, with the same ends, counts and limits', async () => {
    const { keys, stays, before, broken, store, reopened } = await judgedAndReopened(end);
    expect(await pictureOf(store)).toEqual(before);
    expect(broken).toBeGreaterThan(1_000);
    expect(await brokenFor(store)).toBeCloseTo(broken!, 2);
    await expectAllKinds(store, keys);

    // The pool stays with its project.
    for (let pick = 0; pick < 3; pick++) {
      expect((await store.acquire(acquireOrder({ pool: 'until-spent', model: PRO }))).project).toBe(stays);
    }
    // Who lied takes no key out of use.
    await fail(store, keys.limited, PRO, plainFinding(ErrorClass.KEY_INVALID, 'key'), 'liar');
    expect((await store.getKey(keys.limited)).state).toBe(KeyState.AVAILABLE);
    // One call at a time tries what is half-open.
    const trial = acquireOrder({ requireKeyId: keys.halfOpen, model: FLASH });
    const { leaseId } = await store.acquire(trial);
    expect(await reasonOf(store.acquire(trial))).toBe('NO_KEY_AVAILABLE');
    await store.report(report(leaseId));
    await store.acquire(trial);
    // What struck before rests twice as long, and now four times.
    const [rest] = (await store.getKey(keys.struck)).cooldowns;
    reopened.pass(rest!.untilTime - (await wallNow(store)));
    await fail(store, keys.struck, PRO, plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', 40_000));
    const [longer] = (await store.getKey(keys.struck)).cooldowns;
    expect(Math.round(longer!.untilTime - rest!.untilTime)).toBe(160_000 * 1.05);
    await store.close();
  });

  test('ends when it was to end', async () => {
    const { keys, store, reopened } = await judgedAndReopened(end);
    for (const [keyId, model] of [
      [keys.struck, PRO],
      [keys.solo, FLASH],
      [keys.spent, FLASH],
    ] as const) {
      const [rest] = (await store.getKey(keyId)).cooldowns;
      const order = acquireOrder({ requireKeyId: keyId, model });
      reopened.pass((rest!.probeTime ?? rest!.untilTime) - (await wallNow(store)) - 1);
      expect(await reasonOf(store.acquire(order)), keyId).toBe('NO_KEY_AVAILABLE');
      reopened.pass(1.01);
      expect(await reasonOf(store.acquire(order)), keyId).toBe('no refusal');
    }
    await store.close();
  });
});

test('the lease that tried a half-open cooldown still is the only one, after a kill and until it is reported', async () => {
  const dataDir = tempDir();
  const child = new StoreChild();
  await child.open(dataDir, { now: FIRST, wallOffset: START_TIME });
  const { keyId } = await child.store.createKey(createKeyOrder('AQ.test-tried'));
  await fail(child.store, keyId, FLASH, plainFinding(ErrorClass.QUOTA_EXHAUSTED_DAY, 'project-model', 60_000));
  await child.pass(60_000);
  const { leaseId } = await child.store.acquire(acquireOrder({ model: FLASH }));
  // Stores the lease with it.
  await child.store.setQuota({ project: 'any', model: '', limits: { requestsPerDay: 1 } });
  await child.kill();
  const store = await new Reopened(FIRST + START_TIME + 60_001).open(dataDir);
  expect(await reasonOf(store.acquire(acquireOrder({ model: FLASH })))).toBe('NO_KEY_AVAILABLE');
  await store.report(report(leaseId));
  expect(await reasonOf(store.acquire(acquireOrder({ model: FLASH })))).toBe('no refusal');
  await store.close();
});

test('a project whose limits were set before it had a key keeps them over a restart, and its first key obeys them', async () => {
  const { store } = await judgedAndReopened('killed');
  const { keyId } = await store.createKey(createKeyOrder('AQ.test-late', { project: 'not seen yet' }));
  expect(await reasonOf(store.acquire(acquireOrder({ requireKeyId: keyId, model: PRO })))).not.toBe('no refusal');
  expect(await reasonOf(store.acquire(acquireOrder({ requireKeyId: keyId, model: FLASH })))).toBe('no refusal');
  await store.close();
});

/** Each kind is there, so that the pictures do not agree on nothing. */
async function expectAllKinds(store: Store, keys: Awaited<ReturnType<typeof judgeAll>>['keys']): Promise<void> {
  const states = KeyState;
  const expected: [string, object][] = [
    [keys.resting, { state: states.COOLING, cooldowns: [{ cause: ErrorClass.PERMISSION, projectWide: false }] }],
    [keys.own, { state: states.COOLING, cooldowns: [{ cause: ErrorClass.BILLING, projectWide: true }] }],
    [
      keys.spent,
      { cooldowns: [{ model: FLASH, cause: ErrorClass.QUOTA_EXHAUSTED_DAY, probeTime: expect.any(Number) }] },
    ],
    [keys.solo, { cooldowns: [{ model: FLASH, cause: ErrorClass.RATE_LIMITED_MINUTE, projectWide: true }] }],
    [keys.unreached, { state: states.QUARANTINED, verification: { refusals: 0, unanswered: 2 } }],
    [keys.refused, { state: states.QUARANTINED, verification: { refusals: 1, unanswered: 0 } }],
    [keys.suspected, { state: states.QUARANTINED, verification: { refusals: 0, unanswered: 0 } }],
    [keys.disabled, { state: states.DISABLED_AUTO }],
    [keys.learned, { quotaProject: '123456789012', projectLearned: true }],
  ];
  for (const [keyId, key] of expected) expect(await store.getKey(keyId)).toMatchObject(key);
  const { items } = await store.listQuotas({ project: '', after: '', limit: 100 });
  expect(items.map(({ project, model }) => `${project}/${model}`)).toEqual([
    `${keys.solo}/${PRO}`,
    `${keys.taught}/${PRO}`,
    `not seen yet/${PRO}`,
    'project-f/',
    `project-f/${FLASH}`,
  ]);
  expect(items.at(-1)?.limits).toMatchObject({ requestsPerMinute: { value: 5, used: 4 }, tokensPerDay: { used: 93 } });
  expect(items[1]?.limits).toMatchObject({ requestsPerMinute: { value: 7, origin: 'learned' } });
  const { callers } = await store.stats({ pools: [], includeModels: false });
  expect(
    callers.map(({ caller, refuted, projectsLearned, delaysDistrusted }) => [
      caller,
      refuted,
      projectsLearned,
      delaysDistrusted,
    ]),
  ).toEqual([
    ['liar', 3, 0, 0],
    ['local', 0, 1, 0],
    ['odd', 0, 0, 1],
  ]);
}

async function wallNow(store: Store): Promise<number> {
  const { expireTime, ttlMs } = await store.acquire(acquireOrder({ pool: 'until-spent' }));
  return expireTime - ttlMs;
}
