import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Lane, type Turn } from '../../src/engine/lane.ts';
import { NaiveLane, type NaiveTurn } from './naive-lane.ts';

const SLOTS = 12;
/** Some are beyond what a lane or tier first sets aside. */
const GROUPS = [0, 1, 20, 50];
const ordinals = Array.from({ length: 2_000 }, (_, slot) => slot);

/** Each key is a group of its own unless `groupOf` says otherwise. */
function laneOf(weights: readonly number[], groupOf = (slot: number): number => slot): Lane {
  const lane = new Lane(1, '', ordinals, 4);
  for (const [slot, weight] of weights.entries()) lane.join(slot, 0, weight, groupOf(slot));
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
            else lane.join(slot, 0, weights[slot]!, slot);
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
    lane.join(10, 0, 1, 10);
    const counts = shares(picks(lane, 1_100));
    for (const count of counts.values()) expect(Math.abs(count - 100)).toBeLessThanOrEqual(1);
  });

  test('a key back from a long rest does not catch up on what it missed', () => {
    const lane = laneOf([1, 1, 1, 1]);
    picks(lane, 40);
    lane.leave(2);
    picks(lane, 3_000);
    lane.join(2, 0, 1, 2);
    expect(shares(picks(lane, 400)).get(2)).toBeLessThanOrEqual(101);
  });

  test('a key does not lose its debt by leaving and returning', () => {
    const lane = laneOf([0.01, 1, 1]);
    for (let slot = next(lane); slot !== 0; slot = next(lane));
    lane.leave(0);
    lane.join(0, 0, 0.01, 0);
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
    lane.join(5, 0, 1, 5);
    const counts = shares(Array.from({ length: 500 }, () => next(lane, skip)));
    for (const count of counts.values()) expect(Math.abs(count - 100)).toBeLessThanOrEqual(3);
  });

  test('keys that are asked for by name do not move the others up or back', () => {
    const lane = laneOf(new Array(5).fill(1));
    for (let i = 0; i < 1_000; i++) lane.take(3, false);
    lane.leave(1);
    lane.join(1, 0, 1, 1);
    lane.join(5, 0, 1, 5);
    const counts = shares(picks(lane, 500));
    expect(counts.get(3)).toBeUndefined();
    for (const count of counts.values()) expect(count).toBe(100);
  });

  test('a lower tier is served first, and a higher one only while none of it is in', () => {
    const lane = new Lane(1, '', ordinals, 4);
    lane.join(0, 1, 1, 0);
    lane.join(1, 1, 1, 1);
    lane.join(2, 0, 1, 2);
    expect(picks(lane, 3)).toEqual([2, 2, 2]);
    lane.leave(2);
    expect(picks(lane, 4)).toEqual([0, 1, 0, 1]);
    lane.join(2, 0, 1, 2);
    expect(picks(lane, 2)).toEqual([2, 2]);
  });

  test('keeps its shares exact after 10^12 turns', () => {
    const lane = new Lane(1, '', ordinals, 4);
    lane.virtualTimes[0] = 1e12;
    for (const [slot, weight] of [1_000, 500, 250].entries()) lane.restore(slot, 0, 1e12 + slot / 1_000, slot, weight);
    for (const [slot, weight] of [1_000, 500, 250].entries()) lane.join(slot, 0, weight, slot);
    lane.take(lane.peek(), true);
    lane.rebase();
    expect(lane.virtualTimes[0]).toBeLessThan(1);
    const counts = shares(picks(lane, 3_500));
    for (const [slot, wanted] of [2_000, 1_000, 500].entries()) {
      expect(Math.abs(counts.get(slot)! - wanted)).toBeLessThanOrEqual(wanted / 100);
    }
  });
});

describe('groups', () => {
  const inPairs = (slot: number): number => slot >> 1;

  test('the keys of a closed group are in, but no answer names them until it opens', () => {
    const lane = laneOf([1, 1, 1, 1, 1], inPairs);
    lane.close(0);
    lane.close(1);
    expect(lane.isClosed(1)).toBe(true);
    expect([0, 1, 2, 3, 4].map((slot) => [lane.has(slot), lane.isIn(slot)])).toEqual([
      [false, true],
      [false, true],
      [false, true],
      [false, true],
      [true, true],
    ]);
    expect([lane.size, [...lane.slots()], lane.first([0, 1, 2, 3])]).toEqual([1, [4], -1]);
    expect(lane.peekIn(0)).toBe(-1);
    expect(picks(lane, 3)).toEqual([4, 4, 4]);
    lane.open(1);
    expect(lane.isClosed(1)).toBe(false);
    expect([lane.size, [...lane.slots()].toSorted(), lane.first([0, 1, 3, 2])]).toEqual([3, [2, 3, 4], 2]);
    expect(picks(lane, 4)).toEqual([2, 3, 4, 2]);
  });

  test('a group that was closed before its first key joined is closed', () => {
    const lane = laneOf([1]);
    lane.close(7);
    lane.join(1, 0, 1, 7);
    lane.join(2, 1, 1, 7);
    expect([lane.size, lane.has(1), lane.isIn(1), lane.isIn(2)]).toEqual([1, false, true, true]);
    lane.open(7);
    expect([lane.size, lane.has(1), lane.has(2)]).toEqual([3, true, true]);
  });

  test('a key that leaves may join again with another group, closed or not', () => {
    const lane = laneOf([1, 1]);
    expect([lane.group(0), lane.group(9)]).toEqual([0, -1]);
    lane.close(5);
    lane.leave(0);
    lane.join(0, 0, 1, 5);
    expect([lane.group(0), lane.has(0)]).toEqual([5, false]);
    lane.join(0, 0, 1, 0);
    expect(lane.group(0)).toBe(5);
    lane.leave(0);
    expect(lane.group(0)).toBe(5);
    lane.join(0, 0, 1, 1);
    expect([lane.group(0), lane.has(0)]).toEqual([1, true]);
    lane.forget(0);
    expect(lane.group(0)).toBe(-1);
  });

  test('a group that was closed for long does not catch up on what it missed', () => {
    const lane = laneOf(new Array(10).fill(1), inPairs);
    picks(lane, 50);
    lane.close(0);
    picks(lane, 3_000);
    lane.open(0);
    const counts = shares(picks(lane, 1_000));
    for (const count of counts.values()) expect(Math.abs(count - 100)).toBeLessThanOrEqual(1);
  });

  test('a key whose group closes and opens does not lose its debt, nor does one whose weight changes meanwhile', () => {
    const lane = laneOf([0.01, 0.01, 1, 1], inPairs);
    for (const seen = new Set<number>(); !seen.has(0) || !seen.has(1); seen.add(next(lane)));
    lane.close(0);
    lane.reweigh(1, 0.02);
    lane.open(0);
    const picked = picks(lane, 150);
    expect(picked).not.toContain(0);
    expect(picked.indexOf(1)).toBeGreaterThan(90);
  });

  test('to open an open group, or close a closed one, changes nothing', () => {
    const lane = laneOf([1, 0.25, 1, 1], inPairs);
    const twice = laneOf([1, 0.25, 1, 1], inPairs);
    for (const each of [lane, twice]) {
      picks(each, 9);
      each.close(0);
      picks(each, 20);
      if (each === twice) each.close(0);
      each.open(0);
    }
    // Kept from its turn, key 0 stands further and further behind V: a new floor would show.
    const skip = (slot: number): boolean => slot === 0;
    for (const each of [lane, twice]) for (let i = 0; i < 20; i++) next(each, skip);
    twice.open(0);
    twice.open(3);
    expect([twice.size, twice.pass(0)]).toEqual([4, lane.pass(0)]);
    expect(picks(twice, 40)).toEqual(picks(lane, 40));
  });

  test('the next key of a group is looked for only in the lowest tier that has a key on offer', () => {
    const lane = new Lane(1, '', ordinals, 4);
    for (const [slot, tier, group] of [
      [0, 1, 0],
      [1, 1, 0],
      [2, 1, 1],
      [3, 0, 1],
    ]) {
      lane.join(slot!, tier!, 1, group!);
    }
    expect([lane.peekIn(0), lane.peekIn(1), lane.peekIn(9)]).toEqual([-1, 3, -1]);
    // To skip its only key there does not lead to the next tier.
    expect(lane.peekIn(1, () => true)).toBe(-1);
    lane.close(1);
    expect([lane.peekIn(0), lane.peekIn(0, (slot) => slot === 0), lane.peekIn(1)]).toEqual([0, 1, -1]);
  });

  test('a group of thousands is closed, opened and passed over at the cost of a few comparisons', () => {
    let compared = 0;
    // Of keys that nobody took all comparisons come down to their ordinals.
    const counting = new Proxy(ordinals, {
      get: (target, name) => {
        if (name !== 'length') compared++;
        return Reflect.get(target, name);
      },
    });
    const lane = new Lane(1, '', counting, 4);
    for (let slot = 0; slot < 2_000; slot++) lane.join(slot, 0, 1, slot < 1_500 ? 0 : slot);
    expect(compared).toBeGreaterThan(2_000);
    compared = 0;
    lane.close(0);
    expect([lane.size, lane.peek()]).toEqual([500, 1_500]);
    lane.open(0);
    expect([lane.size, lane.peek()]).toEqual([2_000, 0]);
    expect(lane.peek(undefined, (group) => group === 0)).toBe(1_500);
    expect(lane.peek()).toBe(0);
    expect(compared).toBeLessThan(200);
  });
});

type Disturbance =
  | { do: 'join'; slot: number; tier: number; weight: number; group: number }
  | { do: 'leave'; slot: number }
  | { do: 'close' | 'open'; group: number };

type Step =
  | Disturbance
  | { do: 'forget'; slot: number }
  | { do: 'reweigh'; slot: number; weight: number }
  | { do: 'changeTier'; slot: number; tier: number }
  | { do: 'restore'; slot: number; tier: number; weight: number; pass: number }
  | { do: 'peek' | 'byTurn'; skipped: number[]; skippedGroups: readonly number[] }
  | { do: 'peekIn'; group: number; skipped: number[] }
  | { do: 'byName' | 'first'; slots: number[] }
  | { do: 'takeAndUntake'; between: (readonly Disturbance[])[] };

const slot = fc.nat(SLOTS - 1);
const group = fc.constantFrom(...GROUPS);
const tier = fc.nat(2);
const weight = fc.constantFrom(0.001, 0.25, 0.5, 1, 1, 2, 4, 1_000);
const some = fc.uniqueArray(slot, { maxLength: 6 });
const someGroups = fc.oneof(
  { weight: 2, arbitrary: fc.constant([]) },
  { weight: 1, arbitrary: fc.uniqueArray(group, { maxLength: 2 }) },
);
const kind = <T extends string>(name: T): fc.Arbitrary<T> => fc.constant(name);
const disturbance: fc.Arbitrary<Disturbance> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: kind('join'), slot, tier, weight, group }) },
  { weight: 2, arbitrary: fc.record({ do: kind('leave'), slot }) },
  { weight: 1, arbitrary: fc.record({ do: kind('close'), group }) },
  { weight: 2, arbitrary: fc.record({ do: kind('open'), group }) },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: disturbance },
  { weight: 1, arbitrary: fc.record({ do: kind('forget'), slot }) },
  { weight: 2, arbitrary: fc.record({ do: kind('reweigh'), slot, weight }) },
  { weight: 1, arbitrary: fc.record({ do: kind('changeTier'), slot, tier }) },
  { weight: 1, arbitrary: fc.record({ do: kind('restore'), slot, tier, weight, pass: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ do: kind('peek'), skipped: some, skippedGroups: someGroups }) },
  { weight: 8, arbitrary: fc.record({ do: kind('byTurn'), skipped: some, skippedGroups: someGroups }) },
  { weight: 2, arbitrary: fc.record({ do: kind('peekIn'), group, skipped: some }) },
  { weight: 2, arbitrary: fc.record({ do: kind('byName'), slots: some }) },
  { weight: 1, arbitrary: fc.record({ do: kind('first'), slots: some }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: kind('takeAndUntake'),
      between: fc.array(fc.oneof(fc.constant([]), fc.array(disturbance, { maxLength: 2 })), {
        maxLength: 8,
        size: 'max',
      }),
    }),
  },
);
/** By its own measure fast-check would mostly make half a dozen. */
const steps = fc.array(step, { minLength: 1, maxLength: 120, size: 'max' });

function disturb(lane: Lane, naive: NaiveLane, each: Disturbance): void {
  if (each.do === 'join') {
    const { isIn, tier, group } = naive.entries.get(each.slot) ?? {};
    if (isIn && (tier !== each.tier || group !== each.group)) {
      lane.leave(each.slot);
      naive.leave(each.slot);
    }
    lane.join(each.slot, each.tier, each.weight, each.group);
    naive.join(each.slot, each.tier, each.weight, each.group);
  } else if (each.do === 'leave') {
    lane.leave(each.slot);
    naive.leave(each.slot);
  } else {
    lane[each.do](each.group);
    naive[each.do](each.group);
  }
}

function takeAndUntake(lane: Lane, naive: NaiveLane, between: readonly (readonly Disturbance[])[]): void {
  const saved = naive.save();
  const turns: { turn: Turn; naiveTurn: NaiveTurn }[] = [];
  for (const disturbances of between) {
    const wanted = naive.peek(() => false);
    expect(lane.peek()).toBe(wanted);
    if (wanted >= 0) turns.push({ turn: lane.take(wanted, true), naiveTurn: naive.take(wanted, true) });
    for (const each of disturbances) disturb(lane, naive, each);
  }
  for (const { turn, naiveTurn } of turns.reverse()) {
    lane.untake(turn);
    naive.untake(naiveTurn);
  }
  if (between.flat().length === 0) naive.load(saved);
}

/** Does the same to both, and says the same of both. */
function apply(lane: Lane, naive: NaiveLane, each: Step): void {
  if (each.do === 'join' || each.do === 'leave' || each.do === 'close' || each.do === 'open') {
    disturb(lane, naive, each);
  } else if (each.do === 'forget') {
    lane.forget(each.slot);
    naive.forget(each.slot);
  } else if (each.do === 'reweigh') {
    if (!naive.entries.has(each.slot)) return;
    lane.reweigh(each.slot, each.weight);
    naive.reweigh(each.slot, each.weight);
  } else if (each.do === 'changeTier') {
    lane.changeTier(each.slot, each.tier);
    naive.changeTier(each.slot, each.tier);
  } else if (each.do === 'restore') {
    lane.restore(each.slot, each.tier, each.pass, 0, each.weight);
    naive.restore(each.slot, each.tier, each.pass, 0, each.weight);
  } else if (each.do === 'peek' || each.do === 'byTurn') {
    const skip = (slot: number): boolean => each.skipped.includes(slot);
    const skipGroup = (group: number): boolean => each.skippedGroups.includes(group);
    const wanted = naive.peek(skip, skipGroup);
    const found = lane.peek(
      each.skipped.length > 0 ? skip : undefined,
      each.skippedGroups.length > 0 ? skipGroup : undefined,
    );
    expect(found).toBe(wanted);
    if (each.do === 'peek' || wanted < 0) return;
    lane.take(wanted, true);
    naive.take(wanted, true);
  } else if (each.do === 'peekIn') {
    const skip = (slot: number): boolean => each.skipped.includes(slot);
    expect(lane.peekIn(each.group, each.skipped.length > 0 ? skip : undefined)).toBe(naive.peekIn(each.group, skip));
  } else if (each.do === 'takeAndUntake') {
    takeAndUntake(lane, naive, each.between);
  } else if ('slots' in each) {
    const wanted = naive.peek((slot) => !each.slots.includes(slot));
    expect(lane.first(each.slots)).toBe(wanted);
    if (each.do === 'first' || wanted < 0) return;
    lane.take(wanted, false);
    naive.take(wanted, false);
  }
}

/** The whole line, read without taking a turn. */
function line(lane: Lane): number[] {
  const slots: number[] = [];
  for (let slot = lane.peek(); slot >= 0; slot = lane.peek((each) => slots.includes(each))) slots.push(slot);
  return slots;
}

test('a lane does whatever a naive list of {rank, pass, last pick, ordinal} does', () => {
  fc.assert(
    fc.property(steps, (steps) => {
      const lane = new Lane(1, '', ordinals, 1);
      const naive = new NaiveLane();
      for (const each of steps) {
        apply(lane, naive, each);
        expect(lane.size).toBe(naive.line().length);
      }
      const offered = naive.line();
      expect(line(lane)).toEqual(offered);
      expect([...lane.slots()].toSorted((a, b) => a - b)).toEqual(offered.toSorted((a, b) => a - b));
      for (const [slot, { lastPick, group, isIn }] of naive.entries) {
        expect(lane.pass(slot)).toBe(naive.rank(slot));
        expect([lane.lastPick(slot), lane.group(slot)]).toEqual([lastPick, group]);
        expect([lane.isIn(slot), lane.has(slot)]).toEqual([isIn, offered.includes(slot)]);
      }
    }),
    { numRuns: 2_000 },
  );
});

test('a lane restored from what it told of each key, in or not, goes on in the same order', () => {
  fc.assert(
    fc.property(steps, fc.array(fc.boolean(), { minLength: SLOTS, maxLength: SLOTS }), (steps, inBefore) => {
      const lane = new Lane(1, '', ordinals, 1);
      const naive = new NaiveLane();
      for (const each of steps) apply(lane, naive, each);
      const again = new Lane(1, '', ordinals, 1);
      again.virtualTimes.set(lane.virtualTimes);
      again.picks = lane.picks;
      for (const group of naive.closed) again.close(group);
      // Some keys are in before their turn is known, as those of a project whose rests are restored.
      const inNow = [...naive.entries].filter(([, { isIn }]) => isIn);
      for (const [slot, { tier, weight, group }] of inNow) if (inBefore[slot]) again.join(slot, tier, weight, group);
      for (const [slot, { tier, weight }] of naive.entries) {
        again.restore(slot, tier, lane.pass(slot), lane.lastPick(slot), weight);
      }
      for (const [slot, { tier, weight, group }] of inNow) {
        again.join(slot, tier, weight, group);
        // In either case it comes back as from a rest.
        lane.leave(slot);
        lane.join(slot, tier, weight, group);
      }
      expect(picks(again, 3 * lane.size)).toEqual(picks(lane, 3 * lane.size));
      for (const group of naive.closed) {
        lane.open(group);
        again.open(group);
      }
      expect(picks(again, 3 * lane.size)).toEqual(picks(lane, 3 * lane.size));
    }),
    { numRuns: 300 },
  );
});

test('counting passes anew changes neither the order nor any share', () => {
  const weights = fc.array(fc.constantFrom(0.5, 1, 2, 4), { minLength: 1, maxLength: 10 });
  const away = fc.uniqueArray(slot, { maxLength: 4 });
  const closed = fc.uniqueArray(group, { maxLength: GROUPS.length - 1 });
  fc.assert(
    fc.property(
      weights,
      fc.nat(50),
      away,
      closed,
      fc.nat(20),
      closed,
      (weights, before, away, rested, meanwhile, shut) => {
        const groupOf = (slot: number): number => GROUPS[slot % GROUPS.length]!;
        const near = laneOf(weights, groupOf);
        const far = laneOf(weights, groupOf);
        picks(near, before);
        picks(far, before);
        // Whole turns further: exact, so both have the same order.
        const ahead = 2 ** 31;
        for (let slot = 0; slot < weights.length; slot++) {
          far.restore(slot, 0, near.pass(slot) + ahead, near.lastPick(slot), weights[slot]!);
        }
        far.virtualTimes[0] = near.virtualTimes[0]! + ahead;
        for (const lane of [near, far]) {
          for (const group of rested) lane.close(group);
          for (let i = 0; i < meanwhile && lane.size > 0; i++) next(lane);
          for (const group of rested) lane.open(group);
          for (const slot of away) lane.leave(slot);
          for (const group of shut) lane.close(group);
        }
        if (near.size === 0) return;
        expect(next(far)).toBe(next(near));
        far.rebase();
        expect(far.virtualTimes[0]).toBeLessThan(ahead);
        const moved = near.virtualTimes[0]! - far.virtualTimes[0]!;
        for (let slot = 0; slot < weights.length; slot++) expect(far.pass(slot)).toBe(near.pass(slot) - moved);
        expect(line(far)).toEqual(line(near));
        for (const lane of [near, far]) {
          for (const slot of away.filter((each) => each < weights.length)) {
            lane.join(slot, 0, weights[slot]!, groupOf(slot));
          }
          for (const group of shut) lane.open(group);
        }
        expect(picks(far, 100)).toEqual(picks(near, 100));
      },
    ),
    { numRuns: 300 },
  );
});
