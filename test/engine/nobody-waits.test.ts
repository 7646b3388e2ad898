import fc from 'fast-check';
import { expect, test } from 'vitest';
import { setRests } from '../../src/engine/cooldowns.ts';
import { setDefaults, setLimits } from '../../src/engine/gates.ts';
import { allowsModel, isFull, type Key, restingUntil } from '../../src/engine/key.ts';
import type { Lease } from '../../src/engine/lease.ts';
import type { Order } from '../../src/engine/order.ts';
import { forgetProject, learnProject } from '../../src/engine/projects.ts';
import { pardon, verified } from '../../src/engine/quarantine.ts';
import { blocksUntil } from '../../src/engine/rest.ts';
import type { Scope } from '../../src/gemini/finding.ts';
import { ErrorClass, KeyState, Outcome, Selection } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { ids, isRefusal, Rig, type Waited } from './rig.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const NOON = { wallOffset: Date.UTC(2026, 5, 15, 19) - 1_000 };

const step = fc.record({
  do: fc.constantFrom(
    ...['wait', 'wait', 'wait', 'wait', 'report', 'report', 'fail', 'fail', 'fail', 'pass', 'pass', 'next', 'next'],
    ...['limit', 'learn', 'forget', 'answer', 'reset', 'wall', 'add', 'remove', 'change', 'undo', 'defaults'],
  ),
  which: fc.nat(99),
  model: fc.constantFrom('', 'pro', 'pro', 'flash', 'odd'),
  tokens: fc.constantFrom(0, 0, 100, 400),
  how: fc.nat(7),
  errorClass: fc.constantFrom(
    ErrorClass.RATE_LIMITED_MINUTE,
    ErrorClass.QUOTA_EXHAUSTED_DAY,
    ErrorClass.BILLING,
    ErrorClass.PERMISSION,
    ErrorClass.KEY_INVALID,
    ErrorClass.KEY_SUSPENDED,
    ErrorClass.OVERLOADED,
    ErrorClass.SERVER_ERROR,
  ),
  scope: fc.constantFrom<Scope>('key', 'project', 'project-model', 'project-model'),
  delay: fc.constantFrom(undefined, 0, 3_000, 30_000),
  ms: fc.constantFrom(0, 1, 500, 10_000, 20_000, MINUTE, HOUR, 5 * HOUR),
});

/** Whether the key would do, by what it is and not by the lanes. */
function couldServe({ engine, pool, now }: Rig, key: Key, { model, tokens, matches }: Order): boolean {
  if (key.state !== KeyState.AVAILABLE || isFull(key) || !allowsModel(key, model)) return false;
  if (matches?.(key) === false || restingUntil(key, model, now) > 0) return false;
  if (engine.breakers.get(model)?.rests.some((rest) => blocksUntil(rest, now) > 0)) return false;
  const { maxTotalLeases } = pool.settings;
  if (maxTotalLeases > 0 && pool.active >= maxTotalLeases) return false;
  // Some days may be tried although they are taken for spent.
  const meter = key.project.gates?.get(model)?.meter;
  if (meter === undefined && model !== '' && Object.values(key.project.defaults).includes(0)) return false;
  return meter === undefined || meter.readyAt(tokens, engine.moment(now)) === 0;
}

test('nobody waits whom a key could serve, whatever rests, is learned, limited, tried, suspected, moved or undone', () => {
  let served = 0;
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 10, maxLength: 100, size: 'max' }),
      fc.constantFrom(0, 3),
      fc.boolean(),
      (steps, maxTotalLeases, untilSpent) => {
        const selection = untilSpent ? Selection.UNTIL_SPENT : Selection.WEIGHTED_LRU;
        const rig = new Rig({ maxTotalLeases, selection, defaultLeaseTtlMs: 5 * MINUTE }, NOON);
        // So many that "odd" has none.
        for (let i = 0; i < 64; i++) rig.pool.laneFor(['pro', 'flash'][i] ?? `other-${i}`, rig.now);
        for (const project of ['p', 'p', '', '']) rig.addKey({ project, maxConcurrentLeases: project === '' ? 2 : 0 });
        const { engine } = rig;
        const waiting: Waited[] = [];
        for (const { do: what, which, model, tokens, how, errorClass, scope, delay, ms } of steps) {
          const keys = [...engine.keys.values()];
          const key = keys[which % keys.length]!;
          const leases: Lease[] = [...(engine.leases.get(1)?.values() ?? [])];
          const lease = leases[which % Math.max(1, leases.length)];
          if (what === 'wait') {
            const excludeKeyIds = how === 0 ? ids(key) : [];
            try {
              const wish = { model, tokens, excludeKeyIds, priority: how % 2, requireProject: how === 1 ? 'p' : '' };
              waiting.push(rig.wait({ ...wish, caller: `caller-${which}` }, 48 * HOUR));
            } catch (error) {
              if (!isRefusal(error)) throw error;
            }
          } else if (what === 'report' && lease !== undefined) {
            const outcome = how === 0 ? Outcome.UNUSED : Outcome.SUCCESS;
            rig.report(lease, { outcome, inputTokens: how * 30, keepLease: how > 5 });
          } else if ((what === 'fail' || what === 'undo') && lease !== undefined) {
            const keepLease = how > 5;
            const limits = how === 2 ? [{ name: 'requestsPerDay' as const, value: 3, quotaId: '', model }] : [];
            const settlement = rig.fail(lease, errorClass, { scope, retryDelayMs: delay, limits }, { keepLease });
            if (what === 'undo') settlement.undo(rig.now);
          } else if (what === 'pass') rig.pass(ms);
          else if (what === 'next' && Number.isFinite(engine.nextDeadline)) {
            rig.pass(Math.max(0, engine.nextDeadline - rig.now));
          } else if (what === 'limit' || what === 'defaults') {
            const limits = [{ requestsPerMinute: how }, { inputTokensPerMinute: 500 }, { requestsPerDay: how }, {}][
              which % 4
            ]!;
            if (what === 'defaults' || model === '') setDefaults(engine, key.project, limits, rig.now);
            else setLimits(engine, key.project, model, limits, rig.now);
          } else if (what === 'learn') learnProject(engine, key, ['7', '8', 'p'][how % 3]!, '', rig.now);
          else if (what === 'forget') forgetProject(engine, key, rig.now);
          else if (what === 'reset') {
            pardon(engine, key, rig.now);
            setRests(engine, key, [], rig.now);
            if (how > 3) setRests(engine, key.project, [], rig.now);
          } else if (what === 'wall') engine.moveWall(NOON.wallOffset + ((how % 3) - 1) * HOUR, rig.now);
          else if (what === 'add' && keys.length < 8) rig.addKey({ project: ['', 'p', '7'][how % 3]! });
          else if (what === 'remove' && keys.length > 2) rig.removeKey(key);
          else if (what === 'change') {
            const change = [{ disabled: true }, { disabled: false }, { models: ['pro'] }, { models: [] }, { tier: 1 }];
            rig.change(key, change[how] ?? { project: ['', 'p', '7'][how - 5]! });
          } else if (what === 'answer') {
            const suspicion = engine.checks.popDue(Infinity);
            if (suspicion !== undefined) verified(engine, suspicion.key, suspicion, undefined, rig.now);
          }
          rig.serve();
          rig.pass(0);
          const left = waiting.filter(({ granted, refused }) => granted === undefined && refused === undefined);
          served += waiting.length - left.length;
          waiting.splice(0, waiting.length, ...left);
          expect(rig.pool.waiting).toBe(left.length);
          for (const { waiter } of left) {
            const able = [...engine.keys.values()].filter((each) => couldServe(rig, each, waiter.order));
            expect(able.map(({ ordinal }) => ordinal)).toEqual([]);
          }
        }
      },
    ),
    { numRuns: 500 },
  );
  expect(served).toBeGreaterThan(1_000);
});
