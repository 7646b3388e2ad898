import { describe, expect, test } from 'vitest';
import { acquireNow } from '../../src/engine/acquire.ts';
import { setRests } from '../../src/engine/cooldowns.ts';
import { Engine } from '../../src/engine/engine.ts';
import { setLimits } from '../../src/engine/gates.ts';
import { type Key, type KeyRecord, keyId } from '../../src/engine/key.ts';
import { DEFAULT_POOL } from '../../src/engine/settings.ts';
import { acquired } from '../../src/engine/usage.ts';
import { ErrorClass, KeyState, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { keySettings } from '../support/orders.ts';
import { ids, order, Rig, tally, type Wish } from './rig.ts';

function uses(rig: Rig, count: number, wish: Wish = {}): Map<Key, number> {
  return tally(Array.from({ length: count }, () => rig.use(wish)));
}

describe('turns of a pool', () => {
  test('20 equal keys: every round of 20 picks is the same permutation', () => {
    const rig = new Rig();
    rig.addKeys(20);
    const round = (): number[] => Array.from({ length: 20 }, () => rig.use().ordinal);
    const first = round();
    expect(new Set(first).size).toBe(20);
    for (let i = 0; i < 50; i++) expect(round()).toEqual(first);
  });

  test('calls that alternate between two models use each key for both', () => {
    const rig = new Rig();
    const keys = rig.addKeys(2);
    const picked = Array.from({ length: 8 }, (_, i) => rig.use({ model: i % 2 === 0 ? 'pro' : 'flash' }));
    for (const parity of [0, 1]) {
      expect(tally(picked.filter((_, i) => i % 2 === parity))).toEqual(new Map(keys.map((key) => [key, 2])));
    }
  });

  test('a key that takes the place of a deleted one starts as new, without its debt', () => {
    const rig = new Rig();
    const slow = rig.addKey({ weight: 0.001 });
    rig.addKey();
    for (let i = 0; i < 20; i++) rig.use({ requireKeyId: keyId(slow.ordinal) });
    rig.removeKey(slow);
    const fresh = rig.addKey();
    expect(fresh.slot).toBe(slow.slot);
    expect(uses(rig, 10).get(fresh)).toBe(5);
  });

  test('a change of weight by an operator changes the shares from then on', () => {
    const rig = new Rig();
    const [a, b] = rig.addKeys(2);
    uses(rig, 100);
    rig.change(a!, { weight: 3 });
    const counts = uses(rig, 400);
    expect(Math.abs(counts.get(a!)! - 300)).toBeLessThanOrEqual(1);
    expect(b!.settings.weight).toBe(1);
  });

  test('health moves a key’s share, never its operator’s weight, and success brings the share back', () => {
    const rig = new Rig();
    const [a] = rig.addKeys(2, { weight: 2 });
    for (let i = 0; i < 12; i++) {
      rig.fail(rig.acquire({ requireKeyId: keyId(a!.ordinal) })!, ErrorClass.PERMISSION);
      rig.pass(86_400_000);
    }
    setRests(rig.engine, a!, [], rig.now);
    expect(a!.health.factor).toBe(0.1);
    expect(a!.settings.weight).toBe(2);
    // Taken without a report, so that the factor stays.
    const counts = tally(Array.from({ length: 1_100 }, () => rig.pick()));
    expect(Math.abs(counts.get(a!)! - 100)).toBeLessThanOrEqual(10);
    uses(rig, 2_000);
    expect(a!.health.factor).toBe(1);
    expect(Math.abs(uses(rig, 400).get(a!)! - 200)).toBeLessThanOrEqual(2);
  });

  test('tiers: a higher tier serves only while no key of a lower one may, and a key that is moved serves in its new one', () => {
    const rig = new Rig({ maxConcurrentLeases: 1 });
    const [free, paid] = [rig.addKey({ tier: 0 }), rig.addKey({ tier: 3 })];
    const lease = rig.acquire()!;
    expect(lease.key).toBe(free);
    expect(rig.use()).toBe(paid);
    rig.report(lease);
    expect(rig.use()).toBe(free);
    rig.change(free, { tier: 4 });
    expect(rig.use()).toBe(paid);
    rig.change(free, { tier: 3 });
    expect(uses(rig, 4)).toEqual(new Map([free, paid].map((key) => [key, 2])));
  });

  test('of a model that some keys may not serve, only the others take turns', () => {
    const rig = new Rig();
    const [any, pro] = [rig.addKey(), rig.addKey({ models: ['pro'] })];
    expect(uses(rig, 10, { model: 'flash' })).toEqual(new Map([[any, 10]]));
    expect(uses(rig, 10, { model: 'pro' })).toEqual(new Map([any, pro].map((key) => [key, 5])));
    rig.change(pro, { models: ['flash'] });
    expect(uses(rig, 10, { model: 'flash' }).get(pro)).toBe(5);
    expect(uses(rig, 10, { model: 'pro' }).get(pro)).toBeUndefined();
  });
});

describe('more models than a pool has lanes for', () => {
  function crowded(): Rig {
    const rig = new Rig();
    rig.addKeys(3);
    for (let i = 0; i < 64; i++) rig.use({ model: `model-${i}` });
    return rig;
  }

  test('share the general lane, where keys that rest for the model or may not serve it are passed over', () => {
    const rig = crowded();
    expect(rig.pool.lanes.size).toBe(65);
    const [a, b, c] = rig.pool.keys as Key[];
    rig.change(a!, { models: ['model-1'] });
    rig.rest(b!, 'extra', 5_000);
    expect(uses(rig, 20, { model: 'extra' })).toEqual(new Map([[c, 20]]));
    expect(uses(rig, 20, { model: 'other' }).get(b!)).toBeGreaterThan(0);
    rig.pass(5_000);
    expect(uses(rig, 20, { model: 'extra' }).get(b!)).toBeGreaterThan(0);
    expect(rig.pool.lanes.size).toBe(65);
  });

  test('an idle lane gives its place to another model after ten minutes, and the store is told', () => {
    const rig = crowded();
    rig.now += 600_000;
    rig.use({ model: 'model-5' });
    rig.use({ model: 'extra' });
    expect(rig.pool.lanes.has('extra')).toBe(true);
    expect(rig.pool.lanes.has('model-5')).toBe(true);
    expect(rig.pool.lanes.size).toBe(65);
    expect(rig.engine.changes.droppedLanes.size).toBe(1);
  });

  test('are counted together, and named ones keep their counts', () => {
    const rig = crowded();
    for (let i = 0; i < 10; i++) rig.use({ model: `extra-${i}` });
    expect(rig.pool.modelUsage.get('')!.counts.succeeded).toBe(10);
    expect(rig.pool.usageOf('model-63').counts.succeeded).toBe(1);
    expect(rig.pool.modelUsage.size).toBe(65);
  });
});

test('of models counted in an earlier run none takes the place of another', () => {
  const { pool } = new Rig();
  for (const model of ['', ...Array.from({ length: 64 }, (_, i) => `model-${i}`)]) {
    expect(pool.usageOf(model).model).toBe(model);
  }
  expect(pool.usageOf('extra').model).toBe('');
});

test('a pool of an earlier run breaks ties by key, as a new one does', () => {
  for (const general of [undefined, { id: 7 }]) {
    const engine = new Engine(1);
    const pool = engine.addPool(DEFAULT_POOL, general);
    for (let ordinal = 1; ordinal <= 20; ordinal++) {
      engine.addKey(pool, { ordinal, settings: keySettings(), record: {} as KeyRecord }, 0);
    }
    const picked = Array.from({ length: 20 }, () => acquireNow(engine, pool, order(), 0)!.batches[0]![0]!.key.ordinal);
    expect(picked).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  }
});

describe('caps', () => {
  test('no key gives more leases than the pool’s cap, and none is given beyond', () => {
    const rig = new Rig({ maxConcurrentLeases: 2 });
    rig.addKeys(3);
    const leases = Array.from({ length: 6 }, () => rig.acquire());
    expect(tally(leases.map((lease) => lease!.key))).toEqual(new Map((rig.pool.keys as Key[]).map((key) => [key, 2])));
    expect(rig.acquire()).toBeUndefined();
  });

  test('a key’s own cap goes before the pool’s, and 0 is no limit', () => {
    const rig = new Rig({ maxConcurrentLeases: 1 });
    const [free, two, pools] = [
      rig.addKey({ maxConcurrentLeases: 0 }),
      rig.addKey({ maxConcurrentLeases: 2 }),
      rig.addKey(),
    ];
    const counts = tally(Array.from({ length: 50 }, () => rig.pick()));
    expect(counts).toEqual(
      new Map([
        [free, 47],
        [two, 2],
        [pools, 1],
      ]),
    );
  });

  test('a cap lowered below what is out gives nothing until enough came back; a cap raised gives at once', () => {
    const rig = new Rig();
    const key = rig.addKey();
    const leases = Array.from({ length: 4 }, () => rig.acquire()!);
    rig.change(key, { maxConcurrentLeases: 2 });
    rig.report(leases[0]!);
    rig.report(leases[1]!);
    expect(rig.acquire()).toBeUndefined();
    rig.report(leases[2]!);
    expect(rig.acquire()).toBeDefined();
    expect(rig.acquire()).toBeUndefined();
    rig.change(key, { maxConcurrentLeases: undefined });
    expect(rig.acquire()).toBeDefined();
  });

  test('the pool’s cap over all keys holds whatever single keys may', () => {
    const rig = new Rig({ maxTotalLeases: 3 });
    rig.addKeys(5);
    const leases = Array.from({ length: 3 }, () => rig.acquire()!);
    expect(rig.acquire()).toBeUndefined();
    expect(rig.whyNot().metadata.cause).toBe('all_leased');
    rig.report(leases[1]!);
    expect(rig.acquire()).toBeDefined();
  });
});

describe('affinity', () => {
  test('the same affinity key gets the same key while it is healthy', () => {
    const rig = new Rig();
    rig.addKeys(5);
    const first = rig.grant({ affinityKey: 'session' })!;
    expect(first.affinityHit).toBe(false);
    for (let i = 0; i < 12; i++) {
      rig.use();
      const again = rig.grant({ affinityKey: 'session' })!;
      expect(again.affinityHit).toBe(true);
      expect(again.batches[0]![0]!.key).toBe(first.batches[0]![0]!.key);
    }
    expect(rig.use({ affinityKey: 'another' })).not.toBe(first.batches[0]![0]!.key);
  });

  test('falls over to another key when its key rests, and stays there', () => {
    const rig = new Rig();
    rig.addKeys(3);
    const first = rig.use({ affinityKey: 'session', model: 'pro' });
    rig.rest(first, 'pro', 5_000);
    const second = rig.use({ affinityKey: 'session', model: 'pro' });
    expect(second).not.toBe(first);
    rig.pass(5_000);
    for (let i = 0; i < 6; i++) expect(rig.use({ affinityKey: 'session', model: 'pro' })).toBe(second);
  });

  test('comes back to its key when that was merely full', () => {
    const rig = new Rig({ maxConcurrentLeases: 1 });
    rig.addKeys(3);
    const lease = rig.acquire({ affinityKey: 'session' })!;
    expect(rig.use({ affinityKey: 'session' })).not.toBe(lease.key);
    rig.report(lease);
    expect(rig.use({ affinityKey: 'session' })).toBe(lease.key);
  });

  test('gives way to what the call excludes', () => {
    const rig = new Rig();
    rig.addKeys(3);
    const first = rig.use({ affinityKey: 'session' });
    const second = rig.use({ affinityKey: 'session', excludeKeyIds: ids(first) });
    expect(second).not.toBe(first);
    expect(rig.use({ affinityKey: 'session' })).toBe(second);
  });

  test('does not move the turns of others: a new key starts where they are', () => {
    const rig = new Rig();
    rig.addKeys(5);
    const mine = rig.use({ affinityKey: 'session' });
    for (let i = 0; i < 1_000; i++) rig.use({ affinityKey: 'session' });
    const fresh = rig.addKey();
    const counts = uses(rig, 50);
    expect(counts.get(mine)).toBeUndefined();
    expect(counts.get(fresh)).toBe(10);
  });

  test('forgets a deleted key, even when another takes its place in the pool', () => {
    const rig = new Rig();
    const key = rig.addKey();
    rig.use({ affinityKey: 'session' });
    rig.removeKey(key);
    const fresh = rig.addKey();
    expect(fresh.slot).toBe(key.slot);
    const { batches, affinityHit } = rig.grant({ affinityKey: 'session' })!;
    expect(batches[0]![0]!.key).toBe(fresh);
    expect(affinityHit).toBe(false);
  });
});

describe('what an acquire excludes or requires', () => {
  test('excluded keys and projects are not given; keys of no project are no project’s', () => {
    const rig = new Rig();
    const [a, b, c, d] = [
      rig.addKey({ project: 'p' }),
      rig.addKey({ project: 'q' }),
      rig.addKey(),
      rig.addKey({ project: 'p' }),
    ];
    const keys = (wish: Wish): Set<Key> => new Set(uses(rig, 20, wish).keys());
    expect(keys({ excludeKeyIds: ids(a, c) })).toEqual(new Set([b, d]));
    expect(keys({ excludeProjects: ['p', ''] })).toEqual(new Set([b, c]));
    expect(keys({ excludeProjects: ['p', 'q'] })).toEqual(new Set([c]));
    expect(rig.grant({ excludeProjects: ['p', 'q'], excludeKeyIds: ids(c) })).toBeUndefined();
  });

  test('ids that name no key exclude nothing', () => {
    const rig = new Rig();
    const key = rig.addKey();
    const other = rig.addKey();
    expect(
      uses(rig, 20, { excludeKeyIds: ['nonsense', 'key-99999999', `${keyId(other.ordinal).replace('-', '-00')}`] }),
    ).toEqual(new Map([key, other].map((each) => [each, 10])));
  });

  test('a required project gives its keys in their turns, also of a project with many', () => {
    const rig = new Rig();
    const others = rig.addKeys(10, { project: 'q' });
    const wanted = rig.addKeys(200, { project: 'p' });
    const counts = uses(rig, 600, { requireProject: 'p' });
    expect(counts).toEqual(new Map(wanted.map((key) => [key, 3])));
    // Those who did not serve meanwhile come first.
    expect(new Set(uses(rig, 10).keys())).toEqual(new Set(others));
    expect(rig.grant({ requireProject: 'none' })).toBeUndefined();
    const fresh = rig.addKey({ project: 'q' });
    expect(uses(rig, 22)).toEqual(new Map([...others, fresh].map((key) => [key, 2])));
  });

  test('a required key is given whatever its turn, unless it is excluded, rests or is of another pool', () => {
    const rig = new Rig();
    const [a] = rig.addKeys(3);
    const required = { requireKeyId: keyId(a!.ordinal) };
    expect(uses(rig, 5, required)).toEqual(new Map([[a, 5]]));
    expect(rig.grant({ ...required, excludeKeyIds: ids(a!) })).toBeUndefined();
    rig.rest(a!, 'pro', 1_000);
    expect(rig.grant({ ...required, model: 'pro' })).toBeUndefined();
    expect(rig.use({ ...required, model: 'flash' })).toBe(a);
    const other = rig.engine.addPool({ ...rig.pool.settings, pool: 'other' });
    const foreign = rig.engine.addKey(other, { ordinal: 77, settings: a!.settings, record: a!.record }, rig.now);
    expect(rig.grant({ requireKeyId: keyId(foreign.ordinal) })).toBeUndefined();
    expect(rig.whyNot({ requireKeyId: keyId(foreign.ordinal) }).reason).toBe('NO_MATCHING_KEY');
  });
});

describe('results', () => {
  test('an unused lease gives its slot back, not its turn, and teaches nothing', () => {
    const rig = new Rig({ maxConcurrentLeases: 1 });
    const [a, b] = rig.addKeys(2);
    const { health } = a!;
    rig.report(rig.acquire()!, { outcome: Outcome.UNUSED });
    expect(a!.active).toBe(0);
    expect(a!.health).toBe(health);
    expect(a!.usage).toMatchObject({ unused: 1, calls: 0 });
    expect([rig.use(), rig.use()]).toEqual([b, a]);
  });

  test('what is the caller’s own fault counts as failed and leaves the key’s health and rests as they were', () => {
    const rig = new Rig();
    const key = rig.addKey({ project: 'p' });
    const { health, rests } = key;
    for (const name of ['BAD_REQUEST', 'NOT_FOUND', 'RESOURCE_MISMATCH', 'CANCELLED'] as const) {
      rig.fail(rig.acquire()!, ErrorClass[name]);
    }
    expect(key.usage).toMatchObject({ failed: 4, calls: 4 });
    expect(key.health).toBe(health);
    expect(key.rests).toBe(rests);
    expect(key.project!.rests).toEqual([]);
  });

  test('a 429 rests (project, model): other keys of the project too, other models and projects not', () => {
    const rig = new Rig();
    const [a, b, c] = [rig.addKey({ project: 'p' }), rig.addKey({ project: 'p' }), rig.addKey({ project: 'q' })];
    rig.rest(a, 'pro', 30_000);
    expect(a.health.factor).toBe(1);
    expect(uses(rig, 9, { model: 'pro' })).toEqual(new Map([[c, 9]]));
    expect(new Set(uses(rig, 9, { model: 'flash' }).keys())).toEqual(new Set([a, b, c]));
    expect(a.state).toBe(KeyState.AVAILABLE);
    rig.pass(29_999);
    expect(uses(rig, 3, { model: 'pro' })).toEqual(new Map([[c, 3]]));
    rig.pass(1);
    expect(new Set(uses(rig, 9, { model: 'pro' }).keys())).toEqual(new Set([a, b, c]));
    expect(rig.engine.restDeadlines.size).toBe(0);
  });

  test('a lease that expires counts as expired, or as a success where the pool says so; health is untouched', () => {
    for (const autoSuccess of [false, true]) {
      const rig = new Rig({ autoSuccess, defaultLeaseTtlMs: 5_000 });
      const key = rig.addKey();
      const { health } = key;
      const lease = rig.acquire()!;
      rig.pass(4_999);
      expect(key.active).toBe(1);
      rig.pass(1);
      expect(key.usage).toMatchObject({ expired: autoSuccess ? 0 : 1, succeeded: autoSuccess ? 1 : 0 });
      expect(key.active).toBe(0);
      expect(key.health).toBe(health);
      const { late } = rig.fail(lease, ErrorClass.SERVER_ERROR);
      expect(late).toBe(true);
      expect(key.usage).toMatchObject({ expired: 0, succeeded: 0, failed: 1, late: 1 });
    }
  });

  test('a TTL is the pool’s where none is asked for, and cut to its maximum', () => {
    const rig = new Rig({ defaultLeaseTtlMs: 7_000, maxLeaseTtlMs: 9_000 });
    rig.addKey();
    expect(rig.acquire()!.expireTime - rig.now).toBe(7_000);
    expect(rig.acquire({ ttlMs: 1_000 })!.expireTime - rig.now).toBe(1_000);
    expect(rig.acquire({ ttlMs: 10_000_000 })!.expireTime - rig.now).toBe(9_000);
  });
});

describe('what could not be stored', () => {
  test('a report that is undone leaves no trace: counts, health, rests and the lease are as before', () => {
    const rig = new Rig({ maxConcurrentLeases: 1 });
    const key = rig.addKey({ project: 'p' });
    rig.rest(key, 'pro', 1_000);
    const lease = rig.acquire({ model: 'flash' })!;
    const picture = (): unknown =>
      structuredClone({
        usage: key.usage,
        pool: rig.pool.usage,
        failures: rig.pool.failuresByClass,
        health: key.health,
        active: key.active,
        rests: key.project!.rests,
        lease: lease.state,
      });
    const before = picture();
    for (const [errorClass, scope] of [
      [ErrorClass.KEY_INVALID, 'key'],
      [ErrorClass.RATE_LIMITED_MINUTE, 'project-model'],
    ] as const) {
      rig.fail(lease, errorClass, { scope }).undo(rig.now);
      expect(picture()).toEqual(before);
      expect(rig.acquire({ model: 'flash' })).toBeUndefined();
    }
  });

  test('rests that ended or were added since stay as time and others made them', () => {
    const rig = new Rig();
    const key = rig.addKey({ project: 'p' });
    const [one, two] = [rig.acquire({ model: 'pro' })!, rig.acquire({ model: 'flash' })!];
    rig.rest(key, 'lite', 5_000);
    const limit = { scope: 'project-model' as const, retryDelayMs: 9_000 };
    const first = rig.fail(one, ErrorClass.RATE_LIMITED_MINUTE, limit);
    rig.fail(two, ErrorClass.RATE_LIMITED_MINUTE, limit);
    rig.pass(5_000);
    first.undo(rig.now);
    expect(key.project.rests.filter(({ until }) => until > rig.now).map(({ model }) => model)).toEqual(['flash']);
    expect(rig.acquire({ model: 'pro' })).toBeDefined();
  });

  test('a report on a kept lease that is undone after the lease expired leaves it counted as expired', () => {
    const rig = new Rig({ defaultLeaseTtlMs: 1_000 });
    const key = rig.addKey();
    const lease = rig.acquire()!;
    const { undo } = rig.report(lease, { keepLease: true });
    rig.pass(1_000);
    expect(key.usage).toMatchObject({ succeeded: 1, expired: 0, calls: 1 });
    undo(rig.now);
    expect(key.usage).toMatchObject({ succeeded: 0, expired: 1, calls: 0 });
  });

  test('a report that is undone after its key was deleted counts as released, and brings no key back', () => {
    for (const outcome of [Outcome.SUCCESS, Outcome.FAILURE]) {
      const rig = new Rig();
      const key = rig.addKey();
      rig.fail(rig.acquire()!, ErrorClass.PERMISSION);
      rig.pass(3_600_000);
      const lease = rig.acquire()!;
      const { undo } = outcome === Outcome.SUCCESS ? rig.report(lease) : rig.fail(lease, ErrorClass.KEY_INVALID);
      rig.removeKey(key);
      undo(rig.now);
      expect(rig.pool.usage).toMatchObject({ released: 1, failed: 1, succeeded: 0, calls: 1 });
      expect(rig.acquire()).toBeUndefined();
      expect(rig.pool.general.size).toBe(0);
      expect(rig.pool.states[KeyState.AVAILABLE]).toBe(0);
    }
  });
});

test('nothing grows with the number of leases ever given', () => {
  const rig = new Rig({ defaultLeaseTtlMs: 1_000 });
  rig.addKeys(20, { project: 'p' });
  for (let i = 0; i < 20_000; i++) {
    const lease = rig.acquire({
      model: `model-${i % 200}`,
      affinityKey: `a${i % 10}`,
      sessionId: i % 3 === 0 ? `s${i}` : '',
    })!;
    if (i % 4 === 0) rig.fail(lease, ErrorClass.SERVER_ERROR);
    else if (i % 4 < 3) rig.report(lease);
    rig.pass(10);
  }
  rig.pass(3_700_000);
  const { engine, pool } = rig;
  expect([...engine.leases.values()].reduce((sum, ofBoot) => sum + ofBoot.size, 0)).toBe(0);
  expect(engine.sessions.size).toBe(0);
  expect(engine.leaseDeadlines.size + engine.restDeadlines.size + engine.waitDeadlines.size).toBe(0);
  expect(pool.lanes.size).toBeLessThanOrEqual(65);
  expect(pool.modelUsage.size).toBeLessThanOrEqual(65);
  for (const key of engine.keys.values()) expect(key.leases.size).toBe(0);
  expect(acquired(pool.usage, pool.active)).toBe(20_000);
});

test('a project that no key names any more is forgotten once nothing is known of its rests and limits', () => {
  const rig = new Rig();
  const key = rig.addKey({ project: 'p' });
  rig.use({ model: 'pro' });
  rig.rest(key, '', 5_000);
  rig.change(key, { project: 'q' });
  rig.pass(5_000);
  // Would it rest again within a minute, it had struck twice.
  expect(rig.engine.projects.has('p')).toBe(true);
  rig.pass(60_000);
  expect([...rig.engine.projects.keys()]).toEqual(['q']);
  setLimits(rig.engine, key.project, 'pro', { requestsPerMinute: 7 }, rig.now);
  rig.change(key, { project: 'p' });
  expect([...rig.engine.projects.keys()]).toEqual(['q', 'p']);
  expect(key.project.gates).toBeUndefined();
  rig.change(key, { project: 'q' });
  expect(key.project.gates!.get('pro')!.meter.setLimits).toEqual({ requestsPerMinute: 7 });
});
