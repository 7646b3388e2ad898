import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Booking, Settlement } from '../../../src/engine/quota/booking.ts';
import { LIMIT_NAMES } from '../../../src/engine/quota/limits.ts';
import { Meter } from '../../../src/engine/quota/meter.ts';
import { NaiveMeter } from './naive-meter.ts';
import { naiveMidnight } from './pacific-rules.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Around the days of summer time, and anywhere. */
const start = fc
  .tuple(
    fc.constantFrom(
      '2026-03-08T08:00Z',
      '2026-11-01T07:00Z',
      '2027-03-14T08:00Z',
      '2027-11-07T07:00Z',
      '2026-06-01T07:00Z',
    ),
    fc.integer({ min: -300, max: 300 }),
  )
  .map(([midnight, steps]) => Date.parse(midnight) + steps * 6 * MINUTE);

/** Multiples of 100 ms, so that no two bookings share an entry that differ in time. */
const after = fc.oneof(
  { weight: 5, arbitrary: fc.nat(50).map((n) => n * 100) },
  { weight: 2, arbitrary: fc.constantFrom(MINUTE - 100, MINUTE, MINUTE + 100) },
  { weight: 1, arbitrary: fc.nat(60).map((n) => n * 30 * MINUTE) },
);
const limits = fc.record(
  {
    requestsPerMinute: fc.integer({ min: 1, max: 6 }),
    inputTokensPerMinute: fc.integer({ min: 1, max: 200 }),
    requestsPerDay: fc.integer({ min: 1, max: 12 }),
    tokensPerDay: fc.integer({ min: 0, max: 400 }),
  },
  { requiredKeys: [] },
);
const outcome: fc.Arbitrary<Settlement> = fc.record({
  tokens: fc.option(fc.nat(150), { nil: undefined }),
  counted: fc.constantFrom(true, true, false),
  succeeded: fc.boolean(),
  calls: fc.constantFrom(undefined, 1, 3),
});
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('book' as const), tokens: fc.nat(100) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('settle' as const), which: fc.nat(), outcome }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('unsettle' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('limits' as const), limits, isDefault: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('learn' as const),
      name: fc.constantFrom(...LIMIT_NAMES),
      value: fc.nat(12),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('wall' as const), by: fc.constantFrom(0, 0, -1, 1, -0.01, 0.3) }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Does the steps to a meter and to a list of all that happened. */
class Pair {
  readonly meter = new Meter('m');
  readonly naive = new NaiveMeter();
  readonly bookings: Booking[] = [];

  apply(each: Step, at: { now: number; wallOffset: number }): void {
    const { meter, naive, bookings } = this;
    naive.elapse(at);
    // Reads let go of what is 60 s old, which is when a peak is noted.
    meter.used('requestsPerMinute', at);
    if (each.do === 'book') {
      bookings.push(meter.book(each.tokens, at));
      naive.book(each.tokens, at);
    } else if (each.do === 'limits') {
      for (const one of [meter, naive]) one[each.isDefault ? 'defaults' : 'setLimits'] = each.limits;
    } else if (each.do === 'learn') {
      expect(meter.learn(each.name, each.value, at)).toBe(naive.learn(each.name, each.value, at));
    } else if (each.do !== 'wall' && bookings.length > 0) {
      const which = each.which % bookings.length;
      const event = naive.events[which]!;
      if (each.do === 'settle' && event.outcome === undefined) {
        meter.settle(bookings[which]!, each.outcome, at);
        event.outcome = each.outcome;
      } else if (each.do === 'unsettle' && event.outcome !== undefined) {
        meter.unsettle(bookings[which]!, event.outcome, at);
        event.outcome = undefined;
      }
    }
  }
}

const run = fc.array(fc.tuple(after, step), { minLength: 1, maxLength: 60 });

test('a meter counts what a list of all that happened counts, and is ready just when that is', () => {
  const property = fc.property(start, run, fc.nat(150), (wall, steps, tokens) => {
    const pair = new Pair();
    const { meter, naive } = pair;
    const at = { now: 7, wallOffset: wall - 7 };
    for (const [later, each] of steps) {
      at.now += later;
      if (each.do === 'wall') at.wallOffset = wall - 7 + each.by * HOUR;
      pair.apply(each, at);
      for (const name of LIMIT_NAMES) {
        expect(meter.used(name, at)).toBe(naive.used(name, at));
        expect(meter.limit(name, at)?.value ?? Infinity).toBe(naive.limit(name, at));
      }
      expect(meter.readyAt(tokens, at)).toBe(naive.readyAt(tokens, at));
      expect(meter.isOpen(at)).toBe(naive.readyAt(0, at) === 0);
    }
    // At that moment, and not one ms earlier; unless a lesson is forgotten meanwhile.
    const ready = meter.readyAt(tokens, at);
    if (ready === 0 || ready === Infinity || Object.keys(meter.learned).length > 0) return;
    expect(meter.readyAt(tokens, { ...at, now: ready - 1 })).toBe(ready);
    expect(meter.readyAt(tokens, { ...at, now: ready })).toBe(0);
  });
  fc.assert(property, { numRuns: 1_500 });
});

test('a report that is taken back leaves no trace', () => {
  const property = fc.property(start, run, outcome, fc.nat(), after, (wall, steps, result, which, later) => {
    const pair = new Pair();
    const at = { now: 0, wallOffset: wall };
    for (const [later, each] of steps) {
      at.now += later;
      pair.apply(each, at);
    }
    const open = pair.bookings.filter((_, i) => pair.naive.events[i]!.outcome === undefined);
    if (open.length === 0) return;
    const booking = open[which % open.length]!;
    const before = pair.meter.snapshot(at);
    pair.meter.settle(booking, result, at);
    pair.meter.unsettle(booking, result, at);
    expect(pair.meter.snapshot(at)).toEqual(before);
    // The same lessons contradict what succeeded, then and later.
    const lessons = pair.meter.learned;
    for (const now of [at.now, at.now + later]) {
      const then = { ...at, now };
      pair.naive.elapse(then);
      for (const name of LIMIT_NAMES) {
        for (let value = 1; value <= 10; value++) {
          expect(pair.meter.learn(name, value, then)).toBe(!pair.naive.refutes(name, value, then));
          pair.meter.restoreLessons(lessons);
        }
      }
    }
  });
  fc.assert(property, { numRuns: 300 });
});

test('two meters that are merged count what one list of both counts', () => {
  const twoRuns = fc.array(fc.tuple(after, step, fc.boolean()), { minLength: 2, maxLength: 60 });
  const property = fc.property(start, twoRuns, fc.nat(60), (wall, steps, mergeAfter) => {
    const pairs = [new Pair(), new Pair()] as const;
    const at = { now: 0, wallOffset: wall };
    let isMerged = false;
    for (const [i, [later, each, isSecond]] of steps.entries()) {
      at.now += later;
      if (i === mergeAfter) {
        pairs[0].meter.merge(pairs[1].meter, at);
        isMerged = true;
      }
      if (each.do === 'learn' || each.do === 'limits') continue;
      if (!isMerged) {
        pairs[isSecond ? 1 : 0].apply(each, at);
      } else if (each.do === 'settle' && isSecond && pairs[1].bookings.length > 0) {
        const which = each.which % pairs[1].bookings.length;
        const event = pairs[1].naive.events[which]!;
        if (event.outcome !== undefined) continue;
        pairs[0].meter.settle(pairs[1].bookings[which]!, each.outcome, at);
        event.outcome = each.outcome;
      } else {
        pairs[0].apply(each, at);
      }
    }
    if (!isMerged) return;
    for (const name of LIMIT_NAMES) {
      const sum = pairs[0].naive.used(name, at) + pairs[1].naive.used(name, at);
      expect(pairs[0].meter.used(name, at)).toBe(sum);
    }
  });
  fc.assert(property, { numRuns: 500 });
});

test('a meter that is stored and restored counts the same, and opens no earlier', () => {
  const property = fc.property(start, run, fc.nat(150), fc.nat(1e6), (wall, steps, tokens, newNow) => {
    const pair = new Pair();
    const at = { now: 0, wallOffset: wall };
    for (const [later, each] of steps) {
      at.now += later;
      pair.apply(each, at);
    }
    const again = { now: newNow, wallOffset: at.now + wall - newNow };
    const row = pair.meter.snapshot(at);
    const restored = Meter.restore('m', row, again);
    expect(restored.snapshot(again)).toEqual(row);
    restored.setLimits = pair.meter.setLimits;
    restored.defaults = pair.meter.defaults;
    for (const name of LIMIT_NAMES) expect(restored.used(name, again)).toBe(pair.meter.used(name, at));
    const ready = pair.meter.readyAt(tokens, at);
    const readyAgain = restored.readyAt(tokens, again);
    if (ready === 0 || ready === Infinity) expect(readyAgain).toBe(ready);
    else expect(readyAgain - again.now).toBeGreaterThanOrEqual(ready - at.now);
  });
  fc.assert(property, { numRuns: 500 });
});

test('whoever asks before each request breaks no limit in any 60 s, nor on any Pacific day', () => {
  const asks = fc.array(
    fc.record({
      after: fc.double({ min: 0, max: 20_000, noNaN: true }),
      tokens: fc.nat(80),
      naps: fc.nat(40),
      waits: fc.boolean(),
    }),
    { maxLength: 150 },
  );
  const set = fc.record({
    requestsPerMinute: fc.integer({ min: 1, max: 6 }),
    inputTokensPerMinute: fc.integer({ min: 80, max: 200 }),
    requestsPerDay: fc.integer({ min: 5, max: 30 }),
    tokensPerDay: fc.integer({ min: 200, max: 1_000 }),
  });
  const property = fc.property(start, asks, set, (wall, all, given) => {
    const meter = new Meter('m');
    meter.setLimits = given;
    // An eighth, which a sum with the wall clock keeps: what comes at midnight to the dot is of one day for both.
    const at = { now: 0.125, wallOffset: wall - 0.125 };
    const admitted: { now: number; day: number; tokens: number }[] = [];
    for (const { after: later, tokens, naps, waits } of all) {
      at.now += naps === 0 ? 5 * HOUR : later;
      const ready = meter.readyAt(tokens, at);
      if (ready > 0 && !waits) continue;
      at.now = Math.max(at.now, ready);
      expect(meter.readyAt(tokens, at)).toBe(0);
      meter.book(tokens, at);
      admitted.push({ now: at.now, day: naiveMidnight(Math.round(at.now + at.wallOffset)), tokens });
    }
    const tokensOf = (some: typeof admitted): number => some.reduce((sum, each) => sum + each.tokens, 0);
    for (const { now, day } of admitted) {
      const minute = admitted.filter((each) => each.now <= now && each.now + MINUTE > now);
      const today = admitted.filter((each) => each.day === day);
      expect(minute.length).toBeLessThanOrEqual(given.requestsPerMinute);
      expect(tokensOf(minute)).toBeLessThanOrEqual(given.inputTokensPerMinute);
      expect(today.length).toBeLessThanOrEqual(given.requestsPerDay);
      expect(tokensOf(today)).toBeLessThanOrEqual(given.tokensPerDay);
    }
  });
  fc.assert(property, { numRuns: 500 });
});
