import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fits } from '../../src/engine/batch-fit.ts';
import { type Key, keyId } from '../../src/engine/key.ts';
import type { Lease } from '../../src/engine/lease.ts';
import { acquired } from '../../src/engine/usage.ts';
import { ErrorClass, KeyReuse } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { ids, Rig, tally } from './rig.ts';

function ask(rig: Rig, sizes: number[], reuse: KeyReuse = KeyReuse.ALLOWED, partial = false): Lease[][] | undefined {
  return rig.grant({ batches: { sizes, reuse, partial } })?.batches;
}

function keysOf(batch: readonly Lease[]): Key[] {
  return batch.map(({ key }) => key);
}

function hasTwice(keys: readonly Key[]): boolean {
  return new Set(keys).size < keys.length;
}

describe('batches', () => {
  test('each has the size asked for, in the order asked for, and keys take their turns over all of them', () => {
    const rig = new Rig();
    rig.addKeys(12);
    const batches = ask(rig, [10, 20, 30])!;
    expect(batches.map((batch) => batch.length)).toEqual([10, 20, 30]);
    expect(new Set(tally(keysOf(batches.flat())).values())).toEqual(new Set([5]));
    expect(new Set(batches.flat().map(({ seq }) => seq)).size).toBe(60);
  });

  test('a key may come again as its cap permits, not twice in a batch, or not twice at all, as asked', () => {
    const rig = new Rig({ maxConcurrentLeases: 3 });
    rig.addKeys(4);
    const inBatch = ask(rig, [4, 2, 3], KeyReuse.UNIQUE_IN_BATCH)!;
    for (const batch of inBatch) expect(hasTwice(keysOf(batch))).toBe(false);
    expect(hasTwice(keysOf(inBatch.flat()))).toBe(true);
    for (const { key } of inBatch.flat()) expect(key.active).toBeLessThanOrEqual(3);
    for (const lease of inBatch.flat()) rig.report(lease);

    const unique = ask(rig, [1, 3], KeyReuse.UNIQUE)!;
    expect(hasTwice(keysOf(unique.flat()))).toBe(false);
    expect(ask(rig, [3, 2], KeyReuse.UNIQUE)).toBeUndefined();
    for (const lease of unique.flat()) rig.report(lease);

    expect(ask(rig, [12])).toHaveLength(1);
    expect(ask(rig, [1])).toBeUndefined();
  });

  test('all or nothing: what cannot be given whole takes no turn, no slot and no count', () => {
    const picture = (rig: Rig): unknown => {
      const { general } = rig.pool;
      return {
        keys: (rig.pool.keys as Key[]).map(({ slot, active, lastAcquire, usage }) => ({
          pass: general.pass(slot),
          active,
          lastAcquire,
          usage,
        })),
        v: [...general.virtualTimes],
        usage: acquired(rig.pool.usage, rig.pool.active),
        leases: rig.engine.leases.get(1)?.size,
        unwritten: rig.engine.changes.leases.size,
      };
    };
    for (const [reuse, sizes] of [
      [KeyReuse.ALLOWED, [9]],
      [KeyReuse.UNIQUE, [3, 3]],
      [KeyReuse.UNIQUE_IN_BATCH, [2, 6]],
    ] as const) {
      const rig = new Rig({ maxConcurrentLeases: 2 });
      rig.addKeys(4, { weight: 0.5 });
      const last = rig.addKey();
      // A key that is behind the others, since calls exclude it.
      for (let i = 0; i < 20; i++) rig.use({ excludeKeyIds: ids(last) });
      const held = [last, rig.pool.keys[0]!].map((key) => rig.acquire({ requireKeyId: keyId(key.ordinal) })!);
      const before = structuredClone(picture(rig));
      rig.now += 5;
      expect(ask(rig, [...sizes], reuse)).toBeUndefined();
      expect(picture(rig)).toEqual(before);
      for (const lease of held) rig.report(lease);
    }
  });

  test('are short where that is allowed: as many leases as there are, the largest batch first', () => {
    const rig = new Rig({ maxConcurrentLeases: 1 });
    rig.addKeys(5);
    expect(ask(rig, [2, 4, 3], KeyReuse.ALLOWED, true)!.map((batch) => batch.length)).toEqual([0, 4, 1]);
    expect(ask(rig, [1], KeyReuse.ALLOWED, true)).toBeUndefined();
  });

  test('keep to the pool’s cap over all keys', () => {
    const rig = new Rig({ maxTotalLeases: 4 });
    rig.addKeys(10);
    expect(ask(rig, [5], KeyReuse.UNIQUE)).toBeUndefined();
    expect(rig.whyNot({ batches: { sizes: [5], reuse: KeyReuse.UNIQUE, partial: false } }).reason).toBe(
      'NO_MATCHING_KEY',
    );
    expect(ask(rig, [3, 2], KeyReuse.UNIQUE, true)!.map((batch) => batch.length)).toEqual([3, 1]);
  });

  test('a batch that needs the keys with most room is not spoilt by the order of turns, and takes just its turns', () => {
    const rig = new Rig();
    const [a, b] = rig.addKeys(2, { maxConcurrentLeases: 2 });
    const single = rig.addKeys(3, { maxConcurrentLeases: 1 });
    rig.use();
    rig.use();
    const { lastAcquire } = single[2]!;
    const passes = (): number[] => (rig.pool.keys as Key[]).map(({ slot }) => rig.pool.general.pass(slot));
    const before = passes();
    const batches = ask(rig, [3, 3], KeyReuse.UNIQUE_IN_BATCH)!;
    for (const batch of batches) expect(keysOf(batch)).toEqual(expect.arrayContaining([a, b]));
    expect(passes()).toEqual([before[0]! + 2, before[1]! + 2, before[2]! + 1, before[3]! + 1, before[4]!]);
    expect(single[2]!.lastAcquire).toBe(lastAcquire);
  });

  test('that can never be given are refused at once, those that can later are not', () => {
    const rig = new Rig({ maxConcurrentLeases: 2 });
    rig.addKeys(3);
    rig.acquire();
    const why = (sizes: number[], reuse: KeyReuse): string =>
      rig.whyNot({ batches: { sizes, reuse, partial: false } }).reason;
    expect(why([6], KeyReuse.ALLOWED)).toBe('NO_KEY_AVAILABLE');
    expect(why([7], KeyReuse.ALLOWED)).toBe('NO_MATCHING_KEY');
    expect(why([2, 1], KeyReuse.UNIQUE)).toBe('NO_KEY_AVAILABLE');
    expect(why([2, 2], KeyReuse.UNIQUE)).toBe('NO_MATCHING_KEY');
    expect(why([3, 3], KeyReuse.UNIQUE_IN_BATCH)).toBe('NO_KEY_AVAILABLE');
    expect(why([4], KeyReuse.UNIQUE_IN_BATCH)).toBe('NO_MATCHING_KEY');
    expect(why([2, 2, 2, 1], KeyReuse.UNIQUE_IN_BATCH)).toBe('NO_MATCHING_KEY');
    expect(rig.whyNot({ batches: { sizes: [100], reuse: KeyReuse.ALLOWED, partial: true } }).reason).toBe(
      'NO_KEY_AVAILABLE',
    );
  });

  test('whatever is asked, the answer is whole when it fits, and nothing when it does not', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 });
    const caps = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 6 });
    const reuses = fc.constantFrom(KeyReuse.ALLOWED, KeyReuse.UNIQUE_IN_BATCH, KeyReuse.UNIQUE);
    fc.assert(
      fc.property(sizes, caps, reuses, fc.nat(6), (sizes, caps, reuse, usedBefore) => {
        const rig = new Rig();
        for (const maxConcurrentLeases of caps) rig.addKey({ maxConcurrentLeases });
        for (let i = 0; i < usedBefore; i++) rig.acquire();
        const rooms = (rig.pool.keys as Key[]).map(({ settings, active }) =>
          settings.maxConcurrentLeases === 0 ? Infinity : settings.maxConcurrentLeases! - active,
        );
        const batches = ask(rig, sizes, reuse);
        expect(batches !== undefined).toBe(canBeFilled(sizes, reuse, rooms));
        if (batches === undefined) return;
        expect(batches.map((batch) => batch.length)).toEqual(sizes);
        if (reuse === KeyReuse.UNIQUE_IN_BATCH)
          for (const batch of batches) expect(hasTwice(keysOf(batch))).toBe(false);
        if (reuse === KeyReuse.UNIQUE) expect(hasTwice(keysOf(batches.flat()))).toBe(false);
        for (const [i, key] of (rig.pool.keys as Key[]).entries()) {
          expect(batches.flat().filter((lease) => lease.key === key).length).toBeLessThanOrEqual(rooms[i]!);
          expect(rig.pool.general.has(key.slot)).toBe(caps[i] === 0 || key.active < caps[i]!);
        }
      }),
      { numRuns: 500 },
    );
  });
});

/** By trying every way: whether batches of these sizes can be filled from keys with this room. */
function canBeFilled(sizes: readonly number[], reuse: KeyReuse, rooms: readonly number[]): boolean {
  const total = sizes.reduce((a, b) => a + b, 0);
  if (reuse === KeyReuse.ALLOWED) return rooms.reduce((a, b) => a + b, 0) >= total;
  if (reuse === KeyReuse.UNIQUE) return rooms.filter((room) => room > 0).length >= total;
  const [size, ...others] = sizes;
  if (size === undefined) return true;
  return subsets(rooms.length, size).some(
    (chosen) =>
      chosen.every((key) => rooms[key]! > 0) &&
      canBeFilled(
        others,
        reuse,
        rooms.map((room, key) => (chosen.includes(key) ? room - 1 : room)),
      ),
  );
}

function subsets(count: number, size: number, from = 0): number[][] {
  if (size === 0) return [[]];
  const all: number[][] = [];
  for (let first = from; first < count; first++) {
    for (const others of subsets(count, size - 1, first + 1)) all.push([first, ...others]);
  }
  return all;
}

test('whether batches fit is answered as trying every way would', () => {
  const room = fc.oneof(fc.integer({ min: 0, max: 4 }), fc.constant(Infinity));
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
      fc.array(room, { maxLength: 5 }),
      fc.constantFrom(KeyReuse.ALLOWED, KeyReuse.UNIQUE_IN_BATCH, KeyReuse.UNIQUE),
      (sizes, rooms, reuse) => {
        expect(fits({ sizes, reuse, partial: false }, rooms)).toBe(canBeFilled(sizes, reuse, rooms));
      },
    ),
    { numRuns: 1_000 },
  );
});

test('keys that rest stay out of batches', () => {
  const rig = new Rig();
  const [a, b] = rig.addKeys(2);
  rig.fail(rig.acquire()!, ErrorClass.KEY_INVALID);
  expect(tally(keysOf(ask(rig, [4])!.flat()))).toEqual(new Map([[b, 4]]));
  expect(a!.active).toBe(0);
});
