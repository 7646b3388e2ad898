import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { setLimits } from '../../src/engine/gates.ts';
import { type Key, keyId } from '../../src/engine/key.ts';
import { LeaseState } from '../../src/engine/lease.ts';
import { verified } from '../../src/engine/quarantine.ts';
import { blocksUntil } from '../../src/engine/rest.ts';
import type { Scope } from '../../src/gemini/finding.ts';
import { ErrorClass } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { keyOf, Rig, type Wish } from './rig.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const NOON = { wallOffset: Date.UTC(2026, 5, 15, 19) - 1_000 };
const limit = { scope: 'project-model' as const };

/** Passes time, in which Gemini takes every key that it is asked about. */
function passAsking(rig: Rig, ms: number): void {
  const end = rig.now + ms;
  while (rig.engine.checks.next <= end) {
    rig.pass(Math.max(0, rig.engine.checks.next - rig.now));
    const suspicion = rig.engine.checks.popDue(rig.now)!;
    verified(rig.engine, suspicion.key, suspicion, undefined, rig.now);
    rig.serve();
  }
  rig.pass(end - rig.now);
}

describe('when all keys rest', () => {
  test('those who wait get keys at the very moment at which each returns, the first first', () => {
    const rig = new Rig();
    const keys = rig.addKeys(4);
    const delays = [30_000, 10_000.5, 20_000, 40_000];
    for (const [i, key] of keys.entries()) rig.rest(key, 'pro', delays[i]!);
    const waited = Array.from({ length: 2 }, () => rig.wait({ model: 'pro' }, HOUR));
    expect(rig.engine.nextDeadline - rig.now).toBe(10_000.5);
    rig.pass(10_000.25);
    expect(waited.map(keyOf)).toEqual([undefined, undefined]);
    rig.pass(0.25);
    expect(waited.map(keyOf)).toEqual([keys[1], keys[1]]);
  });

  test('by quarantine, cooldown, quota and breaker, each alone holds an acquire back, and the last of them frees it', () => {
    const rig = new Rig({}, NOON);
    const key = rig.addKey({ project: 'p' });
    const leases = Array.from({ length: 3 }, () => rig.acquire({ model: 'pro' })!);
    setLimits(rig.engine, key.project, 'pro', { requestsPerMinute: 2 }, rig.now);
    rig.fail(leases[0]!, ErrorClass.KEY_INVALID);
    rig.fail(leases[1]!, ErrorClass.RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 150_000 });
    rig.fail(leases[2]!, ErrorClass.OVERLOADED, { scope: 'none', retryDelayMs: 30_000 });
    expect(rig.whyNot({ model: 'pro' })).toMatchObject({ retryDelayMs: 150_000, metadata: { cause: 'rate_limited' } });
    expect(rig.whyNot({ model: 'flash' })).toMatchObject({ retryDelayMs: MINUTE, metadata: { cause: 'quarantined' } });
    const waited = rig.wait({ model: 'pro' }, HOUR);
    passAsking(rig, 149_999);
    expect(waited.granted).toBeUndefined();
    passAsking(rig, 1);
    expect(waited.granted).toBeDefined();
  });

  test('a suspended key comes 10 minutes after Gemini is asked, if it takes it', () => {
    const rig = new Rig();
    rig.addKey();
    rig.fail(rig.acquire()!, ErrorClass.KEY_SUSPENDED);
    expect(rig.whyNot()).toMatchObject({ retryDelayMs: 10 * MINUTE, metadata: { cause: 'quarantined' } });
  });
});

/** What may keep a key back, with the cause that a refusal gives. */
const FAILURES = [
  { errorClass: ErrorClass.RATE_LIMITED_MINUTE, scope: 'project-model', cause: 'rate_limited' },
  { errorClass: ErrorClass.RATE_LIMITED_TOKENS, scope: 'key', cause: 'rate_limited' },
  { errorClass: ErrorClass.QUOTA_EXHAUSTED_DAY, scope: 'project-model', cause: 'quota_exhausted' },
  { errorClass: ErrorClass.QUOTA_ZERO, scope: 'project-model', cause: 'quota_exhausted' },
  { errorClass: ErrorClass.BILLING, scope: 'project', cause: 'billing' },
  { errorClass: ErrorClass.SPEND_RATE_LIMITED, scope: 'project', cause: 'billing' },
  { errorClass: ErrorClass.PERMISSION, scope: 'key', cause: 'permission' },
  { errorClass: ErrorClass.KEY_INVALID, scope: 'key', cause: 'quarantined' },
] as const satisfies readonly { errorClass: ErrorClass; scope: Scope; cause: string }[];

const failure = fc.record({
  how: fc.constantFrom(...FAILURES),
  model: fc.constantFrom('pro', 'pro', 'flash'),
  delay: fc.option(fc.integer({ min: 0, max: 10 * MINUTE }), { nil: undefined }),
  after: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 3 * MINUTE }), fc.integer({ min: HOUR, max: 2 * HOUR })),
  keep: fc.nat(4),
});
const limits = fc.record(
  {
    requestsPerMinute: fc.integer({ min: 1, max: 4 }),
    requestsPerDay: fc.integer({ min: 2, max: 6 }),
    inputTokensPerMinute: fc.integer({ min: 100, max: 1_000 }),
  },
  { requiredKeys: [] },
);

/** Takes keys for the model until none is left, with this or that failure. Few of the leases stay out. */
function dry(rig: Rig, wish: Wish, failures: readonly (typeof failure extends fc.Arbitrary<infer T> ? T : never)[]) {
  for (let i = 0; i < 200; i++) {
    // Each for another caller, so that all are believed.
    const lease = rig.acquire({ ...wish, caller: `caller-${rig.engine.lastSeq}` });
    if (lease === undefined) return;
    const { how, delay, keep } = failures[i % failures.length]!;
    if (keep === 0 && lease.trials !== undefined) continue;
    rig.fail(lease, how.errorClass, { scope: how.scope, retryDelayMs: delay });
  }
  throw new Error('keys never run out');
}

/** What keeps the key from serving at the time, by cause: until when. */
function hindrances(rig: Rig, key: Key, { model, tokens }: { model: string; tokens: number }): Map<string, number> {
  const found = new Map<string, number>();
  const add = (cause: string, until: number): void => {
    if (until > rig.now) found.set(cause, Math.max(found.get(cause) ?? 0, until));
  };
  if (key.suspicion?.held) add('quarantined', Math.max(rig.now + 1, key.suspicion.deadline));
  for (const rest of [...key.rests, ...key.project.rests]) {
    if (rest.model !== '' && rest.model !== model) continue;
    add(FAILURES.find(({ errorClass }) => errorClass === rest.cause)!.cause, blocksUntil(rest, rig.now));
  }
  const readyAt = key.project.gates?.get(model)?.meter.readyAt(tokens, rig.engine.moment(rig.now)) ?? 0;
  add(readyAt - rig.now > MINUTE ? 'quota_exhausted' : 'rate_limited', readyAt);
  return found;
}

function isTried(rig: Rig): boolean {
  return [...rig.engine.leases.values()].some((leases) =>
    [...leases.values()].some((lease) => lease.trials !== undefined && lease.state === LeaseState.ACTIVE),
  );
}

test('who is refused gets a key when he was told to ask again, and none a millisecond earlier, for the cause that he was told', () => {
  let exact = 0;
  fc.assert(
    fc.property(
      fc.array(fc.record({ project: fc.constantFrom('', 'p', 'q'), limits }), { minLength: 1, maxLength: 5 }),
      fc.array(failure, { minLength: 3, maxLength: 20 }),
      fc.constantFrom(0, 50, 300),
      (specs, failures, tokens) => {
        const rig = new Rig({ defaultLeaseTtlMs: 10 * MINUTE }, NOON);
        for (const spec of specs) {
          const { project } = rig.addKey({ project: spec.project });
          setLimits(rig.engine, project, 'pro', spec.limits, rig.now);
        }
        const wish = { model: 'pro', tokens };
        for (const { how, model, delay, after } of failures) {
          const lease = rig.acquire({ model, tokens });
          if (lease !== undefined) rig.fail(lease, how.errorClass, { scope: how.scope, retryDelayMs: delay });
          passAsking(rig, after);
        }
        for (let round = 0; round < 6; round++) {
          dry(rig, wish, [...failures.slice(round % failures.length), ...failures]);
          const why = rig.whyNot(wish);
          expect(why.reason).toBe('NO_KEY_AVAILABLE');
          const ms = why.retryDelayMs!;
          const keys = [...rig.engine.keys.values()];
          const causes = keys.map((key) => hindrances(rig, key, wish));
          const ends = causes.map((each) => Math.max(...each.values()));
          const soonest = Math.min(...ends);
          const said = causes.some((each, i) => ends[i] === soonest && each.get(why.metadata.cause!) === soonest);
          expect([why.metadata.cause, said]).toEqual([why.metadata.cause, true]);
          if (isTried(rig) && ms <= SECOND) {
            // Until a lease that tries something comes back, which nobody can foretell.
            expect(ms).toBeGreaterThan(0);
            passAsking(rig, 10 * MINUTE);
            continue;
          }
          exact++;
          passAsking(rig, ms - 1);
          expect(rig.acquire(wish)).toBeUndefined();
          passAsking(rig, 1);
          const lease = rig.acquire(wish);
          if (lease === undefined)
            expect([isTried(rig), rig.whyNot(wish).retryDelayMs! <= SECOND]).toEqual([true, true]);
          else rig.report(lease, { inputTokens: tokens });
        }
      },
    ),
    { numRuns: 300 },
  );
  expect(exact).toBeGreaterThan(300);
});

test('1,000 bad prompts in a row leave all but the counts of calls as it was', () => {
  const rig = new Rig({}, NOON);
  for (let i = 0; i < 5; i++) {
    const { project } = rig.addKey({ project: i < 2 ? 'p' : '' });
    setLimits(rig.engine, project, 'pro', { requestsPerDay: 5_000 }, rig.now);
  }
  const keys = [...rig.engine.keys.values()];
  // One has failed before.
  rig.fail(rig.acquire({ requireKeyId: keyId(keys[4]!.ordinal) })!, ErrorClass.PERMISSION);
  rig.fail(rig.acquire({ model: 'flash' })!, ErrorClass.RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 9_000 });
  const picture = () =>
    keys.map((key) => ({
      health: key.health,
      rests: key.rests,
      ofProject: key.project.rests,
      project: key.project,
      state: key.state,
      suspicion: key.suspicion,
      learned: key.project.gates?.get('pro')?.meter.learned,
    }));
  const before = picture();
  const { callers, breakers } = rig.engine;
  const sizes = [callers.size, breakers.size, rig.engine.checks.size, rig.engine.restDeadlines.size];
  const classes = ['BAD_REQUEST', 'NOT_FOUND', 'RESOURCE_MISMATCH', 'CANCELLED', 'LOCATION'] as const;
  for (let i = 0; i < 1_000; i++) {
    const { advice } = rig.fail(rig.acquire({ model: 'pro' })!, ErrorClass[classes[i % classes.length]!], {
      scope: 'none',
      retryDelayMs: 30_000,
      project: '1',
    });
    expect(advice!.retry).toBe(false);
  }
  for (const [i, each] of picture().entries()) {
    for (const [name, value] of Object.entries(each)) expect(value).toBe(before[i]![name as keyof typeof each]);
  }
  expect([callers.size, breakers.size, rig.engine.checks.size, rig.engine.restDeadlines.size]).toEqual(sizes);
  expect(rig.pool.usage).toMatchObject({ calls: 1_002, failed: 1_002, succeeded: 0 });
  expect(rig.pool.failuresByClass).toMatchObject(Object.fromEntries(classes.map((name) => [name, 200])));
});
