import fc from 'fast-check';
import { expect, test } from 'vitest';
import { earliestEnd, type Rest, restsAfter, restsUntil, withRest } from '../../src/engine/rest.ts';
import { ErrorClass } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';

const cause = ErrorClass.RATE_LIMITED_MINUTE;
const rest: fc.Arbitrary<Rest> = fc.record({
  model: fc.constantFrom('', 'a', 'b'),
  cause: fc.constant(cause),
  until: fc.integer({ min: 1, max: 100 }),
});

test('a longer rest replaces a shorter one of the same model, a shorter one never cuts a longer', () => {
  const first = withRest([], { model: 'a', cause, until: 50 });
  expect(withRest(first, { model: 'a', cause, until: 40 })).toBe(first);
  expect(withRest(first, { model: 'a', cause, until: 60 })).toEqual([{ model: 'a', cause, until: 60 }]);
  expect(withRest(first, { model: 'b', cause, until: 10 })).toHaveLength(2);
});

test('a model is forbidden until the last of its rests and of those of every model ends', () => {
  fc.assert(
    fc.property(
      fc.array(rest, { maxLength: 12 }),
      fc.nat(110),
      fc.constantFrom('', 'a', 'b', 'c'),
      (all, now, model) => {
        const rests = all.reduce<readonly Rest[]>(withRest, []);
        const inForce = all.filter((each) => (each.model === '' || each.model === model) && each.until > now);
        expect(restsUntil(rests, model, now)).toBe(Math.max(0, ...inForce.map((each) => each.until)));
        expect(new Set(rests.map((each) => each.model)).size).toBe(rests.length);
        expect(earliestEnd(rests)).toBe(Math.min(...rests.map((each) => each.until)));
        const left = restsAfter(rests, now);
        expect(left).toEqual(rests.filter((each) => each.until > now));
        expect(restsUntil(left, model, now)).toBe(restsUntil(rests, model, now));
      },
    ),
  );
});
