import fc from 'fast-check';
import { expect, test } from 'vitest';
import { setDefaults, setLimits } from '../../src/engine/gates.ts';
import { verified } from '../../src/engine/quarantine.ts';
import type { Rest } from '../../src/engine/rest.ts';
import { type LimitName, plainFinding, type Scope } from '../../src/gemini/finding.ts';
import { ErrorClass, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { Rig } from './rig.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const NOON = { wallOffset: Date.UTC(2026, 5, 15, 19) - 1_000 };
const LIMITS: readonly LimitName[] = ['requestsPerMinute', 'inputTokensPerMinute', 'requestsPerDay', 'tokensPerDay'];
const CLASSES = Object.values(ErrorClass).filter((value) => typeof value === 'number');

function restsOf(rests: readonly Rest[]): unknown[] {
  return rests
    .map(({ trial, ...rest }) => ({ ...rest, trial: trial?.seq }))
    .toSorted((a, b) => (a.model < b.model ? -1 : 1));
}

/** All that a report may change, but for the turns in the lanes, which keys took. */
function picture({ engine, pool, now }: Rig): unknown {
  const at = engine.moment(now);
  return structuredClone({
    keys: [...engine.keys.values()].map((key) => ({
      health: key.health,
      usage: key.usage,
      faults: key.faults,
      active: key.active,
      state: key.state,
      disabledFor: key.disabledFor,
      rests: restsOf(key.rests),
      suspicion: key.suspicion && [key.suspicion.cause, key.suspicion.held, key.suspicion.deadline],
      ofProject: restsOf(key.project.rests),
      offered: [...pool.lanes.values()].map((lane) => [lane.model, lane.has(key.slot)]),
      gates: [...(key.project.gates ?? [])]
        .filter(([, { meter }]) => !meter.isIdle(at))
        .map(([model, { meter }]) => ({
          model,
          used: LIMITS.map((name) => meter.used(name, at)),
          learned: meter.learned,
          isOpen: meter.isOpen(at),
        })),
    })),
    usage: pool.usage,
    counters: pool.counters,
    active: pool.active,
    failures: pool.failuresByClass,
    breakers: [...engine.breakers.values()]
      .map(({ model, failures, lastSuccess, rests }) => ({ model, failures, lastSuccess, rests: restsOf(rests) }))
      .filter(({ failures, lastSuccess, rests }) => failures > 0 || lastSuccess > 0 || rests.length > 0),
    callers: [...engine.callers.values()].filter((caller) =>
      Object.values(caller).some((value) => typeof value === 'number' && value !== 0),
    ),
    checks: engine.checks.size,
    leases: [...engine.leases.values()].flatMap((some) =>
      [...some.values()]
        .map(({ seq, state, callTime, expireTime, lastOutcome, booking }) => [
          seq,
          state,
          callTime,
          expireTime,
          lastOutcome,
          booking?.tokens,
        ])
        .toSorted((a, b) => a[0]! - b[0]!),
    ),
  });
}

const report = fc.record({
  outcome: fc.constantFrom(Outcome.SUCCESS, Outcome.UNUSED, Outcome.FAILURE, Outcome.FAILURE, Outcome.FAILURE),
  errorClass: fc.constantFrom(...CLASSES),
  scope: fc.constantFrom<Scope>('none', 'key', 'project', 'project-model'),
  delay: fc.option(fc.integer({ min: 0, max: HOUR }), { nil: undefined }),
  distrusted: fc.boolean(),
  limit: fc.option(fc.tuple(fc.constantFrom(...LIMITS), fc.integer({ min: 1, max: 20 })), { nil: undefined }),
  tokens: fc.nat(500),
  keep: fc.boolean(),
  which: fc.nat(99),
});
const step = fc.record({
  report,
  do: fc.constantFrom('acquire', 'acquire', 'acquire', 'report', 'report', 'pass', 'answer', 'undo', 'undo'),
  model: fc.constantFrom('', 'pro', 'flash'),
  reports: fc.array(report, { minLength: 1, maxLength: 4 }),
  ms: fc.constantFrom(1, 500, 10_000, MINUTE, 5 * MINUTE, HOUR, 7 * HOUR),
});

test('reports that could not be stored leave nothing behind: rests, quarantine, health, quota, callers and leases are as before', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), fc.nat(4), (steps, off) => {
      const rig = new Rig({ defaultLeaseTtlMs: 10 * MINUTE }, { ...NOON, verify: off > 0 });
      for (const project of ['p', 'p', '', '']) rig.addKey({ project });
      setLimits(rig.engine, rig.engine.project('p'), 'pro', { requestsPerMinute: 3, requestsPerDay: 8 }, rig.now);
      setDefaults(rig.engine, rig.pool.keys[2]!.project, { inputTokensPerMinute: 500 }, rig.now);
      const apply = (one: typeof report extends fc.Arbitrary<infer T> ? T : never) => {
        const leases = [...(rig.engine.leases.get(1)?.values() ?? [])];
        const lease = leases[one.which % Math.max(1, leases.length)];
        if (lease === undefined) return undefined;
        const [name, value] = one.limit ?? [];
        const finding = {
          ...plainFinding(one.errorClass, one.scope, one.delay),
          delayDistrusted: one.distrusted,
          limits: name === undefined ? [] : [{ name, value: value!, quotaId: '', model: 'pro' }],
        };
        return rig.report(lease, {
          outcome: one.outcome,
          finding: one.outcome === Outcome.FAILURE ? finding : undefined,
          inputTokens: one.tokens,
          keepLease: one.keep,
        });
      };
      for (const { do: what, report: one, model, reports, ms } of steps) {
        if (what === 'acquire') rig.acquire({ model, tokens: one.tokens, caller: one.keep ? 'a' : 'b' });
        else if (what === 'report') apply(one);
        else if (what === 'pass') rig.pass(ms);
        else if (what === 'answer') {
          const suspicion = rig.engine.checks.popDue(Infinity);
          if (suspicion !== undefined) verified(rig.engine, suspicion.key, suspicion, undefined, rig.now);
        } else {
          rig.engine.advance(rig.now);
          const before = picture(rig);
          // Where two are undone at once a cooldown may be back later than the lease that tried it.
          const isTried = [...(rig.engine.leases.get(1)?.values() ?? [])].some(({ trials }) => trials !== undefined);
          const settlements = (isTried ? reports.slice(0, 1) : reports).map(apply);
          for (const settlement of settlements.reverse()) settlement?.undo(rig.now);
          expect(picture(rig)).toEqual(before);
        }
      }
    }),
    { numRuns: 400 },
  );
});
