import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Key, keyId } from '../../src/engine/key.ts';
import type { Lease } from '../../src/engine/lease.ts';
import type { Rest } from '../../src/engine/rest.ts';
import type { Scope } from '../../src/gemini/finding.ts';
import { ErrorClass, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { Rig } from './rig.ts';

const { RATE_LIMITED_MINUTE, RATE_LIMITED_TOKENS, QUOTA_EXHAUSTED_DAY, QUOTA_ZERO, BILLING, NOT_FOUND, PERMISSION } =
  ErrorClass;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** 2026-06-15 at noon in Los Angeles, when the rig's clock shows 1,000. */
const NOON = { wallOffset: Date.UTC(2026, 5, 15, 19) - 1_000 };
const MIDNIGHT = 12 * HOUR + 1_000;

const limit = { scope: 'project-model' as const };

/** One key of a project, with leases that began before anything failed. */
function begun(calls: number, model = 'pro'): { rig: Rig; key: Key; leases: Lease[] } {
  const rig = new Rig({ defaultLeaseTtlMs: HOUR, maxLeaseTtlMs: 48 * HOUR }, NOON);
  const key = rig.addKey({ project: 'p' });
  const leases = Array.from({ length: calls }, () => rig.acquire({ model, ttlMs: 48 * HOUR })!);
  return { rig, key, leases };
}

function restOf(key: Key, model = 'pro'): Rest {
  return key.project.rests.find((rest) => rest.model === model)!;
}

/** For how long the model rests from now. */
function left(rig: Rig, key: Key): number {
  return Math.max(0, (key.project.rests.find((rest) => rest.model === 'pro')?.until ?? 0) - rig.now);
}

describe('a second cooldown', () => {
  test('extends the first when it is longer, and leaves it as it is when it is shorter', () => {
    const { rig, key, leases } = begun(3);
    rig.fail(leases[0]!, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 20_000 });
    rig.pass(5_000);
    rig.fail(leases[1]!, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 3_000 });
    expect(left(rig, key)).toBe(15_000);
    rig.fail(leases[2]!, RATE_LIMITED_TOKENS, { ...limit, retryDelayMs: 40_000 });
    expect(left(rig, key)).toBe(40_000);
    expect(restOf(key).cause).toBe(RATE_LIMITED_TOKENS);
  });

  test('never ends the rest earlier, whatever fails in whatever order, but by a call that worked', () => {
    const step = fc.record({
      do: fc.constantFrom('fail', 'fail', 'fail', 'pass', 'begin', 'succeed'),
      which: fc.nat(7),
      cause: fc.constantFrom(
        RATE_LIMITED_MINUTE,
        RATE_LIMITED_TOKENS,
        QUOTA_EXHAUSTED_DAY,
        QUOTA_ZERO,
        BILLING,
        NOT_FOUND,
        PERMISSION,
      ),
      scope: fc.constantFrom<Scope>('key', 'project', 'project-model'),
      delay: fc.oneof(fc.constantFrom(undefined, 0, 1e12, -5), fc.nat(2 * HOUR)),
      ms: fc.oneof(fc.nat(MINUTE), fc.nat(5 * HOUR)),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 60, size: 'max' }), (steps) => {
        const { rig, key, leases } = begun(8);
        for (const { do: what, which, cause, scope, delay, ms } of steps) {
          const lease = leases[which]!;
          const before = [key, key.project].map(({ rests }) => rests);
          if (what === 'pass') rig.pass(ms);
          else if (what === 'begin') {
            const fresh = rig.acquire({ model: 'pro', ttlMs: 48 * HOUR });
            if (fresh !== undefined) leases[which] = fresh;
          } else if (what === 'succeed') rig.report(lease, { keepLease: true });
          else rig.fail(lease, cause, { scope, retryDelayMs: delay }, { keepLease: true });
          for (const [i, { rests }] of [key, key.project].entries()) {
            for (const old of before[i]!) {
              const now = rests.find(({ model }) => model === old.model);
              if (what !== 'succeed' && old.until > rig.now) expect(now!.until).toBeGreaterThanOrEqual(old.until);
            }
            for (const { until, strikes } of rests) {
              expect(until - rig.now).toBeLessThanOrEqual(25 * HOUR);
              expect(strikes).toBeLessThanOrEqual(steps.length);
            }
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('what comes back', () => {
  test('right after its end has struck again: 1, 2, 4, 8, then 15 minutes', () => {
    const { rig, key } = begun(0);
    const rested: number[] = [];
    for (let i = 0; i < 6; i++) {
      rig.fail(rig.acquire({ model: 'pro' })!, RATE_LIMITED_MINUTE, limit);
      rested.push(left(rig, key) / MINUTE);
      expect(rig.acquire({ model: 'pro' })).toBeUndefined();
      rig.pass(left(rig, key) + i * 10_000);
    }
    expect(rested).toEqual([1, 2, 4, 8, 15, 15]);
  });

  test('more than a minute after its end begins anew', () => {
    const { rig, key } = begun(0);
    rig.fail(rig.acquire({ model: 'pro' })!, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 10_000 });
    rig.pass(70_000);
    expect(key.project.rests).toEqual([]);
    rig.fail(rig.acquire({ model: 'pro' })!, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 10_000 });
    expect(left(rig, key)).toBe(10_000);
  });

  test('has not struck again by calls that were under way, or that a kept lease makes while it rests', () => {
    const { rig, key, leases } = begun(20);
    for (const lease of leases.slice(0, 10)) {
      rig.fail(lease, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 10_000 });
      rig.pass(100);
    }
    expect(restOf(key).strikes).toBe(0);
    expect(left(rig, key)).toBe(9_900);
    const kept = leases[10]!;
    for (let i = 0; i < 5; i++) {
      rig.fail(kept, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 10_000 }, { keepLease: true });
      rig.pass(1_000);
    }
    expect(restOf(key).strikes).toBe(0);
    expect(left(rig, key)).toBe(9_000);
    rig.pass(9_000);
    // Under way since before the rest, and reported after its end.
    rig.fail(leases[11]!, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 10_000 });
    expect(restOf(key).strikes).toBe(0);
    expect(left(rig, key)).toBe(10_000);
  });

  test('many calls that meet the same limit at once after its end strike once', () => {
    const { rig, key } = begun(0);
    rig.fail(rig.acquire({ model: 'pro' })!, RATE_LIMITED_MINUTE, limit);
    rig.pass(MINUTE);
    const calls = Array.from({ length: 10 }, () => rig.acquire({ model: 'pro' })!);
    rig.pass(500);
    for (const call of calls) rig.fail(call, RATE_LIMITED_MINUTE, limit);
    expect(restOf(key).strikes).toBe(1);
    expect(left(rig, key)).toBe(2 * MINUTE);
  });

  test('for another reason begins its own count', () => {
    const { rig, key } = begun(0);
    rig.fail(rig.acquire({ model: 'pro' })!, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 5_000 });
    rig.pass(5_000);
    rig.fail(rig.acquire({ model: 'pro' })!, RATE_LIMITED_TOKENS, { ...limit, retryDelayMs: 5_000 });
    expect(left(rig, key)).toBe(5_000);
  });
});

describe('a call that works', () => {
  test('ends the rest if it began later, and what was counted of it', () => {
    const { rig, key, leases } = begun(2);
    rig.fail(leases[0]!, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 30_000 });
    rig.pass(10);
    // The next call of a kept lease begins here.
    rig.report(leases[1]!, { outcome: Outcome.UNUSED, keepLease: true });
    rig.pass(10);
    rig.report(leases[1]!);
    expect(key.project.rests).toEqual([]);
    expect(rig.acquire({ model: 'pro' })).toBeDefined();
  });

  test('and began before says nothing about it', () => {
    const { rig, key, leases } = begun(3);
    rig.pass(10);
    rig.fail(leases[0]!, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 30_000 });
    rig.report(leases[1]!);
    rig.pass(20_000);
    rig.report(leases[2]!);
    expect(left(rig, key)).toBe(10_000);
  });

  test('of another model ends what rests for every model, not what rests for one', () => {
    const { rig, key, leases } = begun(2, 'flash');
    rig.fail(rig.acquire({ model: 'pro' })!, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 30_000 });
    rig.fail(leases[0]!, RATE_LIMITED_MINUTE, { scope: 'project', retryDelayMs: 30_000 });
    rig.pass(10);
    rig.report(leases[1]!, { outcome: Outcome.UNUSED, keepLease: true });
    rig.report(leases[1]!);
    expect(key.project.rests.map(({ model }) => model)).toEqual(['pro']);
  });

  test('and whose report comes after the lease expired counts by when the call began', () => {
    const { rig, key } = begun(0);
    const [early, failing] = [rig.acquire({ model: 'pro', ttlMs: 1_000 })!, rig.acquire({ model: 'pro' })!];
    rig.pass(2_000);
    rig.fail(failing, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 30_000 });
    rig.pass(1_000);
    expect(rig.report(early).late).toBe(true);
    expect(left(rig, key)).toBe(29_000);
  });
});

describe('a late report', () => {
  test('of a limit does not shorten what rests now, nor strike again', () => {
    const { rig, key } = begun(0);
    const early = rig.acquire({ model: 'pro', ttlMs: 1_000 })!;
    rig.pass(2_000);
    rig.fail(rig.acquire({ model: 'pro' })!, QUOTA_EXHAUSTED_DAY, limit);
    const { until, probeAt } = restOf(key);
    rig.pass(1_000);
    rig.fail(early, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 2_000 });
    expect(restOf(key)).toMatchObject({ until, probeAt, cause: QUOTA_EXHAUSTED_DAY, strikes: 0 });
  });

  test('of a day that was spent yesterday does not shut today', () => {
    const { rig, key, leases } = begun(1);
    rig.pass(MIDNIGHT - rig.now + 10 * MINUTE);
    rig.fail(leases[0]!, QUOTA_EXHAUSTED_DAY, limit);
    expect(left(rig, key)).toBe(MINUTE);
    rig.pass(MINUTE);
    expect(rig.acquire({ model: 'pro' })).toBeDefined();
  });

  test('says nothing of a key whose API key was replaced since', () => {
    const { rig, key, leases } = begun(2);
    rig.pass(10);
    key.secretSince = rig.now;
    rig.fail(leases[0]!, PERMISSION);
    rig.fail(leases[1]!, ErrorClass.KEY_INVALID);
    expect(key.rests).toEqual([]);
    expect(key.suspicion).toBeUndefined();
    expect(key.health.factor).toBe(1);
  });
});

describe('a delay that makes no sense', () => {
  test.each([
    [RATE_LIMITED_MINUTE, 1e12, 15 * MINUTE],
    [RATE_LIMITED_MINUTE, 0, 2_000],
    [RATE_LIMITED_MINUTE, -60_000, 2_000],
    [RATE_LIMITED_TOKENS, 24 * HOUR, 15 * MINUTE],
    [QUOTA_ZERO, 0, 24 * HOUR],
    [QUOTA_ZERO, 1e12, 24 * HOUR],
    [BILLING, 1e12, 24 * HOUR],
  ])('class %i, %d ms: rests for %d ms', (cause, retryDelayMs, wanted) => {
    const { rig, key, leases } = begun(1);
    rig.fail(leases[0]!, cause, { ...limit, retryDelayMs });
    expect(left(rig, key)).toBe(wanted);
  });

  test('and was distrusted is not obeyed, and counted against its caller', () => {
    const { rig, key, leases } = begun(1);
    rig.fail(leases[0]!, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 24 * HOUR, delayDistrusted: true });
    expect(left(rig, key)).toBe(MINUTE);
    expect(rig.engine.callers.get('local')).toMatchObject({ delaysDistrusted: 1 });
  });
});

test('rests of a limit are spread by a tenth, and days that are over by up to two minutes, so that not all wake at once', () => {
  for (const random of [0, 0.5, 0.999]) {
    const rig = new Rig({}, { ...NOON, random: () => random });
    const key = rig.addKey({ project: 'p' });
    rig.fail(rig.acquire({ model: 'pro' })!, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 10_000 });
    expect(left(rig, key)).toBeCloseTo(10_000 * (1 + random / 10), 6);
    rig.fail(rig.acquire({ model: 'flash' })!, QUOTA_EXHAUSTED_DAY, limit);
    expect(restOf(key, 'flash').until).toBeCloseTo(MIDNIGHT + random * 2 * MINUTE, 6);
  }
});

test('what rests for one key leaves the other keys of its project alone, and what rests for a project rests all of them', () => {
  const rig = new Rig();
  const [a, b, other] = [rig.addKey({ project: 'p' }), rig.addKey({ project: 'p' }), rig.addKey()];
  const fail = (key: Key, scope: Scope): void =>
    void rig.fail(rig.acquire({ model: 'pro', requireKeyId: keyId(key.ordinal) })!, PERMISSION, { scope });
  fail(a, 'key');
  expect(rig.acquire({ requireKeyId: keyId(b.ordinal) })).toBeDefined();
  fail(b, 'project');
  expect(rig.acquire({ model: 'flash', requireProject: 'p' })).toBeUndefined();
  expect(rig.pick({ model: 'pro' })).toBe(other);
});
