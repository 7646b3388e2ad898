import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { setRests } from '../../src/engine/cooldowns.ts';
import { setLimits } from '../../src/engine/gates.ts';
import { allowsModel, type Key, keyId, restingUntil } from '../../src/engine/key.ts';
import { LazyOrder } from '../../src/engine/lazy-order.ts';
import { blocksUntil, type Rest } from '../../src/engine/rest.ts';
import { ErrorClass, KeyState, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { ids, order, Rig, restOf, type Wish } from './rig.ts';

/** "pro" and "flash" have lanes; so many others have, too, that "rare" and "odd" have none. */
const MODELS = ['', 'pro', 'flash', 'rare', 'odd'];
const CAUSES = new Map<ErrorClass, string>([
  [ErrorClass.RATE_LIMITED_MINUTE, 'rate_limited'],
  [ErrorClass.QUOTA_EXHAUSTED_DAY, 'quota_exhausted'],
  [ErrorClass.PERMISSION, 'permission'],
  [ErrorClass.KEY_INVALID, 'quarantined'],
]);

const index = fc.nat(10_000);
const step = fc.record({
  do: fc.constantFrom('rest', 'rest', 'rest project', 'fail', 'fail', 'lease', 'reset', 'change', 'remove', 'pass'),
  which: index,
  model: fc.constantFrom(...MODELS),
  how: index,
});
const question = fc.record({
  model: fc.constantFrom(...MODELS),
  soonest: fc.constantFrom(0, 0, 3, 64),
  ids: fc.array(index, { maxLength: 5 }),
  projects: fc.subarray(['large-0', 'large-1', 'large-2', 'small-0', 'small-1', 'nobody']),
  require: fc.constantFrom('', '', '', 'large-0', 'small-0', 'nobody', 'key'),
  which: index,
});

/** A pool of every kind of key: of none, a small and a large project, for some models only, capped. */
function mixedPool(): Rig {
  const rig = new Rig({ maxConcurrentLeases: 1 });
  for (let i = 0; i < 40; i++) {
    rig.addKey({ project: `large-${i % 3}`, models: i % 7 === 0 ? ['pro', 'rare'] : [] });
    for (const project of ['large-0', 'large-0', '', i < 10 ? `small-${i % 5}` : '']) rig.addKey({ project });
  }
  for (const model of ['pro', 'flash']) rig.pool.laneFor(model, rig.now);
  for (let i = 0; i < 62; i++) rig.pool.laneFor(`other-${i}`, rig.now);
  return rig;
}

/** Takes every key that the wish allows; most fail and rest. */
function dry(rig: Rig, wish: Wish, how: number): void {
  let taken = 0;
  for (let lease = rig.acquire(wish); lease !== undefined; lease = rig.acquire(wish)) {
    const retryDelayMs = 1 + ((how * 31 + ++taken * 97) % 400);
    if (retryDelayMs > 4) rig.fail(lease, causeFor(taken), { scope: 'project-model', retryDelayMs });
  }
}

function causeFor(how: number): ErrorClass {
  return [...CAUSES.keys()][how % CAUSES.size]!;
}

function keysOf(rig: Rig): Key[] {
  return rig.pool.keys.filter((key) => key !== undefined);
}

function run(rig: Rig, { do: what, which, model, how }: typeof step extends fc.Arbitrary<infer T> ? T : never): void {
  const keys = keysOf(rig);
  const key = keys[which % keys.length]!;
  const cause = causeFor(how);
  const rest = restOf(model, cause, rig.now + 1 + (how % 400));
  const longer = (rests: readonly Rest[]): Rest[] => [...rests.filter((each) => each.model !== model), rest];
  const resting = what === 'rest project' ? key.project : key;
  if (what === 'remove') rig.removeKey(key);
  else if (what === 'pass') rig.pass(how % 40);
  else if (what === 'reset') setRests(rig.engine, key.project, [], rig.now);
  else if (what === 'lease') for (let i = 0; i < how % 9; i++) rig.acquire({ model });
  else if (what === 'fail') {
    const lease = [...key.leases][0];
    if (lease !== undefined) rig.fail(lease, cause, { scope: 'project-model', retryDelayMs: 1 + (how % 400) });
  } else if (what === 'change') {
    const change = [{ disabled: how % 4 === 0 }, { project: 'large-1' }, { models: ['odd'] }, { models: [] }];
    rig.change(key, change[how % change.length]!);
  } else if ((resting.rests.find((each) => each.model === model)?.until ?? 0) < rest.until) {
    setRests(rig.engine, resting, longer(resting.rests), rig.now);
  }
}

/** When each key that the wish allows rests no more, and Gemini was asked about it. */
function readiness(rig: Rig, wish: Wish): Map<Key, number> {
  const asked = order(wish);
  const found = new Map<Key, number>();
  for (const key of keysOf(rig)) {
    if (key.state === KeyState.DISABLED_ADMIN || !allowsModel(key, asked.model)) continue;
    if (asked.matches !== undefined && !asked.matches(key)) continue;
    found.set(key, Math.max(askedAt(key, rig.now), restingUntil(key, asked.model, rig.now)));
  }
  return found;
}

/** Gemini, about a suspected key. */
function askedAt({ suspicion }: Key, now: number): number {
  return suspicion === undefined ? 0 : Math.max(now + 1, suspicion.deadline);
}

function causeOf(key: Key, model: string, now: number): string {
  if (askedAt(key, now) >= restingUntil(key, model, now)) return 'quarantined';
  const rests = [...key.rests, ...key.project.rests].filter((rest) => ['', model].includes(rest.model));
  const byEnd = rests.toSorted((a, b) => blocksUntil(b, now) - blocksUntil(a, now));
  return CAUSES.get(byEnd[0]!.cause)!;
}

function check(rig: Rig, wish: Wish): void {
  const naive = readiness(rig, wish);
  const readyAt = Math.min(...naive.values());
  const why = rig.whyNot(wish);
  if (naive.size === 0) expect(why.reason).toBe('NO_MATCHING_KEY');
  else if (readyAt === 0) {
    expect(why).toMatchObject({ reason: 'NO_KEY_AVAILABLE', retryDelayMs: 1_000, metadata: { cause: 'all_leased' } });
  } else {
    expect(why).toMatchObject({ reason: 'NO_KEY_AVAILABLE', retryDelayMs: Math.max(1, Math.ceil(readyAt - rig.now)) });
    const soonest = [...naive].filter(([, until]) => until === readyAt);
    expect(soonest.map(([key]) => causeOf(key, wish.model!, rig.now))).toContain(why.metadata.cause);
  }
}

describe('when the next key is ready', () => {
  test('whoever is refused is told what a look at every key would say, however old the look that serves him is', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(step, question), { minLength: 10, maxLength: 60, size: 'max' }), (steps) => {
        const rig = mixedPool();
        for (const [each, asked] of steps) {
          run(rig, each);
          if (rig.pool.enabledKeys === 0) return;
          const keys = keysOf(rig);
          const { model, which, require } = asked;
          const wish: Wish = { model, excludeProjects: asked.projects };
          if (require === 'key') wish.requireKeyId = keyId(keys[which % keys.length]!.ordinal);
          else wish.requireProject = require;
          // What those exclude who have tried the best keys already.
          const first = [...readiness(rig, wish)].sort(([, a], [, b]) => a - b).slice(0, asked.soonest);
          const some = asked.ids.map((i) => keys[i % keys.length]!);
          wish.excludeKeyIds = ids(...first.map(([key]) => key), ...some);
          dry(rig, wish, each.how);
          check(rig, wish);
          // Another who asks at the same moment is served by the same look.
          check(rig, { ...wish, excludeKeyIds: [] });
        }
      }),
      { numRuns: 100 },
    );
  });

  test('a thousand who are refused at once, each with excludes of its own, look at all keys once', () => {
    const rig = new Rig();
    for (const key of rig.addKeys(500)) {
      setRests(rig.engine, key, [restOf('', ErrorClass.PERMISSION, 10_000 + key.ordinal)], rig.now);
    }
    let looks = 0;
    const { keys } = rig.pool;
    const iterate = keys[Symbol.iterator].bind(keys);
    keys[Symbol.iterator] = () => {
      looks++;
      return iterate();
    };
    for (let i = 0; i < 1_000; i++) {
      const why = rig.whyNot({ model: 'pro', excludeKeyIds: ids(keys[0]!, keys[1 + (i % 400)]!) });
      expect(why.retryDelayMs).toBe(10_000 + (i % 400 === 0 ? 3 : 2) - rig.now);
    }
    // One more made the lane.
    expect(looks).toBeLessThanOrEqual(2);
  });

  test('a quota that has room sooner than it looked, or a try that is over, is told at once', () => {
    const rig = new Rig();
    const ask = { model: 'pro' };
    const [key] = rig.addKeys(150, { project: 'p' });
    setRests(rig.engine, rig.addKey(), [restOf('', ErrorClass.PERMISSION, rig.now + 65_000)], rig.now);
    for (let i = 0; i < 2; i++) {
      rig.acquire(ask);
      rig.pass(10_000);
    }
    const third = rig.acquire(ask)!;
    setLimits(rig.engine, key!.project, 'pro', { requestsPerMinute: 2 }, rig.now);
    expect(rig.whyNot(ask).retryDelayMs).toBe(45_000);
    rig.report(third, { outcome: Outcome.UNUSED });
    expect(rig.whyNot(ask).retryDelayMs).toBe(40_000);

    const tried = new Rig({ defaultLeaseTtlMs: 600_000 });
    const [first, ...others] = tried.addKeys(150);
    tried.fail(tried.acquire({ ...ask, requireKeyId: ids(first!)[0]! })!, ErrorClass.PERMISSION);
    tried.pass(3_600_000);
    const trial = tried.acquire({ ...ask, requireKeyId: ids(first!)[0]! })!;
    for (const each of others)
      setRests(tried.engine, each, [restOf('', ErrorClass.PERMISSION, tried.now + 90_000)], tried.now);
    const own = restOf('pro', ErrorClass.RATE_LIMITED_TOKENS, tried.now + 30_000);
    setRests(tried.engine, first!, [...first!.rests, own], tried.now);
    expect(tried.whyNot(ask).retryDelayMs).toBe(90_000);
    tried.report(trial, { outcome: Outcome.UNUSED });
    expect(tried.whyNot(ask).retryDelayMs).toBe(30_000);
  });

  test('models that nothing names share a look once a pool has no lanes left', () => {
    const rig = mixedPool();
    for (const key of keysOf(rig)) {
      setRests(rig.engine, key, [restOf('', ErrorClass.PERMISSION, 9_000)], rig.now);
    }
    setRests(rig.engine, keysOf(rig)[1]!, [restOf('', ErrorClass.PERMISSION, 2_000)], rig.now);
    rig.whyNot({ model: 'beyond-0' });
    let looks = 0;
    const { keys } = rig.pool;
    const iterate = keys[Symbol.iterator].bind(keys);
    keys[Symbol.iterator] = () => {
      looks++;
      return iterate();
    };
    for (let i = 1; i <= 500; i++) expect(rig.whyNot({ model: `beyond-${i}` }).retryDelayMs).toBe(1_000);
    expect(looks).toBe(0);
    // Named by keys that serve only it and "pro": it is looked at for itself.
    expect(rig.whyNot({ model: 'rare', excludeKeyIds: ids(keys[1]!) }).retryDelayMs).toBe(8_000);
    expect(looks).toBe(1);
  });
});

test('items come by rank, as far as they are asked for, and again when they are asked for again', () => {
  const ranks = fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 1, maxLength: 200, size: 'max' });
  fc.assert(
    fc.property(ranks, fc.array(fc.nat(199), { maxLength: 20 }), (given, places) => {
      const lazy = new LazyOrder<number>();
      for (const [i, rank] of given.entries()) lazy.add(i, rank);
      const sorted = given.toSorted((a, b) => a - b);
      for (const place of places) {
        if (place >= given.length) continue;
        expect(lazy.rank(place)).toBe(sorted[place]);
        expect(given[lazy.item(place)]).toBe(sorted[place]);
      }
      const all = given.map((_, place) => lazy.item(place));
      expect(all.toSorted((a, b) => a - b)).toEqual([...given.keys()]);
    }),
  );
});
