import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { setRests } from '../../src/engine/cooldowns.ts';
import { setDefaults, setLimits } from '../../src/engine/gates.ts';
import { type Key, keyId } from '../../src/engine/key.ts';
import type { Limits } from '../../src/engine/quota/limits.ts';
import type { LimitName, StatedLimit } from '../../src/gemini/finding.ts';
import { ErrorClass, KeyReuse, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { ids, keyOf, Rig, tally } from './rig.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const ask = { model: 'pro' };
/** 2026-06-15 at noon in Los Angeles, when the rig's clock shows 1,000. */
const NOON = { wallOffset: Date.UTC(2026, 5, 15, 19) - 1_000 };

/** Keys of as many projects as there are limits, each with its limits for "pro". */
function limited(...limits: Limits[]): { rig: Rig; keys: Key[] } {
  const rig = new Rig({}, NOON);
  const keys = limits.map((each, i) => {
    const key = rig.addKey({ project: `p-${i}` });
    setLimits(rig.engine, key.project, 'pro', each, rig.now);
    return key;
  });
  return { rig, keys };
}

function used(rig: Rig, key: Key, name: LimitName, model = 'pro'): number {
  return key.project.gates!.get(model)!.meter.used(name, rig.engine.moment(rig.now));
}

function batches(sizes: number[], reuse: KeyReuse = KeyReuse.ALLOWED, partial = false) {
  return { batches: { sizes, reuse, partial } };
}

describe('an acquire that would break a limit', () => {
  test('goes to another project, and to that which has room as long as it has', () => {
    const { rig, keys } = limited({ requestsPerMinute: 3 }, { requestsPerMinute: 5 }, { requestsPerDay: 2 });
    const picked = Array.from({ length: 10 }, () => rig.pick(ask));
    expect(tally(picked)).toEqual(new Map(keys.map((key, i) => [key, [3, 5, 2][i]!])));
    expect(rig.acquire(ask)).toBeUndefined();
    expect(rig.acquire({ model: 'flash' })).toBeDefined();
  });

  test('takes no other key of the same project, and no other pool’s', () => {
    const { rig, keys } = limited({ requestsPerMinute: 1 });
    const other = rig.addKey({ project: 'p-0' });
    rig.acquire({ ...ask, requireKeyId: keyId(keys[0]!.ordinal) });
    expect(rig.acquire({ ...ask, requireKeyId: keyId(other.ordinal) })).toBeUndefined();
    expect(rig.whyNot(ask)).toMatchObject({ retryDelayMs: MINUTE, metadata: { cause: 'rate_limited' } });
  });

  test('waits for the tokens that it needs also by a key that comes to the project later, and by a limit that is raised', () => {
    const rig = new Rig({}, NOON);
    const key = rig.addKey({ project: 'p' });
    const other = rig.addKey();
    const large = { ...ask, tokens: 400, requireProject: 'p' };
    setDefaults(rig.engine, key.project, { inputTokensPerMinute: 500 }, rig.now);
    rig.acquire(large);
    rig.pass(MINUTE / 2);
    rig.acquire({ ...large, tokens: 50 });
    const first = rig.wait({ ...large, tokens: 480 }, HOUR);
    rig.removeKey(key);
    rig.change(other, { project: 'p' });
    setDefaults(rig.engine, other.project, { inputTokensPerMinute: 550 }, rig.now);
    rig.serve();
    rig.pass(MINUTE / 2 - 1);
    expect(first.granted).toBeUndefined();
    rig.pass(1);
    expect(first.granted).toBeDefined();
  });

  test('waits for the tokens that it needs also behind somebody who was held up by a rest as well, and took them', () => {
    const rig = new Rig({}, NOON);
    const key = rig.addKey({ project: 'p' });
    setDefaults(rig.engine, key.project, { inputTokensPerMinute: 500 }, rig.now);
    rig.fail(rig.acquire({ requireKeyId: keyId(key.ordinal) })!, ErrorClass.PERMISSION, { scope: 'key' });
    const large = { ...ask, tokens: 400, requireProject: 'p' };
    const [first, second] = [rig.wait(large, HOUR), rig.wait(large, HOUR)];
    // In vain: it is of another project.
    rig.addKey();
    rig.serve();
    setRests(rig.engine, key, [], rig.now);
    rig.serve();
    expect([first.granted, second.granted]).toEqual([expect.anything(), undefined]);
    rig.pass(MINUTE);
    expect(second.granted).toBeDefined();
  });

  test('waits, and gets its key at the very moment at which a minute has room', () => {
    const { rig } = limited({ requestsPerMinute: 2 });
    rig.acquire(ask);
    rig.pass(7_123.5);
    rig.acquire(ask);
    const [first, second] = [rig.wait(ask, HOUR), rig.wait(ask, HOUR)];
    expect(rig.engine.nextDeadline).toBe(61_000);
    rig.pass(MINUTE - 7_123.5 - 0.25);
    expect(first.granted).toBeUndefined();
    rig.pass(0.25);
    expect([first.granted !== undefined, second.granted]).toEqual([true, undefined]);
    rig.pass(7_123.25);
    expect(second.granted).toBeUndefined();
    rig.pass(0.25);
    expect(second.granted).toBeDefined();
  });

  test('waits for a spent day until midnight in Los Angeles', () => {
    const { rig } = limited({ requestsPerDay: 1 });
    rig.acquire(ask);
    expect(rig.whyNot(ask)).toMatchObject({ retryDelayMs: 12 * HOUR, metadata: { cause: 'quota_exhausted' } });
    const waited = rig.wait(ask, 24 * HOUR);
    rig.pass(12 * HOUR - 1);
    expect(waited.granted).toBeUndefined();
    rig.pass(1);
    expect(waited.granted).toBeDefined();
  });

  test('is told that waiting cannot help where the limit is 0', () => {
    const { rig, keys } = limited({ requestsPerDay: 0 });
    expect(rig.whyNot(ask)).toMatchObject({
      code: 'FAILED_PRECONDITION',
      reason: 'NO_MATCHING_KEY',
      message: expect.stringContaining('limits of 0'),
    });
    expect(() => rig.wait(ask)).toThrow(expect.objectContaining({ reason: 'NO_MATCHING_KEY' }));
    setLimits(rig.engine, keys[0]!.project, 'pro', { requestsPerDay: 1 }, rig.now);
    expect(rig.acquire(ask)).toBeDefined();
  });

  test('gets its key when the limit is raised', () => {
    const { rig, keys } = limited({ requestsPerMinute: 1 });
    rig.acquire(ask);
    const waited = rig.wait(ask, HOUR);
    setLimits(rig.engine, keys[0]!.project, 'pro', { requestsPerMinute: 2 }, rig.now);
    rig.pass(0);
    expect(waited.granted).toBeDefined();
  });

  test('without a model of its own lane waits and is served like others', () => {
    const { rig, keys } = limited({});
    for (let i = 0; i < 64; i++) rig.pool.laneFor(`model-${i}`, rig.now);
    setLimits(rig.engine, keys[0]!.project, 'extra', { requestsPerMinute: 1 }, rig.now);
    rig.acquire({ model: 'extra' });
    const waited = rig.wait({ model: 'extra' }, HOUR);
    expect(waited.waiter.queue).toBe(rig.pool.general.waiting);
    rig.pass(MINUTE - 1);
    expect(waited.granted).toBeUndefined();
    rig.pass(1);
    expect(waited.granted).toBeDefined();
    setDefaults(rig.engine, keys[0]!.project, { requestsPerMinute: 1 }, rig.now);
    rig.acquire({ model: 'more' });
    const second = rig.wait({ model: 'more' }, HOUR);
    rig.serve();
    expect(second.granted).toBeUndefined();
    setDefaults(rig.engine, keys[0]!.project, { requestsPerMinute: 2 }, rig.now);
    rig.pass(0);
    expect(second.granted).toBeDefined();
  });
});

describe('expected tokens', () => {
  test('are booked with the acquire: who expects many is passed on to a project that has room for them', () => {
    const { rig, keys } = limited({ inputTokensPerMinute: 1_000 }, { inputTokensPerMinute: 5_000 });
    expect(rig.pick({ ...ask, tokens: 900 })).toBe(keys[0]);
    for (let i = 0; i < 2; i++) expect(rig.pick({ ...ask, tokens: 2_000 })).toBe(keys[1]);
    expect(rig.acquire({ ...ask, tokens: 2_000 })).toBeUndefined();
    expect(rig.pick({ ...ask, tokens: 100 })).toBe(keys[0]);
    expect([used(rig, keys[0]!, 'inputTokensPerMinute'), used(rig, keys[1]!, 'inputTokensPerMinute')]).toEqual([
      1_000, 4_000,
    ]);
  });

  test('are corrected by what the report says, and who waits for the room gets it then', () => {
    const { rig, keys } = limited({ inputTokensPerMinute: 1_000 });
    const lease = rig.acquire({ ...ask, tokens: 900 })!;
    const waited = rig.wait({ ...ask, tokens: 500 }, HOUR);
    rig.pass(5_000);
    expect(waited.granted).toBeUndefined();
    rig.report(lease, { inputTokens: 400 });
    expect(waited.granted).toBeDefined();
    expect(used(rig, keys[0]!, 'inputTokensPerMinute')).toBe(900);
    rig.report(waited.granted!.batches[0]![0]!, { inputTokens: 4_000 });
    expect(used(rig, keys[0]!, 'inputTokensPerMinute')).toBe(4_400);
    expect(rig.acquire(ask)).toBeUndefined();
  });

  test('come back with a report on a kept lease too, and so for keys that are not offered themselves', () => {
    const { rig, keys } = limited({ inputTokensPerMinute: 1_000 });
    const other = rig.addKey({ project: 'p-0' });
    const lease = rig.acquire({ ...ask, tokens: 450, requireKeyId: keyId(keys[0]!.ordinal) })!;
    const waited = rig.wait({ ...ask, tokens: 600, requireKeyId: keyId(other.ordinal) }, HOUR);
    rig.change(keys[0]!, { disabled: true });
    rig.report(lease, { inputTokens: 100 });
    expect(waited.granted).toBeDefined();
    const kept = rig.acquire({ ...ask, tokens: 150 })!;
    const second = rig.wait({ ...ask, tokens: 300 }, HOUR);
    rig.report(waited.granted!.batches[0]![0]!, { inputTokens: 150, keepLease: true });
    expect(used(rig, other, 'inputTokensPerMinute')).toBe(100 + 150 + 600 + 150);
    expect(second.granted).toBeUndefined();
    rig.report(kept, { outcome: Outcome.UNUSED });
    rig.report(waited.granted!.batches[0]![0]!, { outcome: Outcome.UNUSED });
    expect(second.granted).toBeDefined();
  });

  test('are waited for no longer because something else happened while time went by', () => {
    const { rig } = limited({ inputTokensPerMinute: 500 });
    const other = rig.addKey({ project: 'q' });
    rig.acquire({ ...ask, tokens: 400, requireProject: 'p-0' });
    rig.acquire({ requireProject: 'q', ttlMs: 30_000 });
    const waited = rig.wait({ ...ask, tokens: 400, excludeKeyIds: ids(other) }, HOUR);
    rig.serve();
    rig.pass(70_000);
    expect(waited.granted).toBeDefined();
  });

  test('do not keep an acquire from trying a spent day whose limit was learned', () => {
    const { rig } = limited({});
    for (let i = 0; i < 3; i++) rig.use({ ...ask, tokens: 10 });
    rig.fail(rig.acquire(ask)!, ErrorClass.QUOTA_EXHAUSTED_DAY, {
      scope: 'project-model',
      retryDelayMs: 0,
      limits: [{ name: 'requestsPerDay', value: 3, quotaId: '', model: '' }],
    });
    rig.pass(MINUTE);
    const trial = rig.acquire({ ...ask, tokens: 10 })!;
    expect(rig.acquire({ ...ask, tokens: 10 })).toBeUndefined();
    // It works, so that the limit was none of a day.
    rig.report(trial);
    expect(rig.acquire({ ...ask, tokens: 10 })).toBeDefined();
  });

  test('beyond the limit itself are let through alone: only Gemini can say no', () => {
    const { rig } = limited({ inputTokensPerMinute: 1_000 });
    rig.acquire({ ...ask, tokens: 10 });
    expect(rig.acquire({ ...ask, tokens: 5_000 })).toBeUndefined();
    rig.pass(MINUTE);
    expect(rig.acquire({ ...ask, tokens: 5_000 })).toBeDefined();
  });

  test('are waited for until the very moment at which they fit, whatever else was booked before', () => {
    const call = fc.record({ after: fc.integer({ min: 100, max: 20_000 }), tokens: fc.integer({ min: 0, max: 600 }) });
    fc.assert(
      fc.property(
        fc.array(fc.array(call, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 3 }),
        fc.array(fc.integer({ min: 2, max: 1_200 }), { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 2, max: 5 }),
        (projects, wanted, requests) => {
          const limits = { requestsPerMinute: requests, inputTokensPerMinute: 1_000 };
          const { rig, keys } = limited(...projects.map(() => limits));
          const booked: { project: number; at: number; tokens: number }[] = [];
          const calls = projects.flatMap((some, project) => {
            let at = rig.now;
            return some.map(({ after, tokens }) => {
              at += after;
              return { project, at, tokens };
            });
          });
          for (const { project, at, tokens } of calls.toSorted((a, b) => a.at - b.at)) {
            rig.pass(at - rig.now);
            const lease = rig.acquire({ ...ask, tokens, requireKeyId: keyId(keys[project]!.ordinal) });
            if (lease !== undefined) booked.push({ project, at, tokens });
          }
          const fits = (project: number, tokens: number, at: number, counted = booked): boolean => {
            const recent = counted.filter((each) => each.project === project && each.at > at - MINUTE);
            const sum = recent.reduce((all, each) => all + each.tokens, 0);
            return recent.length < requests && sum + Math.min(1_000, tokens) <= 1_000;
          };
          /** Calls of a project within 100 ms of the first of them leave with the last. */
          const together = (): typeof booked => {
            const entries = keys.map(() => ({ first: -Infinity, last: 0 }));
            const entryOf = booked.map(({ project, at }) => {
              if (at - entries[project]!.first >= 100) entries[project] = { first: at, last: at };
              entries[project]!.last = at;
              return entries[project]!;
            });
            return booked.map((each, call) => ({ ...each, at: entryOf[call]!.last }));
          };
          const isFree = (tokens: number): boolean =>
            keys.some((_, project) => fits(project, tokens, rig.now, together()));
          const waiting = wanted.map((tokens) => ({ tokens, waited: rig.wait({ ...ask, tokens }, HOUR) }));
          const serve = (): void => {
            for (const each of waiting.splice(0)) {
              const key = keyOf(each.waited);
              if (key === undefined) waiting.push(each);
              else {
                const project = keys.indexOf(key);
                expect(fits(project, each.tokens, rig.now)).toBe(true);
                booked.push({ project, at: rig.now, tokens: each.tokens });
              }
            }
            for (const { tokens } of waiting) expect(isFree(tokens)).toBe(false);
          };
          serve();
          while (waiting.length > 0) {
            // To just before anything leaves a window, and to that moment.
            const next = Math.min(...booked.map(({ at }) => at + MINUTE).filter((at) => at > rig.now));
            rig.pass(next - 0.5 - rig.now);
            serve();
            rig.pass(0.5);
            serve();
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('what was booked', () => {
  test('comes back whole when the key was not used, or Gemini turned the call away', () => {
    const { rig, keys } = limited({ requestsPerMinute: 1, requestsPerDay: 5 });
    rig.report(rig.acquire({ ...ask, tokens: 50 })!, { outcome: Outcome.UNUSED });
    rig.fail(rig.acquire(ask)!, ErrorClass.QUOTA_ZERO, { scope: 'none' });
    for (const name of ['requestsPerMinute', 'requestsPerDay', 'inputTokensPerMinute'] as const) {
      expect(used(rig, keys[0]!, name)).toBe(0);
    }
    rig.fail(rig.acquire(ask)!, ErrorClass.SERVER_ERROR, { scope: 'none' });
    expect(used(rig, keys[0]!, 'requestsPerMinute')).toBe(1);
    expect(rig.acquire(ask)).toBeUndefined();
  });

  test('stays booked when the lease expires or its session ends: nobody says that the call was not made', () => {
    for (const autoSuccess of [true, false]) {
      const { rig, keys } = limited({ requestsPerMinute: 2 });
      rig.changePool({ autoSuccess });
      rig.acquire({ ...ask, ttlMs: 1_000 });
      rig.pass(1_000);
      expect(used(rig, keys[0]!, 'requestsPerMinute')).toBe(1);
    }
  });

  test('is one call for each report on a kept lease', () => {
    const { rig, keys } = limited({ requestsPerDay: 5, requestsPerMinute: 4 });
    const lease = rig.acquire({ ...ask, tokens: 10 })!;
    for (let i = 1; i <= 3; i++) {
      rig.report(lease, { keepLease: true, inputTokens: 100 });
      expect(used(rig, keys[0]!, 'requestsPerMinute')).toBe(i + 1);
      expect(used(rig, keys[0]!, 'inputTokensPerMinute')).toBe(100 * i + 10);
    }
    expect(rig.acquire(ask)).toBeUndefined();
    // The call that it might have made next was not made.
    rig.pass(120_000);
    expect(used(rig, keys[0]!, 'requestsPerDay')).toBe(3);
  });
});

describe('a batch', () => {
  test('is spread over projects as their limits allow, and is given whole or not at all', () => {
    const { rig, keys } = limited({ requestsPerMinute: 2 }, { requestsPerMinute: 3 });
    expect(rig.grant({ ...ask, ...batches([6]) })).toBeUndefined();
    expect(keys.map((key) => used(rig, key, 'requestsPerMinute'))).toEqual([0, 0]);
    const given = rig.grant({ ...ask, ...batches([3, 2]) })!.batches;
    expect(given.map((batch) => batch.length)).toEqual([3, 2]);
    expect(tally(given.flat().map(({ key }) => key))).toEqual(
      new Map([
        [keys[0], 2],
        [keys[1], 3],
      ]),
    );
    expect(rig.acquire(ask)).toBeUndefined();
  });

  test('is short where it may be', () => {
    const { rig } = limited({ requestsPerMinute: 2 }, { inputTokensPerMinute: 1_000 });
    const given = rig.grant({ ...ask, tokens: 400, ...batches([9], KeyReuse.ALLOWED, true) })!.batches;
    expect(given[0]).toHaveLength(4);
  });

  test('that waits gets its keys at the very moment at which there is room for all of them', () => {
    const { rig } = limited({ requestsPerMinute: 3 });
    for (let i = 0; i < 3; i++) {
      rig.acquire(ask);
      rig.pass(10_000);
    }
    const waited = rig.wait({ ...ask, ...batches([2]) }, HOUR);
    rig.pass(39_999);
    expect(waited.granted).toBeUndefined();
    rig.pass(1);
    expect(waited.granted?.batches[0]).toHaveLength(2);
  });
});

describe('limits of a project', () => {
  test('for models without their own hold for each of them alone', () => {
    const { rig, keys } = limited({ requestsPerMinute: 3 });
    setDefaults(rig.engine, keys[0]!.project, { requestsPerMinute: 1 }, rig.now);
    const count = (model: string): number => {
      let leases = 0;
      while (leases < 10 && rig.acquire({ model }) !== undefined) leases++;
      return leases;
    };
    expect(['pro', 'flash', 'lite'].map(count)).toEqual([3, 1, 1]);
    setLimits(rig.engine, keys[0]!.project, 'pro', {}, rig.now);
    rig.pass(MINUTE);
    expect(count('pro')).toBe(1);
    setDefaults(rig.engine, keys[0]!.project, {}, rig.now);
    expect(count('flash')).toBe(10);
  });

  test('that were set before it had a key hold once it has one', () => {
    const rig = new Rig();
    setLimits(rig.engine, rig.engine.project('later'), 'pro', { requestsPerMinute: 1 }, rig.now);
    rig.addKey({ project: 'later' });
    expect([rig.acquire(ask) !== undefined, rig.acquire(ask)]).toEqual([true, undefined]);
  });

  const stated = (value: number, name: LimitName = 'requestsPerMinute'): StatedLimit => ({
    name,
    value,
    quotaId: '',
    model: '',
  });

  test('are learned from the refusal that states them, and then kept before the call', () => {
    const { rig, keys } = limited({});
    for (let i = 0; i < 4; i++) rig.use(ask);
    rig.fail(rig.acquire(ask)!, ErrorClass.RATE_LIMITED_MINUTE, {
      scope: 'project-model',
      retryDelayMs: 5_000,
      limits: [stated(4)],
    });
    expect(keys[0]!.project.gates!.get('pro')!.meter.limit('requestsPerMinute', rig.engine.moment(rig.now))).toEqual({
      value: 4,
      origin: 'learned',
    });
    rig.pass(5_000);
    // The cooldown is over, the minute is not.
    expect(rig.acquire(ask)).toBeUndefined();
    rig.pass(MINUTE);
    expect(Array.from({ length: 5 }, () => rig.acquire(ask) !== undefined)).toEqual([true, true, true, true, false]);
  });

  test('are not learned from what a caller got wrong, nor from a figure that calls have disproved', () => {
    const { rig, keys } = limited({});
    for (let i = 0; i < 9; i++) rig.use(ask);
    rig.fail(rig.acquire(ask)!, ErrorClass.BAD_REQUEST, { scope: 'none', limits: [stated(20)] });
    rig.fail(rig.acquire(ask)!, ErrorClass.QUOTA_EXHAUSTED_DAY, {
      scope: 'none',
      limits: [stated(8, 'requestsPerDay'), stated(0), stated(-3), stated(1.5)],
    });
    expect(keys[0]!.project.gates!.get('pro')!.meter.learned).toEqual({});
    expect(rig.acquire(ask)).toBeDefined();
  });
});

test('of one project with 10,000 keys a full minute costs an acquire no look at its keys', () => {
  const rig = new Rig();
  rig.addKeys(10_000, { project: 'large' });
  rig.addKey({ project: 'small' });
  const { project } = rig.pool.keys[0]!;
  setLimits(rig.engine, project, 'pro', { requestsPerMinute: 500, inputTokensPerMinute: 1e6 }, rig.now);
  rig.pool.laneFor('pro', rig.now);
  let looks = 0;
  const counted = <T extends object>(target: T, names: readonly (keyof T)[]): void => {
    for (const name of names) {
      const original = (target[name] as (...args: unknown[]) => unknown).bind(target);
      Object.defineProperty(target, name, {
        value: (...args: unknown[]) => {
          looks++;
          return original(...args);
        },
      });
    }
  };
  counted(rig.pool.lanes.get('pro')!, ['has', 'isIn', 'join', 'leave', 'reweigh', 'take', 'peek', 'open', 'close']);
  counted(rig.pool, ['place', 'refresh', 'supply']);
  const { keys } = rig.pool;
  Object.defineProperty(keys, Symbol.iterator, {
    value: () => {
      looks += 10_000;
      return Array.prototype.values.call(keys);
    },
  });
  let served = 0;
  for (let i = 0; i < 2_000; i++) {
    // One in two expects so many tokens that the large project fills up by them first.
    const lease = rig.acquire({ ...ask, tokens: i % 2 === 0 ? 0 : 4_000 });
    if (lease !== undefined) served++;
    rig.pass(100);
  }
  expect(served).toBe(2_000);
  expect(looks).toBeLessThan(2_000 * 20);
});

test('a project without room for the expected tokens is passed over as one, not key by key', () => {
  const { rig, keys } = limited({ inputTokensPerMinute: 1_000 });
  rig.addKeys(2_000, { project: 'p-0' });
  rig.acquire({ ...ask, tokens: 900 });
  const free = rig.addKey({ project: 'q' });
  const { meter } = keys[0]!.project.gates!.get('pro')!;
  const readyAt = vi.spyOn(meter, 'readyAt');
  expect(rig.pick({ ...ask, tokens: 500 })).toBe(free);
  expect(rig.pick({ ...ask, tokens: 500, excludeKeyIds: ids(keys[0]!) })).toBe(free);
  expect(readyAt.mock.calls.length).toBeLessThan(10);
});

test('what refusals taught of 64 models gives way to a limit that an administrator sets for another', () => {
  const rig = new Rig({}, NOON);
  const key = rig.addKey({ project: 'p' });
  for (let i = 0; i < 64; i++) {
    const lease = rig.acquire({ model: `made-up-${i}` })!;
    const limits: StatedLimit[] = [{ name: 'requestsPerMinute', value: 5, quotaId: '', model: '' }];
    rig.fail(lease, ErrorClass.RATE_LIMITED_MINUTE, { scope: 'project-model', limits });
  }
  setLimits(rig.engine, key.project, 'pro', { requestsPerMinute: 1 }, rig.now);
  rig.use(ask);
  expect(rig.acquire(ask)).toBeUndefined();
  expect(key.project.gates!.size).toBe(64);
});
