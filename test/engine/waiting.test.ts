import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { giveUp } from '../../src/engine/acquire.ts';
import { setRests } from '../../src/engine/cooldowns.ts';
import { HEALTHY } from '../../src/engine/health.ts';
import { type Key, keyId } from '../../src/engine/key.ts';
import { type Lease, LeaseState } from '../../src/engine/lease.ts';
import { ErrorClass, KeyReuse, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { ids, isRefusal, keyOf, Rig, tally, type Waited } from './rig.ts';

function batches(...sizes: number[]) {
  return { batches: { sizes, reuse: KeyReuse.ALLOWED, partial: false } };
}

/** A pool of one key, capped at one lease, which is out. */
function taken(): { rig: Rig; key: Key; lease: Lease } {
  const rig = new Rig({ maxConcurrentLeases: 1, defaultLeaseTtlMs: 10_000 });
  const key = rig.addKey();
  return { rig, key, lease: rig.acquire({ sessionId: 'session' })! };
}

describe('a waiting acquire is served when', () => {
  test.each([Outcome.SUCCESS, Outcome.UNUSED])('the lease is reported (outcome %i)', (outcome) => {
    const { rig, key, lease } = taken();
    const waited = rig.wait();
    expect(waited.granted).toBeUndefined();
    rig.report(lease, { outcome });
    expect(keyOf(waited)).toBe(key);
  });

  test('the lease expires', () => {
    const { rig, key } = taken();
    const waited = rig.wait();
    rig.pass(10_000);
    expect(keyOf(waited)).toBe(key);
  });

  test('a lease expires under the pool’s cap over all keys', () => {
    const rig = new Rig({ maxTotalLeases: 1, defaultLeaseTtlMs: 10_000 });
    rig.addKeys(2);
    rig.acquire();
    const waited = rig.wait();
    rig.pass(10_000);
    expect(waited.granted).toBeDefined();
  });

  test('the lease is revoked, or its session ends', () => {
    const { rig, key, lease } = taken();
    const waited = rig.wait();
    rig.engine.suspend(lease, LeaseState.LEFT, rig.now);
    expect(rig.engine.nextDeadline).toBeLessThan(rig.now);
    rig.pass(0);
    expect(keyOf(waited)).toBe(key);
  });

  test('a rest ends, of the key, of its project, for every model or for one', () => {
    for (const model of ['', 'pro']) {
      for (const scope of ['key', 'project'] as const) {
        const rig = new Rig();
        const key = rig.addKey({ project: 'p' });
        rig.fail(rig.acquire({ model })!, ErrorClass.RATE_LIMITED_MINUTE, { scope });
        const waited = rig.wait({ model }, 120_000);
        rig.pass(59_999);
        expect(waited.granted).toBeUndefined();
        rig.pass(1);
        expect(keyOf(waited)).toBe(key);
      }
    }
  });

  test('a rest for its model ends, also where models share the general lane', () => {
    const rig = new Rig();
    const key = rig.addKey({ project: 'p' });
    for (let i = 0; i < 64; i++) rig.use({ model: `model-${i}` });
    rig.rest(key, 'extra', 5_000);
    const waited = rig.wait({ model: 'extra' });
    expect(waited.waiter.queue).toBe(rig.pool.general.waiting);
    rig.pass(5_000);
    expect(keyOf(waited)).toBe(key);
  });

  test('a key is added', () => {
    const { rig } = taken();
    const waited = rig.wait();
    const fresh = rig.addKey();
    expect(keyOf(waited)).toBe(fresh);
  });

  test('a key is enabled, may serve the model, or comes to the required project', () => {
    const rig = new Rig({ maxConcurrentLeases: 1 });
    const other = rig.addKey({ disabled: true, models: ['flash'] });
    const busy = rig.addKey({ project: 'p' });
    rig.acquire();
    const plain = rig.wait({ model: 'pro' });
    const project = rig.wait({ requireProject: 'p' });
    rig.change(other, { disabled: false });
    expect(plain.granted ?? project.granted).toBeUndefined();
    rig.change(other, { models: [] });
    expect(keyOf(plain)).toBe(other);
    rig.report(plain.granted!.batches[0]![0]!);
    expect(project.granted).toBeUndefined();
    rig.change(other, { project: 'p' });
    expect(keyOf(project)).toBe(other);
    expect(busy.active).toBe(1);
  });

  test('a cap is raised: the key’s, the pool’s for each key, or the pool’s for all', () => {
    for (const raise of [
      (rig: Rig, key: Key) => rig.change(key, { maxConcurrentLeases: 2 }),
      (rig: Rig) => rig.changePool({ maxConcurrentLeases: 2 }),
    ]) {
      const { rig, key } = taken();
      const waited = rig.wait();
      raise(rig, key);
      expect(keyOf(waited)).toBe(key);
    }
    const rig = new Rig({ maxTotalLeases: 1 });
    rig.addKeys(2);
    rig.acquire();
    const [one, two] = [rig.wait(), rig.wait()];
    rig.changePool({ maxTotalLeases: 2 });
    expect(one.granted).toBeDefined();
    expect(two.granted).toBeUndefined();
  });

  test('another key’s lease ends under the pool’s cap over all keys, or that key is deleted', () => {
    for (const free of [
      (rig: Rig, lease: Lease) => rig.report(lease),
      (rig: Rig, lease: Lease) => rig.removeKey(lease.key),
    ]) {
      const rig = new Rig({ maxTotalLeases: 2 });
      const keys = rig.addKeys(3);
      const lease = rig.acquire()!;
      rig.acquire();
      const picky = rig.wait({ excludeKeyIds: ids(keys[1]!, keys[2]!) });
      const waited = rig.wait({ excludeKeyIds: ids(keys[0]!) });
      free(rig, lease);
      expect([picky.granted, waited.granted].filter(Boolean)).toHaveLength(1);
    }
  });

  test('a lease of a key that it cannot use ends, if that is what a batch lacks under the pool’s cap', () => {
    const rig = new Rig({ maxTotalLeases: 3 });
    rig.addKey({ models: ['pro'] });
    rig.addKey({ models: ['flash'] });
    const [one, two] = [rig.acquire({ model: 'flash' })!, rig.acquire({ model: 'flash' })!];
    const batch = rig.wait({ model: 'pro', ...batches(3) });
    rig.report(one);
    expect(batch.granted).toBeUndefined();
    rig.report(two);
    expect(batch.granted).toBeDefined();
  });

  test('a key came free while the pool’s cap was reached, and then a lease of another key ends', () => {
    const rig = new Rig({ maxConcurrentLeases: 1, maxTotalLeases: 2 });
    const [wanted] = rig.addKeys(2);
    rig.acquire({ requireKeyId: keyId(wanted!.ordinal) });
    const waited = rig.wait({ requireKeyId: keyId(wanted!.ordinal) });
    rig.addKey();
    const other = rig.acquire()!;
    rig.change(wanted!, { maxConcurrentLeases: 2 });
    expect(waited.granted).toBeUndefined();
    rig.report(other);
    expect(keyOf(waited)).toBe(wanted);
  });

  test('a key is reset', () => {
    const rig = new Rig();
    const key = rig.addKey();
    rig.fail(rig.acquire()!, ErrorClass.PERMISSION);
    const waited = rig.wait();
    rig.engine.setHealth(key, HEALTHY, rig.now);
    setRests(rig.engine, key, [], rig.now);
    rig.serve();
    expect(keyOf(waited)).toBe(key);
  });

  test('a report that rested the key is undone', () => {
    const rig = new Rig();
    const key = rig.addKey();
    const settlement = rig.fail(rig.acquire()!, ErrorClass.KEY_INVALID);
    const waited = rig.wait();
    settlement.undo(rig.now);
    rig.pass(0);
    expect(keyOf(waited)).toBe(key);
  });

  test('a batch that held it up gives up or runs out of time', () => {
    const givesUp = (rig: Rig, batch: Waited): void => {
      giveUp(rig.engine, batch.waiter);
      rig.pass(0);
    };
    for (const end of [givesUp, (rig: Rig) => rig.pass(1_000)]) {
      const rig = new Rig({ maxConcurrentLeases: 1 });
      rig.addKeys(3);
      rig.acquire();
      const batch = rig.wait(batches(3), 1_000);
      const single = rig.wait();
      expect(single.granted).toBeUndefined();
      end(rig, batch);
      expect(single.granted).toBeDefined();
    }
  });
});

describe('the queue', () => {
  test('larger priorities first, first come first served within one, over all models', () => {
    const { rig, lease } = taken();
    const asked = [0, 5, 0, -1, 5, 7].map((priority, i) => ({
      priority,
      waited: rig.wait({ priority, model: i % 2 === 0 ? 'pro' : 'flash' }),
    }));
    const served: number[] = [];
    let open: Lease | undefined = lease;
    while (open !== undefined) {
      rig.report(open);
      open = undefined;
      for (const [i, { waited }] of asked.entries()) {
        if (waited.granted === undefined || served.includes(i)) continue;
        served.push(i);
        open = waited.granted.batches[0]![0];
      }
    }
    expect(served).toEqual([5, 1, 4, 0, 2, 3]);
  });

  test('an acquire that can use none of the free keys is passed over and keeps its place', () => {
    const rig = new Rig({ maxConcurrentLeases: 1 });
    const [a, b] = rig.addKeys(2);
    const [one, two] = [rig.acquire()!, rig.acquire()!];
    const picky = rig.wait({ requireKeyId: keyId(b!.ordinal) });
    const [second, third] = [rig.wait(), rig.wait()];
    rig.report(one);
    expect(picky.granted).toBeUndefined();
    expect(keyOf(second)).toBe(a);
    rig.report(two);
    expect(keyOf(picky)).toBe(b);
    expect(third.granted).toBeUndefined();
  });

  test('keys stay free for a batch for 5 s; then those who want just one go on, who wait and who come', () => {
    const rig = new Rig({ maxConcurrentLeases: 1, defaultLeaseTtlMs: 600_000 });
    rig.addKeys(3);
    rig.acquire();
    const batch = rig.wait(batches(3), 600_000);
    const waited = rig.wait();
    rig.pass(4_999);
    expect(waited.granted).toBeUndefined();
    expect(rig.acquire()).toBeUndefined();
    rig.pass(1);
    rig.pass(0);
    expect(waited.granted).toBeDefined();
    expect(rig.acquire()).toBeDefined();
    expect(batch.granted).toBeUndefined();
  });

  test('a batch is not starved by those who want just one: keys stay free for it, but not from a larger priority', () => {
    const rig = new Rig({ maxConcurrentLeases: 1 });
    rig.addKeys(4);
    const leases = Array.from({ length: 4 }, () => rig.acquire()!);
    const batch = rig.wait(batches(2, 1));
    const single = rig.wait();
    rig.report(leases[0]!);
    rig.report(leases[1]!);
    expect(rig.acquire()).toBeUndefined();
    expect(rig.whyNot().metadata.cause).toBe('all_leased');
    const urgent = rig.acquire({ priority: 1 })!;
    expect(urgent).toBeDefined();
    rig.report(leases[2]!);
    expect(batch.granted).toBeUndefined();
    rig.report(urgent);
    expect(batch.granted!.batches.map((each) => each.length)).toEqual([2, 1]);
    rig.report(leases[3]!);
    expect(single.granted).toBeDefined();
    expect(rig.pool.waiting).toBe(0);
  });

  test('waits no longer than it was asked to, and is then told why', () => {
    const { rig } = taken();
    const waited = rig.wait({}, 2_000);
    rig.pass(1_999);
    expect(waited.refused).toBeUndefined();
    rig.pass(1);
    expect(waited.refused).toMatchObject({ reason: 'NO_KEY_AVAILABLE', metadata: { cause: 'all_leased' } });
    expect(rig.pool.waiting).toBe(0);
  });

  test('who gave up takes no key', () => {
    const { rig, key, lease } = taken();
    const gone = rig.wait();
    const next = rig.wait();
    giveUp(rig.engine, gone.waiter);
    giveUp(rig.engine, gone.waiter);
    rig.report(lease);
    expect(gone.granted).toBeUndefined();
    expect(keyOf(next)).toBe(key);
  });

  test('holds no more than max_waiting, and takes nobody whom waiting cannot help', () => {
    const { rig } = taken();
    rig.changePool({ maxWaiting: 2 });
    rig.wait();
    rig.wait();
    expect(() => rig.wait()).toThrow(
      expect.objectContaining({ reason: 'QUEUE_FULL', code: 'RESOURCE_EXHAUSTED', retryDelayMs: 1_000 }),
    );
    expect(() => rig.wait({ requireProject: 'none' })).toThrow(expect.objectContaining({ reason: 'NO_MATCHING_KEY' }));
    expect(() => rig.wait(batches(2))).toThrow(expect.objectContaining({ reason: 'NO_MATCHING_KEY' }));
  });

  test('2,000 who can use none of 500 free keys are asked once for each key that comes back, not for all', () => {
    const rig = new Rig();
    const wanted = rig.addKey({ project: 'p', maxConcurrentLeases: 1 });
    const free = rig.addKeys(500, { project: 'q' });
    const lease = rig.acquire({ requireKeyId: keyId(wanted.ordinal) })!;
    let asked = 0;
    for (let i = 0; i < 2_000; i++) {
      const { waiter } = rig.wait({ excludeProjects: ['q'], excludeKeyIds: ids(free[i % 500]!) });
      const { matches } = waiter.order;
      Object.assign(waiter.order, {
        matches: (key: Key) => {
          asked++;
          return matches!(key);
        },
      });
    }
    const busy = free.map((key) => rig.acquire({ requireKeyId: keyId(key.ordinal) })!);
    rig.report(busy[0]!);
    asked = 0;
    for (const each of busy.slice(1, 101)) rig.report(each);
    expect(asked).toBeLessThanOrEqual(100 * 2_000);
    rig.report(lease);
    expect(rig.pool.waiting).toBe(1_999);
  });
});

/** Of those who were just served, nobody that still waits came before, by priority or within it. */
function expectInOrder(asked: readonly Waited[], priorities: readonly number[], justServed: readonly number[]): void {
  const firstWaiting = new Map<number, number>();
  for (const [number, { granted }] of asked.entries()) {
    const priority = priorities[number]!;
    if (granted === undefined && !firstWaiting.has(priority)) firstWaiting.set(priority, number);
  }
  for (const number of justServed) {
    for (const [priority, first] of firstWaiting) {
      const overtaken = priority > priorities[number]! || (priority === priorities[number] && first < number);
      if (overtaken) throw new Error(`acquire ${number} was served before ${first}`);
    }
  }
}

describe('many at once', () => {
  test.each([1, 3])(
    '2,000 acquires of %i priorities over 50 keys capped at 4 leases: never a fifth, all in order, none starved',
    (levels) => {
      fc.assert(
        fc.property(fc.infiniteStream(fc.nat(999)), (randoms) => {
          const random = (below: number): number => (randoms.next().value as number) % below;
          const rig = new Rig({ maxConcurrentLeases: 4, defaultLeaseTtlMs: 30_000 });
          const keys = rig.addKeys(50);
          const priorities = Array.from({ length: 2_000 }, () => random(levels));
          const asked = priorities.map((priority) => rig.wait({ priority }, 36_000_000));
          expect(rig.pool.waiting).toBe(1_800);
          const leases: Lease[] = [];
          const served = new Set<number>();
          for (let round = 0; served.size < 2_000; round++) {
            const justServed = [...asked.keys()].filter((number) => asked[number]!.granted && !served.has(number));
            // The first 200 found a free key when they asked.
            if (round > 0) expectInOrder(asked, priorities, justServed);
            for (const number of justServed) {
              served.add(number);
              leases.push(asked[number]!.granted!.batches[0]![0]!);
            }
            const active = leases.filter(({ state }) => state === LeaseState.ACTIVE);
            const perKey = tally(active.map(({ key }) => key));
            for (const key of keys) {
              if ((perKey.get(key) ?? 0) > 4) throw new Error(`${keyId(key.ordinal)} gives more than 4 leases`);
            }
            expect(active.length).toBe(Math.min(200, 2_000 - served.size + active.length));
            if (random(5) === 0) rig.pass(random(20_000));
            for (let i = random(20); i > 0 && active.length > 0; i--) {
              rig.report(active.splice(random(active.length), 1)[0]!);
            }
            if (round > 5_000) throw new Error(`${2_000 - served.size} acquires are starved`);
          }
          expect(rig.pool.waiting).toBe(0);
        }),
        { numRuns: 3 },
      );
    },
  );

  test('after whatever happens, nobody waits whom a free key could serve', () => {
    const step = fc.record({
      do: fc.nat(9),
      which: fc.nat(999),
      model: fc.constantFrom('', 'pro', 'flash'),
      how: fc.nat(7),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 120 }), fc.constantFrom(0, 4), (steps, maxTotalLeases) => {
        const rig = new Rig({ maxConcurrentLeases: 1, maxTotalLeases, defaultLeaseTtlMs: 20_000 });
        const open: Lease[] = [];
        const waiting: Waited[] = [];
        const settings = (how: number) => ({
          project: how % 2 === 0 ? 'p' : '',
          models: how % 3 === 0 ? ['pro'] : [],
          tier: how % 4 === 0 ? 1 : 0,
        });
        for (let i = 0; i < 4; i++) rig.addKey(settings(i));
        for (const { do: what, which, model, how } of steps) {
          const keys = [...rig.engine.keys.values()];
          const key = keys[which % keys.length];
          const lease = open[which % Math.max(1, open.length)];
          if (what <= 3) {
            const wish = {
              model,
              priority: how % 2,
              requireProject: how === 3 ? 'p' : '',
              excludeKeyIds: how >= 5 && key ? ids(key) : [],
              ...(how === 4 ? batches(1 + (which % 3)) : {}),
            };
            try {
              waiting.push(rig.wait(wish, 5_000 + which * 20));
            } catch (error) {
              if (!isRefusal(error)) throw error;
            }
          } else if (what <= 5 && lease !== undefined && rig.engine.leases.get(1)?.has(lease.seq)) {
            const errorClass = [ErrorClass.RATE_LIMITED_MINUTE, ErrorClass.KEY_INVALID, ErrorClass.SERVER_ERROR][
              how % 3
            ]!;
            const scope = how % 3 === 0 ? 'project-model' : 'key';
            if (how < 5) rig.report(lease);
            else rig.fail(lease, errorClass, { scope, retryDelayMs: 3_000 });
          } else if (what === 6) rig.pass(how * which * 5);
          else if (what === 7 && keys.length < 8) rig.addKey(settings(how));
          else if (what === 8 && key !== undefined)
            rig.change(key, { ...settings(how), disabled: which % 5 === 0, maxConcurrentLeases: how % 3 });
          else if (what === 9 && key !== undefined && keys.length > 2) rig.removeKey(key);
          for (const { granted } of waiting)
            if (granted) open.push(...granted.batches.flat().filter((each) => !open.includes(each)));
          const left = waiting.filter(({ granted, refused }) => granted === undefined && refused === undefined);
          expect(rig.pool.waiting).toBe(left.length);
          // Whoever waits before a batch of the lane could not be served if it asked anew.
          const blocked = new Set<string>();
          for (const { waiter } of left.toSorted(
            (a, b) => b.waiter.priority - a.waiter.priority || a.waiter.arrival - b.waiter.arrival,
          )) {
            const { order } = waiter;
            if (blocked.has(order.model)) continue;
            if (order.batches !== undefined) blocked.add(order.model);
            const free = [...rig.engine.keys.values()].filter((one) => {
              const lane = rig.pool.laneFor(order.model, rig.now);
              return lane.has(one.slot) && (order.matches?.(one) ?? true);
            });
            const total = order.batches?.sizes[0] ?? 1;
            const room = free.reduce(
              (sum, one) =>
                sum +
                (one.settings.maxConcurrentLeases === 0 ? 99 : (one.settings.maxConcurrentLeases ?? 1) - one.active),
              0,
            );
            const cap = maxTotalLeases === 0 || rig.pool.active + total <= maxTotalLeases;
            expect(room >= total && cap).toBe(false);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});

test('a key that a batch of higher priority no longer keeps free goes to whoever waited for it before', () => {
  const rig = new Rig({ maxConcurrentLeases: 1 });
  const [wanted, busy] = rig.addKeys(2) as [Key, Key];
  const leases = [wanted, busy].map(({ ordinal }) => rig.acquire({ requireKeyId: keyId(ordinal) })!);
  const single = rig.wait({ requireKeyId: keyId(wanted.ordinal) });
  // Free, and not the one that is wanted.
  rig.addKey();
  rig.serve();
  const batch = rig.wait({ ...batches(3), priority: 1 });
  rig.report(leases[0]!);
  expect([single.granted, batch.granted]).toEqual([undefined, undefined]);
  rig.pass(5_000);
  rig.serve();
  expect(single.granted).toBeDefined();
  expect(batch.granted).toBeUndefined();
});
