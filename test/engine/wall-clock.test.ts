import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { setLimits } from '../../src/engine/gates.ts';
import type { Key } from '../../src/engine/key.ts';
import { ErrorClass, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { Rig } from './rig.ts';

const { QUOTA_EXHAUSTED_DAY, RATE_LIMITED_MINUTE } = ErrorClass;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const limit = { scope: 'project-model' as const };
const ask = { model: 'pro' };

/** Days in Los Angeles: when they begin, and how many hours they have. */
const DAYS = [
  ['on which summer time begins', Date.UTC(2026, 2, 8, 8), 23],
  ['on which summer time ends', Date.UTC(2026, 10, 1, 7), 25],
  ['before summer time begins', Date.UTC(2026, 2, 7, 8), 24],
  ['of any other summer', Date.UTC(2026, 6, 1, 7), 24],
] as const;

/** A pool at a wall-clock time. The engine's clock counts from an arbitrary origin. */
function at(wall: number): { rig: Rig; key: Key; offset: number } {
  const offset = wall - 1_000;
  const rig = new Rig({ defaultLeaseTtlMs: 10 * MINUTE }, { wallOffset: offset });
  return { rig, key: rig.addKey({ project: 'p' }), offset };
}

/** The day's quota of a key's project is used up. */
function spend(rig: Rig, key: Key): void {
  setLimits(rig.engine, key.project, 'pro', { requestsPerDay: 2 }, rig.now);
  rig.use(ask);
  rig.use(ask);
}

describe.each(DAYS)('the day %s', (_, begin, hours) => {
  test.each([1.1, 1.5, 2.5, 12, hours - 0.01])(
    'whose quota is reported spent after %d h rests until its midnight',
    (h) => {
      const { rig, key } = at(begin + h * HOUR);
      const midnight = rig.now + (hours - h) * HOUR;
      rig.fail(rig.acquire(ask)!, QUOTA_EXHAUSTED_DAY, { ...limit, retryDelayMs: 48 * HOUR });
      expect(key.project.rests[0]!.until).toBeCloseTo(midnight, 3);
      rig.pass(midnight - rig.now - 1);
      expect(rig.acquire(ask)).toBeUndefined();
      rig.pass(1.001);
      expect([rig.acquire(ask), rig.acquire(ask)].every(Boolean)).toBe(true);
    },
  );

  test.each([0, 1.5, 2.5, 12, hours - 0.1])('whose quota is used up after %d h has none until its midnight', (h) => {
    const { rig, key } = at(begin + h * HOUR);
    const midnight = rig.now + (hours - h) * HOUR;
    spend(rig, key);
    const waited = rig.wait(ask, 48 * HOUR);
    expect(rig.whyNot(ask).retryDelayMs).toBeCloseTo(midnight - rig.now, -1);
    rig.pass(midnight - rig.now - 1);
    expect(waited.granted).toBeUndefined();
    rig.pass(1.001);
    expect(waited.granted).toBeDefined();
  });
});

describe('a wall clock that is set', () => {
  test('back and forth by an hour, at whatever times, ends no day early and none late but for as long as it is set back', () => {
    const moves = fc.array(fc.tuple(fc.integer({ min: 1, max: 5 * HOUR }), fc.constantFrom(-HOUR, 0, HOUR)), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(
        fc.constantFrom(...DAYS),
        fc.double({ min: 1.1, max: 22.9, noNaN: true }),
        moves,
        fc.boolean(),
        ([, begin, hours], h, steps, byReport) => {
          const { rig, key, offset } = at(Math.floor(begin + h * HOUR));
          const midnight = begin + hours * HOUR - offset;
          if (byReport) rig.fail(rig.acquire(ask)!, QUOTA_EXHAUSTED_DAY, { ...limit, retryDelayMs: 48 * HOUR });
          else spend(rig, key);
          let isBack = false;
          for (const [ms, moved] of steps) {
            rig.pass(ms);
            rig.engine.advance(rig.now);
            if (rig.now < midnight) expect(rig.acquire(ask)).toBeUndefined();
            if (rig.now >= midnight + (isBack ? HOUR : 0)) {
              expect(rig.acquire(ask)).toBeDefined();
              return;
            }
            rig.engine.moveWall(offset + moved, rig.now);
            isBack = moved === -HOUR;
          }
          rig.pass(Math.max(0, midnight - 1 - rig.now));
          if (rig.now < midnight) expect(rig.acquire(ask)).toBeUndefined();
          rig.pass(HOUR + 1);
          expect(rig.acquire(ask)).toBeDefined();
        },
      ),
      { numRuns: 400 },
    );
  });

  test('back by an hour after midnight brings a used up day back until it is midnight again', () => {
    const { rig, key, offset } = at(DAYS[3][1] + 23.5 * HOUR);
    spend(rig, key);
    rig.pass(HOUR / 2 + MINUTE);
    rig.engine.moveWall(offset - HOUR, rig.now);
    expect(rig.acquire(ask)).toBeUndefined();
    const waited = rig.wait(ask, 2 * HOUR);
    rig.pass(HOUR - MINUTE - 1);
    expect(waited.granted).toBeUndefined();
    rig.pass(1);
    expect(waited.granted).toBeDefined();
  });

  test('back or forth by years shuts no day for good, and opens none early', () => {
    for (const years of [-10, -1, 1, 10]) {
      for (const byReport of [true, false]) {
        const { rig, key, offset } = at(DAYS[3][1] + 12 * HOUR);
        if (byReport) rig.fail(rig.acquire(ask)!, QUOTA_EXHAUSTED_DAY, { ...limit, retryDelayMs: 48 * HOUR });
        else spend(rig, key);
        rig.pass(HOUR);
        rig.engine.moveWall(offset + years * 365 * 24 * HOUR, rig.now);
        rig.pass(11 * HOUR - 1);
        expect(rig.acquire(ask)).toBeUndefined();
        rig.pass(14 * HOUR);
        expect(rig.acquire(ask)).toBeDefined();
      }
    }
  });

  test('changes nothing about leases, minutes and what rests for a stated time', () => {
    for (const moved of [-HOUR, HOUR]) {
      const { rig, key, offset } = at(DAYS[3][1] + 12 * HOUR);
      const other = rig.addKey({ project: 'q' });
      rig.fail(rig.acquire({ ...ask, requireProject: 'p' })!, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 30_000 });
      setLimits(rig.engine, other.project, 'flash', { requestsPerMinute: 1 }, rig.now);
      const lease = rig.acquire({ model: 'flash', requireProject: 'q' })!;
      rig.pass(10_000);
      rig.engine.moveWall(offset + moved, rig.now);
      expect(rig.acquire({ ...ask, requireProject: 'p' })).toBeUndefined();
      rig.pass(19_999);
      expect(rig.acquire({ ...ask, requireProject: 'p' })).toBeUndefined();
      rig.pass(1);
      expect(rig.acquire({ ...ask, requireProject: 'p' })).toBeDefined();
      expect(key.project.rests[0]!.until).toBe(rig.now);
      expect(lease.expireTime).toBe(1_000 + 10 * MINUTE);
      rig.pass(29_999);
      expect(rig.acquire({ model: 'flash', requireProject: 'q' })).toBeUndefined();
      rig.pass(1);
      expect(rig.acquire({ model: 'flash', requireProject: 'q' })).toBeDefined();
    }
  });

  test('while a call tries a spent day leaves it the only one, and lets the next try when it is over', () => {
    for (const moved of [-HOUR, HOUR]) {
      const { rig, offset } = at(DAYS[3][1] + 12 * HOUR);
      rig.fail(rig.acquire(ask)!, QUOTA_EXHAUSTED_DAY, { scope: 'project', retryDelayMs: 0 });
      rig.pass(MINUTE);
      const trial = rig.acquire(ask)!;
      rig.engine.moveWall(offset + moved, rig.now);
      const waited = rig.wait(ask, HOUR);
      rig.pass(1_000);
      expect(waited.granted).toBeUndefined();
      rig.report(trial, { outcome: Outcome.UNUSED });
      expect(waited.granted).toBeDefined();
      expect(rig.acquire(ask)).toBeUndefined();
    }
  });

  test('by less than a second was adjusted, as it is all the time', () => {
    const { rig, key, offset } = at(DAYS[3][1] + 12 * HOUR);
    rig.fail(rig.acquire(ask)!, QUOTA_EXHAUSTED_DAY, { ...limit, retryDelayMs: 48 * HOUR });
    const { rests } = key.project;
    rig.engine.moveWall(offset - 999, rig.now);
    expect(key.project.rests).toBe(rests);
    expect(rig.engine.moment(rig.now).wallOffset).toBe(offset);
  });
});
