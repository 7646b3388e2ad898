import { describe, expect, test } from 'vitest';
import { type Key, keyId } from '../../src/engine/key.ts';
import { type Lease, LeaseState } from '../../src/engine/lease.ts';
import type { Scope } from '../../src/gemini/finding.ts';
import { ErrorClass, KeyState, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { Rig } from './rig.ts';

const { QUOTA_EXHAUSTED_DAY, RATE_LIMITED_MINUTE, QUOTA_ZERO, BILLING, PERMISSION, NOT_FOUND, SERVER_ERROR } =
  ErrorClass;
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
/** 2026-06-15 at 8 in the morning in Los Angeles, when the rig's clock shows 1,000. */
const MORNING = { wallOffset: Date.UTC(2026, 5, 15, 15) - 1_000 };
const MIDNIGHT = 16 * HOUR + 1_000;
const limit = { scope: 'project-model' as const };
const ask = { model: 'pro' };

function one(): { rig: Rig; key: Key } {
  const rig = new Rig({ defaultLeaseTtlMs: 30 * SECOND }, MORNING);
  return { rig, key: rig.addKey({ project: 'p' }) };
}

/** Passes to the first moment at which there is a lease, which is asked for in steps of `ms`, and takes it. */
function firstLease(rig: Rig, ms: number): Lease {
  for (let i = 0; i < 100_000; i++) {
    const lease = rig.acquire(ask);
    if (lease !== undefined) return lease;
    rig.pass(ms);
  }
  throw new Error('no lease came');
}

/** A spent day that may be tried, and the lease that tries it. */
function tried(): { rig: Rig; key: Key; trial: Lease } {
  const { rig, key } = one();
  rig.fail(rig.acquire(ask)!, QUOTA_EXHAUSTED_DAY, { ...limit, retryDelayMs: 0 });
  rig.pass(MINUTE);
  const trial = rig.acquire(ask)!;
  expect(rig.acquire(ask)).toBeUndefined();
  return { rig, key, trial };
}

describe('a spent day', () => {
  test.each([
    [0, 1],
    [30 * SECOND, 1],
    [7 * MINUTE, 7],
    [undefined, 15],
  ])('with a stated delay of %s ms is tried after %i min, then 15 min, 1 h and 4 h after each try', (delay, first) => {
    const { rig } = one();
    rig.fail(rig.acquire(ask)!, QUOTA_EXHAUSTED_DAY, { ...limit, retryDelayMs: delay });
    const waited: number[] = [];
    for (let i = 0; i < 4; i++) {
      const from = rig.now;
      const trial = firstLease(rig, SECOND);
      waited.push((rig.now - from) / MINUTE);
      rig.fail(trial, QUOTA_EXHAUSTED_DAY, { ...limit, retryDelayMs: delay });
    }
    expect(waited).toEqual([first, 15, 60, 240]);
  });

  test('is over at midnight in Los Angeles, however often it was tried, for all calls at once', () => {
    const { rig } = one();
    const tries: number[] = [];
    rig.fail(rig.acquire(ask)!, QUOTA_EXHAUSTED_DAY, limit);
    while (rig.now < MIDNIGHT - SECOND) {
      tries.push(rig.now);
      rig.fail(firstLease(rig, SECOND), QUOTA_EXHAUSTED_DAY, limit);
    }
    // Calls that Gemini turns away in 16 h: after 15 min, 15 min, 1 h and each 4 h, and the first of the new day.
    expect(tries.length).toBe(7);
    expect(rig.now).toBe(MIDNIGHT);
  });

  test('lets all calls go again once one that tried it worked', () => {
    const { rig, key, trial } = tried();
    rig.report(trial);
    expect(key.project.rests).toEqual([]);
    expect([rig.acquire(ask), rig.acquire(ask), rig.acquire(ask)].every(Boolean)).toBe(true);
  });

  test.each<[string, (rig: Rig, trial: Lease) => void]>([
    ['expires unreported', (rig) => rig.pass(30 * SECOND)],
    ['is reported unused', (rig, trial) => void rig.report(trial, { outcome: Outcome.UNUSED })],
    ['fails for another reason', (rig, trial) => void rig.fail(trial, SERVER_ERROR, { scope: 'none' })],
    ['was a bad request', (rig, trial) => void rig.fail(trial, ErrorClass.BAD_REQUEST, { scope: 'none' })],
    ['is revoked', (rig, trial) => rig.engine.suspend(trial, LeaseState.LEFT, rig.now)],
    [
      'is kept and reports something else',
      (rig, trial) => void rig.fail(trial, SERVER_ERROR, { scope: 'none' }, { keepLease: true }),
    ],
  ])('lets the next call try at once when the one that tries %s', (_, end) => {
    const { rig, trial } = tried();
    const waited = rig.wait(ask);
    end(rig, trial);
    rig.pass(0);
    expect(waited.granted).toBeDefined();
    // Again just one.
    expect(rig.acquire(ask)).toBeUndefined();
  });

  test('waits for a minute’s limit that the call which tries it meets, and is then tried again', () => {
    const { rig, trial } = tried();
    rig.fail(trial, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 40 * SECOND });
    rig.pass(40 * SECOND - 1);
    expect(rig.acquire(ask)).toBeUndefined();
    rig.pass(1);
    expect(rig.acquire(ask)).toBeDefined();
    expect(rig.acquire(ask)).toBeUndefined();
  });

  test('is tried by no second call, nor later, because a call that was under way before fails meanwhile', () => {
    const { rig, key } = one();
    const [first, late] = [rig.acquire({ ...ask, ttlMs: HOUR })!, rig.acquire({ ...ask, ttlMs: HOUR })!];
    rig.pass(10);
    rig.fail(first, QUOTA_EXHAUSTED_DAY, { ...limit, retryDelayMs: 0 });
    const { probeAt } = key.project.rests[0]!;
    rig.pass(MINUTE);
    const trial = rig.acquire(ask)!;
    rig.fail(late, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 10 * MINUTE });
    expect(key.project.rests[0]).toMatchObject({ probeAt, trial, cause: QUOTA_EXHAUSTED_DAY });
    expect(rig.acquire(ask)).toBeUndefined();
    rig.report(trial, { outcome: Outcome.UNUSED });
    expect(rig.acquire(ask)).toBeDefined();
  });

  test('rests one model of its project alone', () => {
    const { rig, key } = tried();
    expect(key.state).toBe(KeyState.AVAILABLE);
    expect([rig.acquire({ model: 'flash' }), rig.acquire({ model: 'flash' })].every(Boolean)).toBe(true);
  });

  test('is tried by one call of all keys of the project, whatever pool they are in', () => {
    const { rig, key } = one();
    const second = rig.addKey({ project: 'p' });
    rig.fail(rig.acquire(ask)!, QUOTA_EXHAUSTED_DAY, { ...limit, retryDelayMs: 0 });
    rig.pass(MINUTE);
    expect(rig.acquire({ ...ask, requireKeyId: keyId(second.ordinal) })).toBeDefined();
    expect(rig.acquire({ ...ask, requireKeyId: keyId(key.ordinal) })).toBeUndefined();
  });

  test('whose trial is renewed stays tried for as long', () => {
    const { rig, trial } = tried();
    trial.expireTime = rig.now + 2 * MINUTE;
    rig.engine.leaseDeadlines.set(trial, trial.expireTime);
    rig.pass(MINUTE);
    expect(rig.acquire(ask)).toBeUndefined();
    rig.pass(MINUTE);
    expect(rig.acquire(ask)).toBeDefined();
  });
});

describe('what has no end of its own', () => {
  test.each<[keyof typeof ErrorClass, Scope, number[]]>([
    ['BILLING', 'project', [1, 2, 4, 6, 6]],
    ['BILLING', 'project-model', [24, 24]],
    ['PERMISSION', 'key', [1, 6, 24, 24]],
    ['PERMISSION', 'project', [1, 6, 24, 24]],
    ['LOCATION', 'project', [1, 6, 24]],
    ['QUOTA_ZERO', 'project-model', [24, 24]],
    ['NOT_FOUND', 'project-model', [24, 24]],
  ])('%s of a %s rests for so many hours, then lets one call at a time try: %j', (name, scope, hours) => {
    const { rig } = one();
    rig.fail(rig.acquire(ask)!, ErrorClass[name], { scope });
    for (const [i, rested] of hours.entries()) {
      rig.pass(rested * HOUR - 1);
      expect(rig.acquire(ask)).toBeUndefined();
      rig.pass(1);
      // It stays half-open for as long as nobody calls.
      if (i === 0) rig.pass(50 * HOUR);
      const trial = rig.acquire(ask)!;
      expect(rig.acquire(ask)).toBeUndefined();
      rig.fail(trial, ErrorClass[name], { scope });
    }
  });

  test.each([BILLING, PERMISSION, QUOTA_ZERO, NOT_FOUND])('is over when one call works (class %i)', (cause) => {
    for (const scope of ['key', 'project', 'project-model'] as const) {
      if (cause === NOT_FOUND && scope !== 'project-model') continue;
      const { rig, key } = one();
      rig.fail(rig.acquire(ask)!, cause, { scope });
      rig.pass(24 * HOUR);
      rig.report(rig.acquire(ask)!);
      expect([key.rests, key.project.rests]).toEqual([[], []]);
      expect([rig.acquire(ask), rig.acquire(ask)].every(Boolean)).toBe(true);
      expect(key.state).toBe(KeyState.AVAILABLE);
    }
  });
});

describe('a key’s health falls', () => {
  const factorAfter = (name: keyof typeof ErrorClass, scope: Scope): number => {
    const { rig, key } = one();
    rig.fail(rig.acquire(ask)!, ErrorClass[name], { scope });
    return key.health.factor;
  };

  test('for a permission that the key lacks, for an invalid key, and for nothing else that happens once', () => {
    for (const name of Object.keys(ErrorClass).filter((each) => Number.isNaN(Number(each)))) {
      for (const scope of ['none', 'key', 'project', 'project-model'] as const) {
        const isItsFault = name === 'KEY_INVALID' || (name === 'PERMISSION' && scope === 'key');
        expect([name, scope, factorAfter(name as keyof typeof ErrorClass, scope)]).toEqual([
          name,
          scope,
          isItsFault ? 0.8 : 1,
        ]);
      }
    }
  });

  test('for a bill that is still unpaid when a call tries it, not for those that were under way', () => {
    const { rig, key } = one();
    const [first, second] = [rig.acquire({ ...ask, ttlMs: 3 * HOUR })!, rig.acquire({ ...ask, ttlMs: 3 * HOUR })!];
    rig.fail(first, BILLING, { scope: 'project' });
    rig.pass(HOUR);
    const trial = rig.acquire(ask)!;
    rig.fail(second, BILLING, { scope: 'project' });
    expect(key.health.factor).toBe(1);
    rig.fail(trial, BILLING, { scope: 'project' });
    expect(key.health.factor).toBe(0.8);
  });

  test('not for other failures of a call that tries whether a bill is paid', () => {
    const { rig, key } = one();
    rig.fail(rig.acquire(ask)!, BILLING, { scope: 'project' });
    rig.pass(HOUR);
    rig.fail(rig.acquire(ask)!, SERVER_ERROR, { scope: 'none' });
    expect(key.health.factor).toBe(1);
  });
});
