import { describe, expect, test } from 'vitest';
import type { Lease } from '../../src/engine/lease.ts';
import { ErrorClass, KeyState, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { keyOf, Rig } from './rig.ts';

const { OVERLOADED, SERVER_ERROR } = ErrorClass;
const SECOND = 1_000;
const ask = { model: 'pro' };

function overload(rig: Rig, lease: Lease, retryDelayMs?: number) {
  return rig.fail(lease, OVERLOADED, { scope: 'none', retryDelayMs });
}

/** A pool in which the model worked just now. */
function working(keys = 3): Rig {
  const rig = new Rig({ defaultLeaseTtlMs: 300 * SECOND });
  rig.addKeys(keys);
  rig.use(ask);
  return rig;
}

describe('the breaker of a model opens', () => {
  test('on the first overloaded answer if nobody saw the model work in the last minute', () => {
    const never = new Rig();
    never.addKeys(3);
    overload(never, never.acquire(ask)!);
    expect(never.acquire(ask)).toBeUndefined();
    const rig = working();
    rig.pass(59_999);
    overload(rig, rig.acquire(ask)!);
    expect(rig.acquire(ask)).toBeDefined();
    rig.report(rig.acquire(ask)!);
    rig.pass(60_000);
    overload(rig, rig.acquire(ask)!);
    expect(rig.acquire(ask)).toBeUndefined();
  });

  test('on the third in a row otherwise; a call that works ends the row, another error does not', () => {
    const rig = working();
    const leases = Array.from({ length: 6 }, () => rig.acquire(ask)!);
    overload(rig, leases[0]!);
    overload(rig, leases[1]!);
    rig.report(leases[2]!);
    overload(rig, leases[3]!);
    rig.fail(rig.acquire(ask)!, SERVER_ERROR, { scope: 'none' });
    overload(rig, leases[4]!);
    expect(rig.acquire(ask)).toBeDefined();
    overload(rig, leases[5]!);
    expect(rig.acquire(ask)).toBeUndefined();
  });

  test('for every key, pool and affinity of the model, for no other model, and no key is blamed', () => {
    const rig = working();
    rig.acquire({ ...ask, affinityKey: 'a' });
    for (const lease of Array.from({ length: 3 }, () => rig.acquire(ask)!)) overload(rig, lease);
    expect(rig.acquire({ ...ask, affinityKey: 'a' })).toBeUndefined();
    expect(rig.grant({ ...ask, batches: { sizes: [1], reuse: 1, partial: true } })).toBeUndefined();
    expect(rig.acquire({ model: 'flash' })).toBeDefined();
    expect(rig.acquire()).toBeDefined();
    for (const key of rig.engine.keys.values()) {
      expect([key.rests, key.project.rests, key.health.factor, key.state]).toEqual([[], [], 1, KeyState.AVAILABLE]);
    }
    expect(rig.whyNot(ask)).toMatchObject({ retryDelayMs: SECOND, metadata: { cause: 'overloaded' } });
  });

  test('not for calls that name no model', () => {
    const rig = new Rig();
    rig.addKey();
    const { advice } = overload(rig, rig.acquire()!);
    expect(advice).toMatchObject({ retry: true, delayMs: SECOND });
    expect(rig.acquire()).toBeDefined();
    expect(rig.engine.breakers.size).toBe(0);
  });
});

describe('an open breaker', () => {
  /** Open since the first answer. */
  function open(): Rig {
    const rig = new Rig({ defaultLeaseTtlMs: 300 * SECOND });
    rig.addKeys(3);
    overload(rig, rig.acquire(ask)!);
    return rig;
  }

  test('lets one call try after 1 s, 2 s, 4 s .. 30 s', () => {
    const rig = open();
    const waited: number[] = [];
    for (let i = 0; i < 7; i++) {
      const { retryDelayMs } = rig.whyNot(ask);
      waited.push(retryDelayMs! / SECOND);
      rig.pass(retryDelayMs! - 1);
      expect(rig.acquire(ask)).toBeUndefined();
      rig.pass(1);
      const trial = rig.acquire(ask)!;
      expect(rig.acquire(ask)).toBeUndefined();
      // Its end nobody knows: worth asking again in a second.
      expect(rig.whyNot(ask)).toMatchObject({ retryDelayMs: SECOND, metadata: { cause: 'overloaded' } });
      overload(rig, trial);
    }
    expect(waited).toEqual([1, 2, 4, 8, 16, 30, 30]);
  });

  test('waits for the delay that Gemini stated, up to 30 s', () => {
    for (const [stated, wanted] of [
      [7 * SECOND, 7 * SECOND],
      [500, SECOND],
      [600 * SECOND, 30 * SECOND],
    ] as const) {
      const rig = new Rig();
      rig.addKey();
      const { advice } = overload(rig, rig.acquire(ask)!, stated);
      expect(rig.whyNot(ask).retryDelayMs).toBe(wanted);
      expect(advice!.delayMs).toBe(Math.min(60 * SECOND, Math.max(SECOND, stated)));
    }
  });

  test('closes when the call that tried it works, and all who wait for the model are served', () => {
    const rig = open();
    const waited = Array.from({ length: 4 }, () => rig.wait(ask, 120 * SECOND));
    const served = (): number => waited.filter(({ granted }) => granted).length;
    rig.pass(SECOND - 1);
    expect(served()).toBe(0);
    rig.pass(1);
    expect(served()).toBe(1);
    rig.report(waited[0]!.granted!.batches[0]![0]!);
    expect(served()).toBe(4);
    expect(rig.engine.breakers.get('pro')).toMatchObject({ rests: [], failures: 0 });
  });

  test('lets the next try when the call that tried it failed otherwise, or was not made', () => {
    for (const end of [
      (rig: Rig, trial: Lease) => rig.report(trial, { outcome: Outcome.UNUSED }),
      (rig: Rig, trial: Lease) => rig.fail(trial, SERVER_ERROR, { scope: 'none' }),
      (rig: Rig) => rig.pass(300 * SECOND),
    ]) {
      const rig = open();
      rig.pass(SECOND);
      const trial = rig.acquire(ask)!;
      const [one, two] = [rig.wait(ask, 600 * SECOND), rig.wait(ask, 600 * SECOND)];
      end(rig, trial);
      rig.pass(0);
      expect([keyOf(one) !== undefined, keyOf(two)]).toEqual([true, undefined]);
    }
  });

  test('does not open for longer by calls that were under way, nor close by those that began before it opened', () => {
    const rig = new Rig({ defaultLeaseTtlMs: 300 * SECOND });
    rig.addKeys(3);
    const leases = Array.from({ length: 20 }, () => rig.acquire(ask)!);
    rig.pass(10);
    for (const lease of leases.slice(0, 19)) overload(rig, lease);
    expect(rig.whyNot(ask).retryDelayMs).toBe(SECOND);
    rig.report(leases[19]!);
    expect(rig.whyNot(ask).retryDelayMs).toBe(SECOND);
    rig.pass(SECOND);
    expect(rig.acquire(ask)).toBeDefined();
  });

  test('holds up models that have no lane of their own alike', () => {
    const rig = new Rig();
    rig.addKeys(2);
    for (let i = 0; i < 64; i++) rig.use({ model: `model-${i}` });
    overload(rig, rig.acquire({ model: 'extra' })!);
    const [extra, other] = [rig.wait({ model: 'extra' }), rig.acquire({ model: 'more' })];
    expect([extra.granted, other !== undefined]).toEqual([undefined, true]);
    rig.pass(SECOND);
    expect(keyOf(extra)).toBeDefined();
  });

  test('is as before when the report that opened it is undone', () => {
    const rig = working();
    const leases = Array.from({ length: 4 }, () => rig.acquire(ask)!);
    overload(rig, leases[0]!);
    overload(rig, leases[1]!);
    const third = overload(rig, leases[2]!);
    const waited = rig.wait(ask);
    third.undo(rig.now);
    rig.pass(0);
    expect(waited.granted).toBeDefined();
    overload(rig, leases[3]!);
    expect(rig.acquire(ask)).toBeUndefined();
  });
});
