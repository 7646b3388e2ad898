import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LeaseState } from '../../src/engine/lease.ts';
import {
  blocksUntil,
  isHalfOpen,
  mergedRests,
  nextChange,
  type Rest,
  restsAfter,
  restsUntil,
  withRest,
} from '../../src/engine/rest.ts';
import { ErrorClass } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { restOf } from './rig.ts';

const time = fc.integer({ min: 1, max: 100 });
const rest: fc.Arbitrary<Rest> = fc
  .record({
    model: fc.constantFrom('', 'a', 'b'),
    until: time,
    probeAt: fc.oneof(fc.constant(Infinity), time),
    afterEnd: fc.constantFrom('over', 'half-open'),
    memory: fc.oneof(fc.constant(0), time),
    trial: fc.option(fc.record({ state: fc.constantFrom(LeaseState.ACTIVE, LeaseState.ENDED), expireTime: time })),
  })
  .map(({ model, until, probeAt, afterEnd, memory, trial }) => ({
    ...restOf(model, ErrorClass.RATE_LIMITED_MINUTE, until),
    probeAt: probeAt < until ? probeAt : Infinity,
    afterEnd,
    forgetAt: afterEnd === 'half-open' ? Infinity : until + memory,
    trial: (trial ?? undefined) as Rest['trial'],
  }));

test('one rest for each model, the last that was put in; beyond 64 the one that ends first goes', () => {
  const first = withRest([], restOf('a', ErrorClass.PERMISSION, 50));
  expect(withRest(first, restOf('a', ErrorClass.BILLING, 60))).toEqual([restOf('a', ErrorClass.BILLING, 60)]);
  expect(withRest(first, restOf('b', ErrorClass.BILLING, 10))).toHaveLength(2);
  const many = Array.from({ length: 80 }, (_, i) =>
    restOf(`model-${i}`, ErrorClass.PERMISSION, 1_000 + ((i * 7) % 80)),
  );
  const kept = many.reduce<readonly Rest[]>(withRest, []);
  expect(kept).toHaveLength(64);
  expect(kept.at(-1)).toBe(many.at(-1));
});

test('of two projects that turn out to be one the longer rest for each model stays', () => {
  fc.assert(
    fc.property(fc.array(rest, { maxLength: 6 }), fc.array(rest, { maxLength: 6 }), (some, others) => {
      const [a, b] = [some, others].map((each) => each.reduce<readonly Rest[]>(withRest, []));
      const merged = mergedRests(a!, b!);
      for (const model of ['', 'a', 'b']) {
        const ends = [...a!, ...b!].filter((each) => each.model === model).map(({ until }) => until);
        expect(merged.filter((each) => each.model === model).map(({ until }) => until)).toEqual(
          ends.length === 0 ? [] : [Math.max(...ends)],
        );
      }
      if (merged.every((each) => a!.includes(each))) expect(merged).toBe(a);
    }),
  );
});

test('it keeps calls off until it ends or may be tried, and then while a lease tries it', () => {
  const plain = restOf('', ErrorClass.RATE_LIMITED_MINUTE, 50);
  expect([49, 50].map((now) => blocksUntil(plain, now))).toEqual([50, 0]);
  const probed = { ...plain, probeAt: 20 };
  expect([19, 20, 49, 50].map((now) => blocksUntil(probed, now))).toEqual([20, 0, 0, 0]);
  const trial = { state: LeaseState.ACTIVE, expireTime: 60 } as unknown as NonNullable<Rest['trial']>;
  expect(blocksUntil({ ...probed, trial }, 30)).toBe(50);
  const halfOpen: Rest = { ...plain, afterEnd: 'half-open', forgetAt: Infinity, trial };
  expect([30, 55, 70].map((now) => blocksUntil(halfOpen, now))).toEqual([50, 60, 70]);
  trial.state = LeaseState.EXPIRED;
  expect(blocksUntil(halfOpen, 70)).toBe(0);
  expect([30, 50, 9_000].map((now) => isHalfOpen(halfOpen, now))).toEqual([false, true, true]);
});

test('a model is forbidden by the last of its rests and of those of every model; what is forgotten forbids nothing', () => {
  fc.assert(
    fc.property(
      fc.array(rest, { maxLength: 12 }),
      fc.nat(210),
      fc.constantFrom('', 'a', 'b', 'c'),
      (all, now, model) => {
        const rests = all.reduce<readonly Rest[]>(withRest, []);
        const meant = rests.filter((each) => each.model === '' || each.model === model);
        expect(restsUntil(rests, model, now)).toBe(Math.max(0, ...meant.map((each) => blocksUntil(each, now))));
        expect(new Set(rests.map((each) => each.model)).size).toBe(rests.length);
        const left = restsAfter(rests, now);
        expect(left.every((each) => rests.includes(each) && (each.until > now || each.forgetAt > now))).toBe(true);
        expect(restsUntil(left, model, now)).toBe(restsUntil(rests, model, now));
      },
    ),
  );
});

test('between two of its changes a rest answers the same, but for a lease that tries it', () => {
  fc.assert(
    fc.property(fc.array(rest, { maxLength: 6 }), fc.nat(100), (all, now) => {
      const rests = all.map((each) => ({ ...each, trial: undefined }));
      const next = nextChange(rests, now);
      expect(next).toBeGreaterThan(now);
      for (const each of rests) {
        const change = Math.min(next, 300);
        for (let at = now; at < change; at++) {
          expect(blocksUntil(each, at)).toBe(blocksUntil(each, now));
          expect(restsAfter([each], at)).toHaveLength(restsAfter([each], now).length);
        }
      }
    }),
  );
});
