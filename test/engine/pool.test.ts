import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { keySettings } from '../support/orders.ts';
import { Rig } from './rig.ts';

describe('what a pool counts of its keys', () => {
  const step = fc.record({
    do: fc.constantFrom('add', 'add', 'change', 'remove'),
    which: fc.nat(1_000),
    weight: fc.double({ min: 0.001, max: 1_000, noNaN: true }),
    source: fc.constantFrom('', 'a.txt', 'b.txt', 'constructor'),
  });

  test('keys by source and their average weight are as counted anew, whatever was added, changed and removed', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
        const rig = new Rig();
        for (const { do: what, which, weight, source } of steps) {
          const keys = rig.pool.keys.filter((key) => key !== undefined);
          if (what === 'add' || keys.length === 0) rig.addKey({ weight, source });
          else if (what === 'remove') rig.removeKey(keys[which % keys.length]!);
          else rig.change(keys[which % keys.length]!, { weight, source });
        }
        const keys = rig.pool.keys.filter((key) => key !== undefined);
        const bySource = Object.groupBy(keys, (key) => key.settings.source);
        for (const source of ['', 'a.txt', 'b.txt', 'constructor']) {
          const count = source === '' ? undefined : bySource[source]?.length;
          expect(rig.pool.keysBySource.get(source)).toBe(count);
        }
        const sum = keys.reduce((all, key) => all + key.settings.weight, 0);
        expect(rig.pool.averageWeight).toBeCloseTo(keys.length === 0 ? 0 : sum / keys.length, 9);
      }),
    );
  });

  test('an average weight does not drift: what is left after a million changes is what one key has', () => {
    const { pool } = new Rig();
    const weights = [0.001, 0.1, 1 / 3, 7.77, 999.999];
    for (let i = 0; i < 200_000; i++) {
      for (const weight of weights)
        pool.recount(keySettings({ weight }), keySettings({ weight: weight / 1.7 + 0.001 }));
    }
    for (let i = 0; i < 200_000; i++) {
      for (const weight of weights)
        pool.recount(keySettings({ weight: weight / 1.7 + 0.001 }), keySettings({ weight }));
    }
    pool.recount(undefined, keySettings({ weight: 0.3 }));
    pool.keyCount = 1;
    expect(pool.averageWeight).toBe(0.3);
  });
});

test('a pool lets go of the affinity key that was not used for longest when there are more than 100,000', () => {
  const rig = new Rig();
  const key = rig.addKey();
  for (let i = 0; i < 100_000; i++) rig.pool.affinities.set(`a${i}`, key);
  rig.pool.affinities.get('a0');
  rig.pool.affinities.set('one more', key);
  expect(rig.pool.affinities.size).toBe(100_000);
  expect([rig.pool.affinities.has('a0'), rig.pool.affinities.has('a1')]).toEqual([true, false]);
});
