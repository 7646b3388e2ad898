import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SlidingMinute } from '../../../src/engine/quota/sliding-minute.ts';

const MINUTE = 60_000;
const one = { requests: 1, tokens: 0 };

describe('a sliding minute', () => {
  test('lets a booking leave exactly 60,000 ms after it was made', () => {
    const minute = new SlidingMinute();
    minute.book(2, 70, 1_000);
    expect([minute.requests(60_999), minute.tokens(60_999)]).toEqual([2, 70]);
    expect([minute.requests(61_000), minute.tokens(61_000)]).toEqual([0, 0]);
  });

  test('keeps a booking 60 s from when it reached Gemini, never beyond what came after it, and never shorter', () => {
    const minute = new SlidingMinute();
    minute.book(1, 0, 1_000);
    minute.arrive(1_000, 1_040, 2_000);
    expect([minute.requests(61_039), minute.requests(61_040)]).toEqual([1, 0]);
    minute.book(1, 0, 70_000);
    minute.book(1, 0, 70_200);
    minute.arrive(70_000, 75_000, 75_000);
    minute.arrive(70_200, 60_000, 75_000);
    expect([minute.requests(130_199), minute.requests(130_200)]).toEqual([2, 0]);
    // One that has left is not brought back.
    minute.arrive(70_000, 140_000, 140_000);
    expect(minute.requests(140_000)).toBe(0);
  });

  test('counts bookings within 100 ms together, until the last of them is 60 s old', () => {
    const minute = new SlidingMinute();
    minute.book(1, 5, 0);
    minute.book(1, 5, 99);
    minute.book(1, 5, 100);
    expect(minute.requests(60_098)).toBe(3);
    expect(minute.requests(60_099)).toBe(1);
    expect(minute.requests(60_100)).toBe(0);
  });

  test('holds at most 601 entries, however much is booked', () => {
    const minute = new SlidingMinute();
    const end = 3 * MINUTE;
    for (let now = 0; now <= end; now += 3) minute.book(1, 1, now);
    const moments = new Set<number>();
    const count = minute.requests(end);
    for (let limit = 1; limit <= count; limit++) moments.add(minute.readyAt({ requests: limit }, one, end));
    expect(moments.size).toBeLessThanOrEqual(601);
    expect(moments.size).toBeGreaterThan(570);
    expect(count).toBeLessThanOrEqual(20_034);
  });

  test('holds at most 601 entries also when it took in another, and finds there what either booked', () => {
    const [minute, other] = [new SlidingMinute(), new SlidingMinute()];
    for (let now = 0; now < MINUTE; now += 100) {
      minute.book(1, 0, now + 50);
      other.book(1, 0, now);
      other.book(1, 0, now + 90);
    }
    minute.merge(other, MINUTE - 1);
    const moments = new Set<number>();
    for (let limit = 1; limit <= 1_800; limit++) {
      moments.add(minute.readyAt({ requests: limit }, one, MINUTE - 1));
    }
    expect(moments.size).toBeLessThanOrEqual(601);
    expect(moments.size).toBeGreaterThan(570);
    for (let now = 0; now < MINUTE; now += 100) {
      for (const time of [now, now + 50, now + 90]) minute.correct(time, -1, 0, MINUTE - 1);
    }
    expect(minute.requests(MINUTE - 1)).toBe(0);
  });

  test('finds a booking that is in an entry which joined a younger one', () => {
    const [minute, other] = [new SlidingMinute(), new SlidingMinute()];
    minute.book(1, 0, 1_000);
    other.book(1, 0, 920);
    other.book(1, 0, 1_010);
    minute.merge(other, 1_010);
    minute.correct(920, -1, 0, 2_000);
    expect(minute.requests(2_000)).toBe(2);
    expect(minute.requests(61_009)).toBe(2);
    expect(minute.requests(61_010)).toBe(0);
  });

  test('never has room where a limit is 0, or for more requests than a limit allows', () => {
    const minute = new SlidingMinute();
    expect(minute.readyAt({ requests: 0 }, one, 0)).toBe(Infinity);
    expect(minute.readyAt({ tokens: 0 }, one, 0)).toBe(Infinity);
    expect(minute.readyAt({ requests: 2 }, { requests: 3, tokens: 0 }, 0)).toBe(Infinity);
  });

  test('has room for more tokens than the limit once no others are counted', () => {
    const minute = new SlidingMinute();
    const large = { requests: 1, tokens: 101 };
    expect(minute.readyAt({ tokens: 100 }, large, 0)).toBe(0);
    minute.book(1, 1, 0);
    minute.book(1, 0, 500);
    expect(minute.readyAt({ tokens: 100 }, large, 600)).toBe(MINUTE);
  });

  test('has room once enough of the oldest have left, for requests and tokens both', () => {
    const minute = new SlidingMinute();
    minute.book(1, 50, 0);
    minute.book(1, 10, 1_000);
    minute.book(1, 40, 2_000);
    expect(minute.readyAt({ requests: 3 }, one, 3_000)).toBe(MINUTE);
    expect(minute.readyAt({ requests: 2 }, one, 3_000)).toBe(MINUTE + 1_000);
    expect(minute.readyAt({ requests: 3, tokens: 100 }, { requests: 1, tokens: 60 }, 3_000)).toBe(MINUTE + 1_000);
    expect(minute.readyAt({ requests: 9, tokens: 100 }, { requests: 1, tokens: 0 }, 3_000)).toBe(0);
  });

  test('says when its oldest entry leaves and when its newest was booked', () => {
    const minute = new SlidingMinute();
    expect(minute.oldestLeaves(7)).toBe(7);
    expect(minute.newest(7)).toBeUndefined();
    minute.book(1, 0, 10);
    minute.book(1, 0, 500);
    expect(minute.oldestLeaves(600)).toBe(60_010);
    expect(minute.newest(600)).toBe(500);
    expect(minute.oldestLeaves(60_010)).toBe(60_500);
  });

  test('never counts less than nothing, and corrects nothing that has left or was never booked', () => {
    const minute = new SlidingMinute();
    minute.book(1, 10, 1_000);
    minute.correct(1_000, -5, -50, 2_000);
    expect([minute.requests(2_000), minute.tokens(2_000)]).toEqual([0, 0]);
    minute.correct(999, 1, 1, 2_000);
    minute.correct(1_001, 1, 1, 2_000);
    minute.correct(1_000, 1, 1, 61_000);
    expect([minute.requests(61_000), minute.tokens(61_000)]).toEqual([0, 0]);
  });

  test('is exact on a clock that counts in parts of a millisecond', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 2e12, noNaN: true }), (now) => {
        const minute = new SlidingMinute();
        minute.book(1, 0, now);
        const ready = minute.readyAt({ requests: 1 }, one, now);
        expect(ready).toBe(now + MINUTE);
        expect(minute.readyAt({ requests: 1 }, one, ready)).toBe(0);
      }),
    );
  });
});

/** Everything booked, with what became of it. */
interface Event {
  time: number;
  requests: number;
  tokens: number;
  succeeded: number;
}

type Step =
  | { do: 'book'; after: number; requests: number; tokens: number }
  | { do: 'correct'; after: number; which: number; requests: number; tokens: number }
  | { do: 'succeed'; after: number; which: number };

function steps(gap: fc.Arbitrary<number>): fc.Arbitrary<Step[]> {
  const after = fc.oneof(
    { weight: 6, arbitrary: gap },
    { weight: 1, arbitrary: fc.constantFrom(59_900, 60_000, 90_000) },
  );
  const requests = fc.integer({ min: -2, max: 3 });
  const tokens = fc.integer({ min: -100, max: 100 });
  return fc.array(
    fc.oneof(
      { weight: 3, arbitrary: fc.record({ do: fc.constant('book'), after, requests: fc.nat(3), tokens: fc.nat(100) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('correct'), after, which: fc.nat(), requests, tokens }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('succeed'), after, which: fc.nat() }) },
    ) as fc.Arbitrary<Step>,
    { minLength: 1, maxLength: 80 },
  );
}

/** Does the steps to a window and to a list, and looks after each. */
function replay(
  all: readonly Step[],
  start: number,
  look: (minute: SlidingMinute, events: Event[], now: number) => void,
): void {
  const minute = new SlidingMinute();
  const events: Event[] = [];
  let now = start;
  for (const step of all) {
    now += step.after;
    if (step.do === 'book') {
      minute.book(step.requests, step.tokens, now);
      const last = events.at(-1);
      // What is booked at the same time cannot be told apart.
      if (last?.time === now) {
        last.requests += step.requests;
        last.tokens += step.tokens;
      } else {
        events.push({ time: now, requests: step.requests, tokens: step.tokens, succeeded: 0 });
      }
    } else if (events.length > 0) {
      const event = events[step.which % events.length]!;
      if (step.do === 'correct') {
        minute.correct(event.time, step.requests, step.tokens, now);
        event.requests = Math.max(0, event.requests + step.requests);
        event.tokens = Math.max(0, event.tokens + step.tokens);
      } else {
        minute.succeed(event.time, 1, 7, now);
        event.succeeded++;
      }
    }
    look(minute, events, now);
  }
}

const sum = (events: readonly Event[], what: (event: Event) => number): number =>
  events.reduce((total, event) => total + what(event), 0);

describe('against a list of all that was booked, a sliding minute', () => {
  test('counts the same, and says the moment at which something fits', () => {
    const limits = fc.record({
      requests: fc.option(fc.nat(12), { nil: undefined }),
      tokens: fc.option(fc.nat(400), { nil: undefined }),
    });
    const wanted = fc.record({ requests: fc.nat(4), tokens: fc.nat(450) });
    const property = fc.property(
      steps(fc.nat(80).map((n) => n * 100)),
      fc.nat(1e6),
      limits,
      wanted,
      (all, start, limit, want) => {
        replay(all, start * 100, (minute, events, now) => {
          const left = events.filter(({ time }) => time > now - MINUTE);
          expect(minute.requests(now)).toBe(sum(left, (event) => event.requests));
          expect(minute.tokens(now)).toBe(sum(left, (event) => event.tokens));
          expect(minute.succeededRequests(now)).toBe(sum(left, (event) => event.succeeded));
          expect(minute.succeededTokens(now)).toBe(7 * sum(left, (event) => event.succeeded));
          expect(minute.oldestLeaves(now)).toBe((left[0]?.time ?? now - MINUTE) + MINUTE);
          expect(minute.newest(now)).toBe(left.at(-1)?.time);
          const { requests: most = Infinity, tokens: mostTokens = Infinity } = limit;
          const fits = (at: number): boolean => {
            const counted = events.filter(({ time }) => time > at - MINUTE);
            return (
              sum(counted, (event) => event.requests) + want.requests <= most &&
              sum(counted, (event) => event.tokens) + Math.min(want.tokens, mostTokens) <= mostTokens
            );
          };
          const never = most === 0 || mostTokens === 0 || want.requests > most;
          const moments = [now, ...left.map(({ time }) => time + MINUTE)];
          const first = moments.find(fits)!;
          expect(minute.readyAt(limit, want, now)).toBe(never ? Infinity : first === now ? 0 : first);
        });
      },
    );
    fc.assert(property, { numRuns: 500 });
  });

  test('counts at any times at least what the last 60 s have, and at most what the last 60.1 s have', () => {
    // Bookings alone, and corrections upward, since a correction downward may find less in its own entry than in the list.
    const property = fc.property(steps(fc.integer({ min: 0, max: 250 })), fc.nat(1e6), (all, start) => {
      const upward = all.map((step) =>
        step.do === 'correct' ? { ...step, requests: Math.abs(step.requests), tokens: Math.abs(step.tokens) } : step,
      );
      // A correction of a booking that is 60 s old finds its entry while that is there.
      replay(upward, start, (minute, events, now) => {
        const least = sum(
          events.filter(({ time }) => time > now - MINUTE),
          (event) => event.requests,
        );
        const most = sum(
          events.filter(({ time }) => time > now - MINUTE - 100),
          (event) => event.requests,
        );
        expect(minute.requests(now)).toBeGreaterThanOrEqual(least);
        expect(minute.requests(now)).toBeLessThanOrEqual(most);
      });
    });
    fc.assert(property, { numRuns: 500 });
  });

  test('takes in another as if all had been booked in one, nothing early and nothing 200 ms late', () => {
    const times = fc.array(fc.nat(70_000), { maxLength: 60 });
    const property = fc.property(times, times, fc.nat(130_000), (ours, theirs, after) => {
      const minute = new SlidingMinute();
      const other = new SlidingMinute();
      for (const time of ours.toSorted((a, b) => a - b)) minute.book(1, 10, time);
      for (const time of theirs.toSorted((a, b) => a - b)) other.book(1, 10, time);
      minute.merge(other, 70_000);
      const now = 70_000 + after;
      const all = [...ours, ...theirs];
      const count = minute.requests(now);
      expect(count).toBeGreaterThanOrEqual(all.filter((time) => time > now - MINUTE).length);
      expect(count).toBeLessThanOrEqual(all.filter((time) => time > now - MINUTE - 200).length);
      expect(minute.tokens(now)).toBe(10 * count);
      // What either booked can still be corrected.
      for (const time of all.filter((each) => each > now - MINUTE)) minute.correct(time, -1, -10, now);
      expect(all.filter((time) => time > now - MINUTE - 200).length).toBeGreaterThanOrEqual(minute.requests(now));
      expect(minute.requests(now)).toBeLessThanOrEqual(count);
    });
    fc.assert(property, { numRuns: 500 });
  });

  test('lets in no more than the limits in any 60 s, whoever asks whenever', () => {
    const asks = fc.array(fc.record({ after: fc.nat(3_000), tokens: fc.nat(60), waits: fc.boolean() }), {
      maxLength: 150,
    });
    const property = fc.property(
      asks,
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 60, max: 300 }),
      (all, most, mostTokens) => {
        const minute = new SlidingMinute();
        const admitted: { time: number; tokens: number }[] = [];
        let now = 0.3;
        for (const { after, tokens, waits } of all) {
          now += after / 7;
          const ready = minute.readyAt({ requests: most, tokens: mostTokens }, { requests: 1, tokens }, now);
          if (ready > 0 && !waits) continue;
          now = Math.max(now, ready);
          minute.book(1, tokens, now);
          admitted.push({ time: now, tokens });
        }
        for (const { time } of admitted) {
          const within = admitted.filter((each) => each.time <= time && each.time + MINUTE > time);
          expect(within.length).toBeLessThanOrEqual(most);
          expect(within.reduce((total, each) => total + each.tokens, 0)).toBeLessThanOrEqual(mostTokens);
        }
      },
    );
    fc.assert(property, { numRuns: 500 });
  });
});
