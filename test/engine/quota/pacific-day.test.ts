import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { endAt, endOfDay, engineEnd, nextPacificMidnight } from '../../../src/engine/quota/pacific-day.ts';
import { naiveMidnight } from './pacific-rules.ts';

const HOUR = 3_600_000;
const wall = (text: string): number => Date.parse(text);

describe('nextPacificMidnight', () => {
  test.each([
    ['an ordinary winter day', '2026-01-15T12:00:00Z', '2026-01-16T08:00:00Z'],
    ['an ordinary summer day', '2026-07-15T12:00:00Z', '2026-07-16T07:00:00Z'],
    ['the last millisecond of a day', '2026-07-15T06:59:59.999Z', '2026-07-15T07:00:00Z'],
    ['a midnight itself belongs to the new day', '2026-07-15T07:00:00Z', '2026-07-16T07:00:00Z'],
    ['2026, the eve of the short day', '2026-03-08T07:59:59.999Z', '2026-03-08T08:00:00Z'],
    ['2026, the short day begins', '2026-03-08T08:00:00Z', '2026-03-09T07:00:00Z'],
    ['2026, the short day after 2 o’clock', '2026-03-08T10:00:00Z', '2026-03-09T07:00:00Z'],
    ['2026, the long day begins', '2026-11-01T07:00:00Z', '2026-11-02T08:00:00Z'],
    ['2026, the long day, first 1:30', '2026-11-01T08:30:00Z', '2026-11-02T08:00:00Z'],
    ['2026, the long day, second 1:30', '2026-11-01T09:30:00Z', '2026-11-02T08:00:00Z'],
    ['2026, the last hour of the long day', '2026-11-02T07:30:00Z', '2026-11-02T08:00:00Z'],
    ['2027, the short day', '2027-03-14T08:00:00Z', '2027-03-15T07:00:00Z'],
    ['2027, the long day', '2027-11-07T07:00:00Z', '2027-11-08T08:00:00Z'],
  ])('%s', (_, from, to) => {
    expect(new Date(nextPacificMidnight(wall(from)))).toEqual(new Date(to));
  });

  test('agrees with the law at any time from 2000 to 2100, in any order of asking', () => {
    const time = fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2101, 0) });
    fc.assert(
      fc.property(time, (each) => {
        expect(nextPacificMidnight(each)).toBe(naiveMidnight(each));
      }),
      { numRuns: 5_000 },
    );
  });

  test('is right in each hour of the days on which summer time can begin or end, from 2000 to 2100', () => {
    for (let year = 2000; year <= 2100; year++) {
      for (const [month, days] of [
        [2, 16],
        [3, 9],
        [9, 32],
        [10, 9],
      ] as const) {
        for (let hour = (days - 9) * 24; hour <= days * 24; hour++) {
          for (const at of [Date.UTC(year, month, 1, hour), Date.UTC(year, month, 1, hour) - 1]) {
            if (nextPacificMidnight(at) !== naiveMidnight(at)) expect.fail(new Date(at).toISOString());
          }
        }
      }
    }
    expect.assertions(0);
  });

  test('gives Infinity for what is no time, and never throws', () => {
    for (const none of [NaN, Infinity, -Infinity, -1, 1e300, 8.64e15 + 1, Date.UTC(10_000, 0)]) {
      expect(nextPacificMidnight(none)).toBe(Infinity);
      // What was asked for last is not spoiled.
      expect(nextPacificMidnight(wall('2026-07-15T12:00:00Z'))).toBe(wall('2026-07-16T07:00:00Z'));
    }
  });

  test('is strictly later than any time that has one, and at most 25 h later', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: Date.UTC(10_000, 0) - 1, noNaN: true }), (each) => {
        const midnight = nextPacificMidnight(each);
        expect(midnight).toBeGreaterThan(each);
        expect(midnight - each).toBeLessThanOrEqual(25 * HOUR);
      }),
    );
  });
});

describe('the end of a day', () => {
  const offset = wall('2026-07-15T19:00:00Z');
  const midnight = 12 * HOUR;
  const begun = endOfDay({ now: 0, wallOffset: offset });

  test('is the midnight, on both clocks', () => {
    expect(begun).toEqual({ wall: offset + midnight, engine: midnight, latest: 25 * HOUR });
    expect(engineEnd(begun, { now: HOUR, wallOffset: offset })).toBe(midnight);
  });

  test('moves with a wall clock that is set back, so that it is midnight again', () => {
    expect(engineEnd(begun, { now: HOUR, wallOffset: offset - HOUR })).toBe(midnight + HOUR);
    expect(engineEnd(begun, { now: midnight + HOUR / 2, wallOffset: offset - HOUR })).toBe(midnight + HOUR);
  });

  test('is as planned again once the wall clock is set forth again', () => {
    expect(engineEnd(begun, { now: 2 * HOUR, wallOffset: offset })).toBe(midnight);
  });

  test('is no earlier than planned when the wall clock is set forward', () => {
    expect(engineEnd(begun, { now: HOUR, wallOffset: offset + HOUR })).toBe(midnight);
    expect(engineEnd(begun, { now: HOUR, wallOffset: offset + 366 * 24 * HOUR })).toBe(midnight);
  });

  test('is at most 25 h after its day began, when the wall clock is set back by a year', () => {
    for (const now of [0, HOUR, 24 * HOUR, 1_000 * HOUR]) {
      expect(engineEnd(begun, { now, wallOffset: offset - 365 * 24 * HOUR })).toBe(25 * HOUR);
    }
  });

  test('believes an hour also on the long day, of which 25 h are the whole', () => {
    const now = 5;
    const longDay = wall('2026-11-01T07:00:00Z') - now;
    const long = endOfDay({ now, wallOffset: longDay });
    expect(engineEnd(long, { now, wallOffset: longDay })).toBe(now + 25 * HOUR);
    expect(engineEnd(long, { now, wallOffset: longDay - HOUR })).toBe(now + 26 * HOUR);
    expect(engineEnd(long, { now, wallOffset: longDay - 365 * 24 * HOUR })).toBe(now + 25 * HOUR);
  });

  test('does not follow a wall clock that moved by less than a second', () => {
    expect(engineEnd(begun, { now: HOUR, wallOffset: offset - 999 })).toBe(midnight);
    expect(engineEnd(begun, { now: HOUR, wallOffset: offset - 1_000 })).toBe(midnight + 1_000);
  });

  test('is the next midnight for a day that begins while the wall clock is moments behind the end of the last', () => {
    const at = { now: midnight, wallOffset: offset - 999 };
    expect(nextPacificMidnight(at.now + at.wallOffset)).toBe(begun.wall);
    expect(endOfDay(at, begun).wall).toBe(begun.wall + 24 * HOUR);
    // An hour behind is no such moment: it is the same day again.
    expect(endOfDay({ now: midnight, wallOffset: offset - HOUR }, begun).wall).toBe(begun.wall);
  });

  test('comes within 25 h when the wall clock shows no time at all, or a stored midnight is far away', () => {
    expect(endOfDay({ now: HOUR, wallOffset: -HOUR - 1 }).engine).toBe(26 * HOUR);
    expect(endAt(offset + 366 * 24 * HOUR, { now: HOUR, wallOffset: offset }).engine).toBe(26 * HOUR);
  });

  test('wherever a wall clock goes, comes neither before it was planned nor later than what is shown or 25 h allow', () => {
    const start = fc.integer({ min: Date.UTC(2026, 0), max: Date.UTC(2028, 0) });
    const shift = fc.oneof(
      fc.integer({ min: -2 * HOUR, max: 2 * HOUR }),
      fc.integer({ min: -1e12, max: 1e12 }),
      fc.constantFrom(-HOUR, HOUR, 0),
    );
    const property = fc.property(start, fc.nat(1e9), shift, fc.nat(1e9), (shown, now, by, later) => {
      const from = { now, wallOffset: shown - now };
      const end = endOfDay(from);
      const at = { now: now + later, wallOffset: from.wallOffset + by };
      const ends = engineEnd(end, at);
      const planned = now + naiveMidnight(shown) - shown;
      expect(ends).toBeGreaterThanOrEqual(planned);
      expect(ends).toBeLessThanOrEqual(
        Math.max(planned, now + 25 * HOUR, planned - by > planned + 2 * HOUR ? 0 : planned - by),
      );
      // Set back by up to two hours: to the millisecond when clocks show midnight.
      if (by <= -1_000 && by >= -2 * HOUR) expect(ends + at.wallOffset).toBe(end.wall);
      // And forth again: as if nothing had been.
      expect(engineEnd(end, { now: at.now, wallOffset: from.wallOffset })).toBe(planned);
    });
    fc.assert(property, { numRuns: 2_000 });
  });
});
