import { describe, expect, test } from 'vitest';
import { setLimits } from '../../src/engine/gates.ts';
import { type Key, keyId } from '../../src/engine/key.ts';
import { ErrorClass } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { Rig } from './rig.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const NOON = { wallOffset: Date.UTC(2026, 5, 15, 19) - 1_000 };
const ask = { model: 'pro' };
const limit = { scope: 'project-model' as const };

/** What was told since it was last asked: such as "pro exhausted"; "" is the pool itself. */
function told(rig: Rig): string[] {
  const { shifts } = rig.engine.changes;
  const said = [...shifts.values()].map(({ model, exhausted }) => `${model} ${exhausted ? 'exhausted' : 'recovered'}`);
  shifts.clear();
  return said;
}

/** Two keys of unknown projects, and a lane for "pro". */
function two(): { rig: Rig; keys: Key[] } {
  const rig = new Rig({}, NOON);
  const keys = rig.addKeys(2);
  rig.use(ask);
  told(rig);
  return { rig, keys };
}

function rest(rig: Rig, key: Key, errorClass: ErrorClass, retryDelayMs?: number): void {
  const lease = rig.acquire({ ...ask, requireKeyId: keyId(key.ordinal) })!;
  rig.fail(lease, errorClass, { ...limit, retryDelayMs });
}

describe('a model of a pool', () => {
  test('is exhausted when its last key rests for it, once, and recovered when the first is back, once', () => {
    const { rig, keys } = two();
    rest(rig, keys[0]!, ErrorClass.RATE_LIMITED_MINUTE, 30_000);
    expect(told(rig)).toEqual([]);
    rest(rig, keys[1]!, ErrorClass.RATE_LIMITED_MINUTE, 40_000);
    expect(told(rig)).toEqual(['pro exhausted']);
    rig.acquire(ask);
    rig.pass(29_999);
    expect(told(rig)).toEqual([]);
    rig.pass(1);
    expect(told(rig)).toEqual(['pro recovered']);
    rig.pass(10_000);
    rig.use(ask);
    expect(told(rig)).toEqual([]);
  });

  test('is exhausted by limits of a day that are used up, until midnight', () => {
    const { rig, keys } = two();
    for (const { project } of keys) setLimits(rig.engine, project, 'pro', { requestsPerDay: 3 }, rig.now);
    // One call was made before there was a limit.
    for (let i = 0; i < 4; i++) expect([rig.acquire(ask) !== undefined, told(rig)]).toEqual([true, []]);
    expect([rig.acquire(ask) !== undefined, told(rig)]).toEqual([true, ['pro exhausted']]);
    rig.pass(12 * HOUR - 1);
    expect([rig.acquire(ask), told(rig)]).toEqual([undefined, []]);
    rig.pass(1);
    expect(told(rig)).toEqual(['pro recovered']);
  });

  test('is not exhausted by leases that are out, nor by a minute that is full', () => {
    const { rig, keys } = two();
    rig.changePool({ maxConcurrentLeases: 1 });
    const leases = [rig.acquire(ask)!, rig.acquire(ask)!];
    expect(rig.acquire(ask)).toBeUndefined();
    for (const lease of leases) rig.report(lease);
    for (const { project } of keys) setLimits(rig.engine, project, 'pro', { requestsPerMinute: 1 }, rig.now);
    expect(rig.acquire(ask) ?? rig.acquire(ask)).toBeUndefined();
    rig.pass(MINUTE);
    expect(told(rig)).toEqual([]);
  });

  test('is exhausted while it is full and all its keys rest, and stays so until one is free', () => {
    const { rig, keys } = two();
    rig.changePool({ maxConcurrentLeases: 1 });
    const busy = rig.acquire({ ...ask, requireKeyId: keyId(keys[1]!.ordinal) })!;
    rest(rig, keys[0]!, ErrorClass.RATE_LIMITED_MINUTE, 30_000);
    expect(told(rig)).toEqual([]);
    rig.fail(busy, ErrorClass.RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 30_000 });
    expect(told(rig)).toEqual(['pro exhausted']);
    // Back from its rest, and yet not free.
    const other = rig.acquire({ model: 'flash', requireKeyId: keyId(keys[0]!.ordinal) })!;
    rig.pass(30_000);
    expect(told(rig)).toEqual(['pro recovered']);
    rig.report(other);
    expect(told(rig)).toEqual([]);
  });

  test('is recovered when a lease comes back of the only key that rests no more', () => {
    const { rig, keys } = two();
    rig.changePool({ maxConcurrentLeases: 1 });
    rest(rig, keys[0]!, ErrorClass.RATE_LIMITED_MINUTE, 30_000);
    rest(rig, keys[1]!, ErrorClass.QUOTA_ZERO);
    expect(told(rig)).toEqual(['pro exhausted']);
    const other = rig.acquire({ model: 'flash', requireKeyId: keyId(keys[0]!.ordinal) })!;
    rig.pass(30_000);
    expect(told(rig)).toEqual([]);
    rig.report(other);
    expect(told(rig)).toEqual(['pro recovered']);
  });

  test('is exhausted when its last key that does not rest is deleted or disabled', () => {
    for (const end of [
      (rig: Rig, key: Key) => rig.removeKey(key),
      (rig: Rig, key: Key) => rig.change(key, { disabled: true }),
    ]) {
      const { rig, keys } = two();
      rest(rig, keys[0]!, ErrorClass.RATE_LIMITED_MINUTE, 30_000);
      end(rig, keys[1]!);
      expect(told(rig)).toEqual(['pro exhausted']);
      rig.addKey();
      expect(told(rig)).toEqual(['pro recovered']);
    }
  });

  test('that no key serves ran out of nothing, whatever happens to the keys', () => {
    const rig = new Rig();
    const [key] = [rig.addKey({ models: ['pro'] }), rig.addKey({ models: ['pro'] })];
    rig.use(ask);
    rig.whyNot({ model: 'made-up' });
    told(rig);
    rest(rig, key, ErrorClass.RATE_LIMITED_MINUTE, 30_000);
    rig.fail(rig.acquire({ model: 'made-up' }) ?? rig.acquire()!, ErrorClass.PERMISSION);
    rig.change(key, { weight: 2 });
    rig.pass(30_000);
    expect(told(rig).filter((each) => each.startsWith('made-up'))).toEqual([]);
  });
});

describe('a pool', () => {
  test('is exhausted with its last available key, and recovered with the first that is back', () => {
    const { rig, keys } = two();
    for (const key of keys) {
      const lease = rig.acquire({ requireKeyId: keyId(key.ordinal) })!;
      rig.fail(lease, ErrorClass.BILLING, { scope: 'project' });
    }
    expect(told(rig).toSorted()).toEqual([' exhausted', 'pro exhausted']);
    rig.pass(HOUR);
    expect(told(rig).toSorted()).toEqual([' recovered', 'pro recovered']);
  });
});
