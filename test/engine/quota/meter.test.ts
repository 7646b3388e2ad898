import { describe, expect, test } from 'vitest';
import { FIRST_LESSON_MS, LESSON_MS, LIMIT_NAMES } from '../../../src/engine/quota/limits.ts';
import { Meter } from '../../../src/engine/quota/meter.ts';
import type { Moment } from '../../../src/engine/quota/moment.ts';
import type { LimitName } from '../../../src/gemini/finding.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const YEAR = 365 * 24 * HOUR;
const DAY = 24 * HOUR;
/** Noon in Los Angeles is at 0 on the engine's clock. */
const NOON = Date.parse('2026-07-15T19:00:00Z');
const MIDNIGHT = 12 * HOUR;

const at = (now: number, wallMoved = 0): Moment => ({ now, wallOffset: NOON + wallMoved });
const done = { tokens: undefined, counted: true, succeeded: true };
const failed = { ...done, succeeded: false };
const refused = { tokens: undefined, counted: false, succeeded: false };

function meterWith(limits: Partial<Record<LimitName, number>>): Meter {
  const meter = new Meter('gemini-2.5-flash');
  meter.setLimits = limits;
  return meter;
}

function used(meter: Meter, when: Moment): number[] {
  return LIMIT_NAMES.map((name) => meter.used(name, when));
}

describe('limits', () => {
  test('that are not known let everything start', () => {
    const meter = new Meter('m');
    for (let i = 0; i < 1_000; i++) meter.book(1e6, at(i));
    expect(meter.readyAt(1e9, at(1_000))).toBe(0);
    expect(meter.limit('requestsPerMinute', at(0))).toBeUndefined();
  });

  test('of a minute open when enough of the oldest is 60 s ago, those of a day at midnight Pacific', () => {
    const meter = meterWith({ requestsPerMinute: 2, requestsPerDay: 3 });
    meter.book(0, at(0));
    meter.book(0, at(500));
    expect(meter.readyAt(0, at(600))).toBe(MINUTE);
    expect(meter.isOpen(at(600))).toBe(false);
    expect(meter.isOpen(at(MINUTE))).toBe(true);
    meter.book(0, at(MINUTE));
    expect(meter.readyAt(0, at(MINUTE))).toBe(MIDNIGHT);
    expect(meter.readyAt(0, at(MIDNIGHT - 1))).toBe(MIDNIGHT);
    expect(meter.readyAt(0, at(MIDNIGHT))).toBe(0);
  });

  test('of a minute still hold after the midnight that opens the day', () => {
    const meter = meterWith({ requestsPerMinute: 1, requestsPerDay: 1 });
    meter.book(0, at(MIDNIGHT - SECOND));
    expect(meter.readyAt(0, at(MIDNIGHT - SECOND))).toBe(MIDNIGHT + 59 * SECOND);
    expect(meter.isOpen(at(MIDNIGHT + 59 * SECOND - 1))).toBe(false);
    expect(meter.isOpen(at(MIDNIGHT + 59 * SECOND))).toBe(true);
  });

  test('of tokens count what is expected, and let nothing start without room for a single token', () => {
    const meter = meterWith({ inputTokensPerMinute: 100, tokensPerDay: 150 });
    meter.book(90, at(0));
    expect(meter.readyAt(10, at(1))).toBe(0);
    expect(meter.readyAt(11, at(1))).toBe(MINUTE);
    meter.book(10, at(200));
    expect(meter.isOpen(at(300))).toBe(false);
    expect(meter.readyAt(0, at(300))).toBe(MINUTE);
    meter.book(50, at(MINUTE));
    expect(meter.readyAt(0, at(MINUTE))).toBe(MIDNIGHT);
  });

  test('of tokens that a request alone exceeds let it start once nothing else is counted', () => {
    const meter = meterWith({ inputTokensPerMinute: 100, tokensPerDay: 200 });
    expect(meter.readyAt(201, at(0))).toBe(0);
    meter.book(1, at(0));
    expect(meter.readyAt(150, at(1))).toBe(MINUTE);
    expect(meter.readyAt(201, at(1))).toBe(MIDNIGHT);
  });

  test.each(LIMIT_NAMES)('of 0 never open: %s', (name) => {
    expect(meterWith({ [name]: 0 }).readyAt(0, at(0))).toBe(Infinity);
  });

  test('of the project hold where none of its own is set, and not in part', () => {
    const meter = new Meter('m');
    meter.defaults = { requestsPerMinute: 5, requestsPerDay: 50 };
    expect(meter.limit('requestsPerMinute', at(0))).toEqual({ value: 5, origin: 'set' });
    meter.setLimits = { requestsPerDay: 70 };
    expect(meter.limit('requestsPerMinute', at(0))).toBeUndefined();
    expect(meter.limit('requestsPerDay', at(0))).toEqual({ value: 70, origin: 'set' });
  });
});

describe('a lesson', () => {
  test('about a day is a limit like one that is set, for 24 h after it was last taught', () => {
    const meter = new Meter('m');
    expect(meter.learn('requestsPerDay', 1, at(0))).toBe(true);
    expect(meter.learn('requestsPerDay', 2, at(HOUR))).toBe(true);
    const end = HOUR + LESSON_MS;
    expect(meter.limit('requestsPerDay', at(end - 1))).toEqual({ value: 2, origin: 'learned' });
    meter.book(0, at(end - 2));
    meter.book(0, at(end - 2));
    expect(meter.isOpen(at(end - 1))).toBe(false);
    expect(meter.isOpen(at(end))).toBe(true);
    expect(meter.limit('requestsPerDay', at(end))).toBeUndefined();
  });

  test.each(['requestsPerMinute', 'inputTokensPerMinute'] as const)(
    'about %s holds for an hour at first, however often it is taught meanwhile, and for 24 h when it is taught again after that',
    (name) => {
      const twice = new Meter('m');
      for (const value of [4, 3]) twice.learn(name, value, at(0));
      expect(twice.limit(name, at(FIRST_LESSON_MS))).toBeUndefined();
      const meter = new Meter('m');
      for (let now = 0; now < FIRST_LESSON_MS; now += MINUTE) {
        expect(meter.learn(name, now === 0 ? 4 : 3, at(now))).toBe(true);
      }
      expect(meter.limit(name, at(FIRST_LESSON_MS - 1))).toEqual({ value: 3, origin: 'learned' });
      expect(meter.limit(name, at(FIRST_LESSON_MS))).toBeUndefined();
      const again = 2 * HOUR;
      meter.learn(name, 3, at(again));
      expect(meter.limit(name, at(again + LESSON_MS - 1))).toEqual({ value: 3, origin: 'learned' });
      meter.learn(name, 3, at(again + HOUR));
      expect(meter.limit(name, at(again + HOUR + LESSON_MS - 1))).toEqual({ value: 3, origin: 'learned' });
      expect(meter.limit(name, at(again + HOUR + LESSON_MS))).toBeUndefined();
    },
  );

  test('that is the first about a minute is the first again once it was taken back', () => {
    const meter = new Meter('m');
    const before = meter.learned;
    meter.learn('requestsPerMinute', 1, at(0));
    meter.restoreLessons(before);
    meter.learn('requestsPerMinute', 1, at(2 * HOUR));
    expect(meter.limit('requestsPerMinute', at(2 * HOUR + FIRST_LESSON_MS))).toBeUndefined();
  });

  test('that is forgotten before the day ends makes room then', () => {
    const meter = meterWith({});
    const taught = 4 * HOUR;
    const morning = at(MIDNIGHT + HOUR);
    expect(meter.learn('requestsPerDay', 1, at(taught))).toBe(true);
    meter.book(0, morning);
    expect(meter.readyAt(0, morning)).toBe(taught + LESSON_MS);
    expect(meter.nextRelease(morning)).toBe(taught + LESSON_MS);
    expect(meter.readyAt(0, at(taught + LESSON_MS - 1))).toBe(taught + LESSON_MS);
    expect(meter.readyAt(0, at(taught + LESSON_MS))).toBe(0);
  });

  test('lowers a limit that is set and never raises it', () => {
    const meter = meterWith({ requestsPerMinute: 10 });
    meter.learn('requestsPerMinute', 15, at(0));
    expect(meter.limit('requestsPerMinute', at(0))).toEqual({ value: 10, origin: 'set' });
    meter.learn('requestsPerMinute', 10, at(0));
    expect(meter.limit('requestsPerMinute', at(0))).toEqual({ value: 10, origin: 'set' });
    meter.learn('requestsPerMinute', 1, at(0));
    expect(meter.limit('requestsPerMinute', at(0))).toEqual({ value: 1, origin: 'learned' });
    meter.book(0, at(0));
    expect(meter.readyAt(0, at(1))).toBe(MINUTE);
  });

  test.each([0, -1, 1.5, NaN, Infinity, 2 ** 60])('of %s is none', (value) => {
    const meter = new Meter('m');
    expect(meter.learn('requestsPerDay', value, at(0))).toBe(false);
    expect(meter.isIdle(at(0))).toBe(true);
  });

  test.each([
    ['requestsPerDay', 3, 4],
    ['tokensPerDay', 30, 4],
    ['requestsPerMinute', 3, 7],
    ['inputTokensPerMinute', 30, 7],
  ] as const)('about %s is ignored when more succeeded than could have', (name, value, tooMany) => {
    for (const count of [tooMany - 1, tooMany]) {
      const meter = new Meter('m');
      // What failed proves nothing.
      for (let i = 0; i < 9; i++) meter.settle(meter.book(10, at(i)), failed, at(i));
      for (let i = 0; i < count; i++) meter.settle(meter.book(10, at(100 + i)), done, at(200));
      expect(meter.learn(name, value, at(300))).toBe(count < tooMany);
      // What was on another day, or in a minute more than 24 h ago, proves nothing either.
      const isDaily = name.endsWith('Day');
      const end = isDaily ? MIDNIGHT : DAY + MINUTE;
      expect(meter.learn(name, value, at(end - 1))).toBe(count < tooMany);
      expect(meter.learn(name, value, at(end + 200))).toBe(true);
    }
  });

  test('of one call a minute is ignored hours after six calls in a minute succeeded', () => {
    const meter = new Meter('m');
    for (let i = 0; i < 6; i++) meter.settle(meter.book(10, at(i * SECOND)), done, at(i * SECOND));
    expect(meter.learn('requestsPerMinute', 1, at(5 * HOUR))).toBe(false);
    expect(meter.learn('inputTokensPerMinute', 10, at(5 * HOUR))).toBe(false);
    expect(meter.limit('requestsPerMinute', at(5 * HOUR))).toBeUndefined();
    expect(meter.learn('requestsPerMinute', 3, at(5 * HOUR))).toBe(true);
  });

  test('about a minute is not contradicted by calls that were spread over more than one', () => {
    const meter = new Meter('m');
    for (let now = 0; now < HOUR; now += 30 * SECOND) meter.settle(meter.book(10, at(now)), done, at(now));
    expect(meter.learn('requestsPerMinute', 1, at(2 * HOUR))).toBe(true);
  });

  test('about requests is contradicted for 24 h after as many succeeded last, whatever tokens did since', () => {
    const meter = new Meter('m');
    const many = (calls: number, tokens: number, now: number): void =>
      meter.settle(meter.book(tokens, at(now)), { ...done, tokens, calls }, at(now));
    many(9, 10, 0);
    many(9, 10, 20 * HOUR);
    expect(meter.learn('requestsPerMinute', 4, at(43 * HOUR))).toBe(false);
    many(1, 1_000, 43 * HOUR);
    expect(meter.learn('inputTokensPerMinute', 499, at(44 * HOUR + MINUTE))).toBe(false);
    expect(meter.learn('requestsPerMinute', 4, at(44 * HOUR + MINUTE))).toBe(true);
  });

  test('of the future, from before the wall clock was set back, is not kept for years', () => {
    const meter = new Meter('m');
    meter.learn('requestsPerDay', 5, at(0));
    expect(meter.limit('requestsPerDay', at(1, -HOUR))).toEqual({ value: 5, origin: 'learned' });
    expect(meter.limit('requestsPerDay', at(1, -YEAR))).toBeUndefined();
  });
});

describe('a booking', () => {
  test('is corrected to the tokens that it took, in the minute and the day', () => {
    const meter = new Meter('m');
    const first = meter.book(100, at(0));
    const second = meter.book(100, at(500));
    expect(first).toEqual({ time: 0, dayEnd: NOON + MIDNIGHT, tokens: 100 });
    meter.settle(first, { ...done, tokens: 30 }, at(1_000));
    meter.settle(second, { ...done, tokens: 250 }, at(1_000));
    expect(used(meter, at(1_000))).toEqual([2, 280, 2, 280]);
    expect(used(meter, at(MINUTE))).toEqual([1, 250, 2, 280]);
  });

  test('keeps its estimate when nobody knows better', () => {
    const meter = new Meter('m');
    meter.settle(meter.book(100, at(0)), done, at(1));
    expect(used(meter, at(1))).toEqual([1, 100, 1, 100]);
  });

  test('comes back whole when it was refused', () => {
    const meter = meterWith({ requestsPerMinute: 1, requestsPerDay: 1 });
    const booking = meter.book(100, at(0));
    expect(meter.isOpen(at(1))).toBe(false);
    meter.settle(booking, refused, at(1));
    expect(used(meter, at(1))).toEqual([0, 0, 0, 0]);
    expect(meter.isOpen(at(1))).toBe(true);
  });

  test('on which several calls were made counts as several', () => {
    const meter = new Meter('m');
    meter.settle(meter.book(10, at(0)), { ...done, tokens: 90, calls: 3 }, at(1));
    expect(used(meter, at(1))).toEqual([3, 90, 3, 90]);
    expect(meter.learn('requestsPerDay', 2, at(1))).toBe(false);
  });

  test('corrects only the windows that still hold it', () => {
    const meter = new Meter('m');
    const booking = meter.book(100, at(MIDNIGHT - 1));
    meter.book(7, at(MIDNIGHT + 1_000));
    meter.settle(booking, { ...done, tokens: 10 }, at(MIDNIGHT + 2_000));
    expect(used(meter, at(MIDNIGHT + 2_000))).toEqual([2, 17, 1, 7]);
    meter.settle(booking, refused, at(MIDNIGHT + HOUR));
    expect(used(meter, at(MIDNIGHT + HOUR))).toEqual([0, 0, 1, 7]);
  });

  test('of absurd tokens counts none or very many, and spoils nothing for later', () => {
    const meter = new Meter('m');
    for (const tokens of [NaN, -5, 0.5]) meter.book(tokens, at(0));
    expect(meter.used('tokensPerDay', at(0))).toBe(0);
    const booking = meter.book(7, at(200));
    meter.settle(booking, { ...done, tokens: 9.2e18 }, at(300));
    meter.book(3, at(400));
    expect(meter.used('inputTokensPerMinute', at(500))).toBe(1e9 + 3);
    expect(meter.used('inputTokensPerMinute', at(200 + MINUTE))).toBe(3);
  });
});

describe('a day', () => {
  test.each([
    ['the short one of 2026', '2026-03-08T08:00:00Z', 23],
    ['the long one of 2026', '2026-11-01T07:00:00Z', 25],
    ['the short one of 2027', '2027-03-14T08:00:00Z', 23],
    ['the long one of 2027', '2027-11-07T07:00:00Z', 25],
  ])('of summer time, %s, is as long as it is', (_, midnight, hours) => {
    const meter = meterWith({ requestsPerDay: 1 });
    const start = { now: 12_345, wallOffset: Date.parse(midnight) - 12_345 };
    meter.book(0, start);
    const end = start.now + hours * HOUR;
    expect(meter.readyAt(0, start)).toBe(end);
    expect(meter.readyAt(0, { ...start, now: end - 1 })).toBe(end);
    expect(meter.readyAt(0, { ...start, now: end })).toBe(0);
    // And the next is one of 24 h.
    meter.book(0, { ...start, now: end });
    expect(meter.readyAt(0, { ...start, now: end })).toBe(end + 24 * HOUR);
  });

  test('ends where it would have when the wall clock is set back and forth', () => {
    const meter = meterWith({ requestsPerDay: 1 });
    meter.book(0, at(0));
    expect(meter.readyAt(0, at(HOUR, -HOUR))).toBe(MIDNIGHT + HOUR);
    expect(meter.isOpen(at(MIDNIGHT, -HOUR))).toBe(false);
    expect(meter.isOpen(at(MIDNIGHT + HOUR - 1, -HOUR))).toBe(false);
    expect(meter.isOpen(at(MIDNIGHT + HOUR, -HOUR))).toBe(true);
    expect(meter.readyAt(0, at(2 * HOUR))).toBe(MIDNIGHT);
    expect(meter.isOpen(at(MIDNIGHT - 1))).toBe(false);
    expect(meter.isOpen(at(MIDNIGHT))).toBe(true);
  });

  test('is no shorter when the wall clock is set forward, and not over again when it is set back after its end', () => {
    const meter = meterWith({ requestsPerDay: 1 });
    meter.book(0, at(0));
    expect(meter.readyAt(0, at(1, HOUR))).toBe(MIDNIGHT);
    expect(meter.isOpen(at(MIDNIGHT))).toBe(true);
    expect(meter.readyAt(0, at(MIDNIGHT + 1, -HOUR))).toBe(MIDNIGHT + HOUR);
  });

  test('is shut for 25 h at most when the wall clock is set back by a year', () => {
    const meter = meterWith({ requestsPerDay: 1 });
    meter.book(0, at(0));
    expect(meter.readyAt(0, at(1, -YEAR))).toBe(25 * HOUR);
    expect(meter.isOpen(at(25 * HOUR, -YEAR))).toBe(true);
    meter.book(0, at(25 * HOUR, -YEAR));
    expect(meter.isOpen(at(25 * HOUR, -YEAR))).toBe(false);
    expect(meter.isOpen(at(50 * HOUR, -YEAR))).toBe(true);
  });

  test('is not given twice when the wall clock lags by moments', () => {
    const meter = meterWith({ requestsPerDay: 1 });
    meter.book(0, at(0));
    expect(meter.isOpen(at(MIDNIGHT, -900))).toBe(true);
    meter.book(0, at(MIDNIGHT, -900));
    expect(meter.isOpen(at(MIDNIGHT + 900, -900))).toBe(false);
  });

  test('tells when it ends, also when nothing was counted, and a minute when its oldest leaves', () => {
    const meter = new Meter('m');
    expect(LIMIT_NAMES.map((name) => meter.resetTime(name, at(5)))).toEqual([5, 5, MIDNIGHT, MIDNIGHT]);
    meter.book(1, at(10));
    meter.book(1, at(500));
    expect(LIMIT_NAMES.map((name) => meter.resetTime(name, at(600)))).toEqual([
      10 + MINUTE,
      10 + MINUTE,
      MIDNIGHT,
      MIDNIGHT,
    ]);
    expect(meter.resetTime('requestsPerDay', at(MIDNIGHT))).toBe(MIDNIGHT + 24 * HOUR);
    expect(meter.resetTime('requestsPerDay', at(600, -HOUR))).toBe(MIDNIGHT + HOUR);
  });
});

describe('two meters that turn out to be of one project', () => {
  test('add up what was used, and each booking can still be corrected', () => {
    const [ours, theirs] = [new Meter('m'), new Meter('m')];
    ours.book(10, at(0));
    const booking = theirs.book(20, at(1_000));
    ours.merge(theirs, at(2_000));
    expect(used(ours, at(2_000))).toEqual([2, 30, 2, 30]);
    ours.settle(booking, refused, at(2_000));
    expect(used(ours, at(2_000))).toEqual([1, 10, 1, 10]);
    expect(used(ours, at(MINUTE))).toEqual([0, 0, 1, 10]);
  });

  test('keep the set limits of the one that stays, the other’s only where it has none, and the newer of each lesson', () => {
    const [ours, theirs, bare] = [
      meterWith({ requestsPerMinute: 5 }),
      meterWith({ requestsPerDay: 9 }),
      new Meter('m'),
    ];
    ours.learn('requestsPerDay', 1, at(0));
    theirs.learn('requestsPerDay', 2, at(1));
    ours.learn('tokensPerDay', 3, at(1));
    theirs.learn('tokensPerDay', 4, at(0));
    theirs.learn('inputTokensPerMinute', 6, at(0));
    bare.merge(theirs, at(2));
    expect(bare.setLimits).toEqual({ requestsPerDay: 9 });
    expect(bare.limit('requestsPerDay', at(2))).toEqual({ value: 2, origin: 'learned' });
    ours.merge(theirs, at(2));
    expect(ours.setLimits).toEqual({ requestsPerMinute: 5 });
    expect(ours.learned).toEqual({
      requestsPerDay: { value: 2, at: NOON + 1 },
      tokensPerDay: { value: 3, at: NOON + 1 },
      inputTokensPerMinute: { value: 6, at: NOON - LESSON_MS + FIRST_LESSON_MS },
    });
  });

  test('contradict lessons by the higher peak of the two, and by both together only within the same 60 s', () => {
    const peaks = (ourTime: number, theirTime: number): Meter => {
      const [ours, theirs] = [new Meter('m'), new Meter('m')];
      ours.settle(ours.book(4, at(ourTime)), { ...done, calls: 4 }, at(ourTime));
      theirs.settle(theirs.book(6, at(theirTime)), { ...done, calls: 6 }, at(theirTime));
      ours.merge(theirs, at(Math.max(ourTime, theirTime)));
      return ours;
    };
    const later = at(3 * HOUR);
    for (const name of ['requestsPerMinute', 'inputTokensPerMinute'] as const) {
      for (const apart of [peaks(0, HOUR), peaks(HOUR, 0)]) {
        expect(apart.learn(name, 2, later)).toBe(false);
        expect(apart.learn(name, 3, later)).toBe(true);
      }
      const together = peaks(0, SECOND);
      expect(together.learn(name, 4, later)).toBe(false);
      expect(together.learn(name, 5, later)).toBe(true);
    }
    const [few, many] = [new Meter('m'), new Meter('m')];
    many.settle(many.book(1, at(0)), { ...done, calls: 9 }, at(0));
    few.merge(many, at(HOUR));
    // It never booked a minute of its own.
    expect(few.learn('requestsPerMinute', 4, later)).toBe(false);
  });

  test('keep a day that is running, whichever of them had one that is over, until the later end', () => {
    const [ours, theirs] = [new Meter('m'), new Meter('m')];
    ours.book(1, at(0));
    theirs.book(2, at(MIDNIGHT));
    ours.merge(theirs, at(MIDNIGHT + 1));
    expect(ours.used('tokensPerDay', at(MIDNIGHT + 1))).toBe(2);
    expect(ours.resetTime('tokensPerDay', at(MIDNIGHT + 1))).toBe(MIDNIGHT + 24 * HOUR);
    const [late, early] = [new Meter('m'), new Meter('m')];
    late.book(1, at(0));
    early.book(2, at(0, 13 * HOUR));
    late.merge(early, at(1, 13 * HOUR));
    expect(late.used('tokensPerDay', at(1, 13 * HOUR))).toBe(3);
    expect(late.resetTime('tokensPerDay', at(1, 13 * HOUR))).toBe(23 * HOUR);
  });
});

describe('what is stored', () => {
  test('comes back with the lessons and the day, and the minute whole at its newest booking', () => {
    const meter = new Meter('m');
    meter.settle(meter.book(10, at(0)), done, at(1));
    meter.book(20, at(30 * SECOND));
    meter.learn('requestsPerMinute', 2, at(30 * SECOND));
    meter.learn('tokensPerDay', 1_000, at(29 * SECOND));
    const row = JSON.parse(JSON.stringify(meter.snapshot(at(31 * SECOND))));
    // Another run: its clock began anew.
    const later = { now: 5, wallOffset: NOON + 40 * SECOND - 5 };
    const again = Meter.restore('m', row, later);
    expect(used(again, later)).toEqual([2, 30, 2, 30]);
    expect(again.learned).toEqual(meter.learned);
    expect(again.readyAt(1, later)).toBe(5 + 50 * SECOND);
    expect(again.resetTime('requestsPerDay', later)).toBe(5 + MIDNIGHT - 40 * SECOND);
    expect(again.learn('requestsPerDay', 1, later)).toBe(true);
    expect(again.snapshot(later)).toMatchObject({
      daySucceeded: 1,
      daySucceededTokens: 10,
      minuteTime: NOON + 30 * SECOND,
    });
  });

  test('tells a first lesson about a minute from others, but not what contradicts it', () => {
    const meter = new Meter('m');
    meter.settle(meter.book(10, at(0)), { ...done, calls: 9 }, at(0));
    meter.learn('requestsPerMinute', 5, at(0));
    const then = at(HOUR / 2);
    const again = Meter.restore('m', meter.snapshot(then), then);
    expect(again.learn('requestsPerMinute', 1, then)).toBe(true);
    expect(again.limit('requestsPerMinute', at(HOUR - 1))).toEqual({ value: 1, origin: 'learned' });
    expect(again.limit('requestsPerMinute', at(HOUR))).toBeUndefined();
  });

  test('of a day that is over, a minute that is past, lessons that are forgotten, is nothing', () => {
    const meter = new Meter('m');
    meter.book(10, at(0));
    meter.learn('requestsPerMinute', 2, at(0));
    const row = meter.snapshot(at(1));
    const nothing = new Meter('m').snapshot(at(0));
    expect(new Set(Object.values(nothing))).toEqual(new Set([0]));
    expect(Meter.restore('m', row, at(MIDNIGHT - 1)).used('requestsPerDay', at(MIDNIGHT - 1))).toBe(1);
    expect(Meter.restore('m', row, at(LESSON_MS)).isIdle(at(LESSON_MS))).toBe(true);
    expect(meter.snapshot(at(LESSON_MS))).toEqual(nothing);
  });

  test('before the wall clock was set back by a year opens within 25 h and a minute', () => {
    const meter = meterWith({ requestsPerMinute: 1, requestsPerDay: 1 });
    meter.book(10, at(0));
    const back = at(1_000, -YEAR);
    const again = Meter.restore('m', meter.snapshot(at(1)), back);
    again.setLimits = { requestsPerMinute: 1 };
    expect(again.readyAt(0, back)).toBe(1_000 + MINUTE);
    again.setLimits = { requestsPerDay: 1 };
    expect(again.readyAt(0, back)).toBe(1_000 + 25 * HOUR);
  });
});

test('a meter is idle when nothing would be lost with it', () => {
  const meter = new Meter('m');
  meter.defaults = { requestsPerDay: 5 };
  expect(meter.isIdle(at(0))).toBe(true);
  meter.book(0, at(0));
  expect(meter.isIdle(at(1))).toBe(false);
  expect(meter.isIdle(at(MIDNIGHT))).toBe(true);
  meter.learn('requestsPerDay', 3, at(MIDNIGHT));
  expect(meter.isIdle(at(MIDNIGHT))).toBe(false);
  expect(meter.isIdle(at(MIDNIGHT + LESSON_MS))).toBe(true);
  meter.setLimits = { requestsPerDay: 0 };
  expect(meter.isIdle(at(MIDNIGHT + LESSON_MS))).toBe(false);
});
