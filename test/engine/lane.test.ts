import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Lane, type Turn } from '../../src/engine/lane.ts';
import { NaiveLane } from './naive-lane.ts';

const SLOTS = 12;
const ordinals = Array.from({ length: 2_000 }, (_, slot) => slot);

function laneOf(weights: readonly number[]): Lane {
  const lane = new Lane(1, '', ordinals, 4);
  for (const [slot, weight] of weights.entries()) lane.join(slot, 0, weight);
  return lane;
}

function next(lane: Lane, skip?: (slot: number) => boolean): number {
  const slot = lane.peek(skip);
  lane.take(slot, true);
  return slot;
}

function picks(lane: Lane, count: number): number[] {
  return Array.from({ length: count }, () => next(lane));
}

function shares(picked: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const slot of picked) counts.set(slot, (counts.get(slot) ?? 0) + 1);
  return counts;
}

describe('the order of turns', () => {
  test('of 20 equal keys every round of 20 picks is the same permutation', () => {
    const lane = laneOf(new Array(20).fill(1));
    const first = picks(lane, 20);
    expect(first.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, slot) => slot));
    for (let round = 0; round < 200; round++) expect(picks(lane, 20)).toEqual(first);
  });

  test('keys of weight 2, 1 and 0.5 get their shares of 3,500 picks within 1 %', () => {
    const counts = shares(picks(laneOf([2, 1, 0.5]), 3_500));
    expect(Math.abs(counts.get(0)! - 2_000)).toBeLessThanOrEqual(20);
    expect(Math.abs(counts.get(1)! - 1_000)).toBeLessThanOrEqual(10);
    expect(Math.abs(counts.get(2)! - 500)).toBeLessThanOrEqual(5);
  });

  test('shares are spread evenly: no key of weight 2 comes three times in a row beside others', () => {
    const picked = picks(laneOf([2, 1, 1]), 400);
    for (let i = 2; i < picked.length; i++) {
      expect(picked[i] === picked[i - 1] && picked[i] === picked[i - 2]).toBe(false);
    }
  });

  test('keys that stay keep their shares within 1 % while others leave and return at random', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ slot: fc.integer({ min: 3, max: 8 }), after: fc.nat(20) }), { minLength: 50 }),
        (moves) => {
          const weights = [2, 1, 0.5, 1, 2, 0.5, 1, 2, 0.5];
          const lane = laneOf(weights);
          const counts = [0, 0, 0];
          let total = 0;
          const run = (count: number): void => {
            for (let i = 0; i < count; i++) {
              const slot = next(lane);
              if (slot < 3) {
                counts[slot]!++;
                total++;
              }
            }
          };
          for (let round = 0; total < 3_500; round++) {
            const { slot, after } = moves[round % moves.length]!;
            if (lane.has(slot)) lane.leave(slot);
            else lane.join(slot, 0, weights[slot]!);
            run(after + 1);
          }
          for (const [slot, count] of counts.entries()) {
            const wanted = (total * weights[slot]!) / 3.5;
            expect(Math.abs(count - wanted)).toBeLessThanOrEqual(wanted * 0.01 + 1);
          }
        },
      ),
      { numRuns: 50 },
    );
  });

  test('a new key starts where the others are: it neither floods nor starves', () => {
    const lane = laneOf(new Array(10).fill(1));
    picks(lane, 10_000);
    lane.join(10, 0, 1);
    const counts = shares(picks(lane, 1_100));
    for (const count of counts.values()) expect(Math.abs(count - 100)).toBeLessThanOrEqual(1);
  });

  test('a key back from a long rest does not catch up on what it missed', () => {
    const lane = laneOf([1, 1, 1, 1]);
    picks(lane, 40);
    lane.leave(2);
    picks(lane, 3_000);
    lane.join(2, 0, 1);
    expect(shares(picks(lane, 400)).get(2)).toBeLessThanOrEqual(101);
  });

  test('a key does not lose its debt by leaving and returning', () => {
    const lane = laneOf([0.01, 1, 1]);
    for (let slot = next(lane); slot !== 0; slot = next(lane));
    lane.leave(0);
    lane.join(0, 0, 0.01);
    expect(picks(lane, 150)).not.toContain(0);
  });

  test('a change of weight rescales the debt: ten times the weight waits a tenth of the turns', () => {
    const lane = laneOf([0.01, 1]);
    for (let slot = next(lane); slot !== 0; slot = next(lane));
    lane.reweigh(0, 0.1);
    const waited = picks(lane, 50).indexOf(0);
    expect(waited).toBeGreaterThanOrEqual(8);
    expect(waited).toBeLessThanOrEqual(11);
  });

  test('a key that every call excludes does not let a newcomer take all calls', () => {
    const lane = laneOf(new Array(5).fill(1));
    const skip = (slot: number): boolean => slot === 0;
    for (let i = 0; i < 4_000; i++) next(lane, skip);
    lane.join(5, 0, 1);
    const counts = shares(Array.from({ length: 500 }, () => next(lane, skip)));
    for (const count of counts.values()) expect(Math.abs(count - 100)).toBeLessThanOrEqual(3);
  });

  test('keys that are asked for by name do not move the others up or back', () => {
    const lane = laneOf(new Array(5).fill(1));
    for (let i = 0; i < 1_000; i++) lane.take(3, false);
    lane.leave(1);
    lane.join(1, 0, 1);
    lane.join(5, 0, 1);
    const counts = shares(picks(lane, 500));
    expect(counts.get(3)).toBeUndefined();
    for (const count of counts.values()) expect(count).toBe(100);
  });

  test('a lower tier is served first, and a higher one only while none of it is in', () => {
    const lane = new Lane(1, '', ordinals, 4);
    lane.join(0, 1, 1);
    lane.join(1, 1, 1);
    lane.join(2, 0, 1);
    expect(picks(lane, 3)).toEqual([2, 2, 2]);
    lane.leave(2);
    expect(picks(lane, 4)).toEqual([0, 1, 0, 1]);
    lane.join(2, 0, 1);
    expect(picks(lane, 2)).toEqual([2, 2]);
  });

  test('keeps its shares exact after 10^12 turns', () => {
    const lane = new Lane(1, '', ordinals, 4);
    lane.virtualTimes[0] = 1e12;
    for (const [slot, weight] of [1_000, 500, 250].entries()) lane.restore(slot, 0, 1e12 + slot / 1_000, slot, weight);
    for (const [slot, weight] of [1_000, 500, 250].entries()) lane.join(slot, 0, weight);
    lane.take(lane.peek(), true);
    lane.rebase();
    expect(lane.virtualTimes[0]).toBeLessThan(1);
    const counts = shares(picks(lane, 3_500));
    for (const [slot, wanted] of [2_000, 1_000, 500].entries()) {
      expect(Math.abs(counts.get(slot)! - wanted)).toBeLessThanOrEqual(wanted / 100);
    }
  });
});

type Step =
  | { do: 'join'; slot: number; tier: number; weight: number }
  | { do: 'leave' | 'forget'; slot: number }
  | { do: 'reweigh'; slot: number; weight: number }
  | { do: 'peek' | 'byTurn'; skipped: number[] }
  | { do: 'byName' | 'first'; slots: number[] }
  | { do: 'takeAndUntake'; count: number };

const slot = fc.nat(SLOTS - 1);
const weight = fc.constantFrom(0.001, 0.25, 0.5, 1, 1, 2, 4, 1_000);
const some = fc.uniqueArray(slot, { maxLength: 6 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('join' as const), slot, tier: fc.nat(2), weight }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), slot }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const), slot }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('reweigh' as const), slot, weight }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('peek' as const), skipped: some }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('byTurn' as const), skipped: some }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('byName' as const), slots: some }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('first' as const), slots: some }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('takeAndUntake' as const), count: fc.nat(8) }) },
);

/** Does the same to both, and says the same of both. */
function apply(lane: Lane, naive: NaiveLane, each: Step): void {
  if (each.do === 'join') {
    // A key that changes its tier leaves first, as Engine.changeKey has it.
    const { isIn, tier } = naive.entries.get(each.slot) ?? {};
    if (isIn && tier !== each.tier) {
      lane.leave(each.slot);
      naive.leave(each.slot);
    }
    lane.join(each.slot, each.tier, each.weight);
    naive.join(each.slot, each.tier, each.weight);
  } else if (each.do === 'leave' || each.do === 'forget') {
    lane[each.do](each.slot);
    naive[each.do](each.slot);
  } else if (each.do === 'reweigh') {
    if (!naive.entries.has(each.slot)) return;
    lane.reweigh(each.slot, each.weight);
    naive.reweigh(each.slot, each.weight);
  } else if (each.do === 'peek' || each.do === 'byTurn') {
    const skip = (slot: number): boolean => each.skipped.includes(slot);
    const wanted = naive.peek(skip);
    expect(lane.peek(each.skipped.length > 0 ? skip : undefined)).toBe(wanted);
    if (each.do === 'peek' || wanted < 0) return;
    lane.take(wanted, true);
    naive.take(wanted, true);
  } else if (each.do === 'byName' || each.do === 'first') {
    const wanted = naive.peek((slot) => !each.slots.includes(slot));
    expect(lane.first(each.slots)).toBe(wanted);
    if (each.do === 'first' || wanted < 0) return;
    lane.take(wanted, false);
    naive.take(wanted, false);
  } else if ('count' in each) {
    const saved = naive.save();
    const turns: Turn[] = [];
    for (let i = 0; i < each.count; i++) {
      const wanted = naive.peek(() => false);
      expect(lane.peek()).toBe(wanted);
      if (wanted < 0) break;
      turns.push(lane.take(wanted, true));
      naive.take(wanted, true);
    }
    for (const turn of turns.reverse()) lane.untake(turn);
    naive.load(saved);
  }
}

/** The whole line, read without taking a turn. */
function line(lane: Lane): number[] {
  const slots: number[] = [];
  for (let slot = lane.peek(); slot >= 0; slot = lane.peek((each) => slots.includes(each))) slots.push(slot);
  return slots;
}

test('a lane does whatever a naive list of {pass, last pick, ordinal} does', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 120 }), (steps) => {
      const lane = new Lane(1, '', ordinals, 1);
      const naive = new NaiveLane();
      for (const each of steps) {
        apply(lane, naive, each);
        expect(lane.size).toBe(naive.line().length);
      }
      expect(line(lane)).toEqual(naive.line());
      expect([...lane.slots()].toSorted((a, b) => a - b)).toEqual(naive.line().toSorted((a, b) => a - b));
      for (const [slot, { pass, lastPick }] of naive.entries) {
        expect(lane.pass(slot)).toBe(pass);
        expect(lane.lastPick(slot)).toBe(lastPick);
      }
    }),
    { numRuns: 1_000 },
  );
});

test('a lane restored from what it told of each key, in or not, goes on in the same order', () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 60 }),
      fc.array(fc.boolean(), { minLength: SLOTS, maxLength: SLOTS }),
      (steps, inBefore) => {
        const lane = new Lane(1, '', ordinals, 1);
        const naive = new NaiveLane();
        for (const each of steps) apply(lane, naive, each);
        const again = new Lane(1, '', ordinals, 1);
        again.virtualTimes.set(lane.virtualTimes);
        again.picks = lane.picks;
        // Some keys are in before their turn is known, as those of a project whose rests are restored.
        for (const [slot, { tier, weight, isIn }] of naive.entries)
          if (isIn && inBefore[slot]) again.join(slot, tier, weight);
        for (const [slot, { tier, weight }] of naive.entries) {
          again.restore(slot, tier, lane.pass(slot), lane.lastPick(slot), weight);
        }
        const late = [...naive.entries].filter(([slot, { isIn }]) => isIn && !inBefore[slot]);
        for (const [slot, { tier, weight }] of late) {
          again.join(slot, tier, weight);
          lane.leave(slot);
          lane.join(slot, tier, weight);
        }
        const count = 3 * lane.size;
        expect(picks(again, count)).toEqual(picks(lane, count));
      },
    ),
    { numRuns: 300 },
  );
});

test('counting passes anew changes neither the order nor any share', () => {
  const weights = fc.array(fc.constantFrom(0.5, 1, 2, 4), { minLength: 1, maxLength: 10 });
  fc.assert(
    fc.property(weights, fc.nat(50), fc.uniqueArray(slot, { maxLength: 4 }), (weights, before, away) => {
      const near = laneOf(weights);
      const far = laneOf(weights);
      picks(near, before);
      picks(far, before);
      // Whole turns further: exact, so both have the same order.
      const ahead = 2 ** 31;
      for (let slot = 0; slot < weights.length; slot++) {
        far.restore(slot, 0, near.pass(slot) + ahead, near.lastPick(slot), weights[slot]!);
      }
      far.virtualTimes[0] = near.virtualTimes[0]! + ahead;
      for (const slot of away) {
        near.leave(slot);
        far.leave(slot);
      }
      if (near.size === 0) return;
      expect(next(far)).toBe(next(near));
      far.rebase();
      expect(far.virtualTimes[0]).toBeLessThan(ahead);
      for (const slot of away.filter((each) => each < weights.length)) {
        near.join(slot, 0, weights[slot]!);
        far.join(slot, 0, weights[slot]!);
      }
      expect(picks(far, 100)).toEqual(picks(near, 100));
    }),
    { numRuns: 200 },
  );
});
