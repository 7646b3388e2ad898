import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Key, keyId } from '../../src/engine/key.ts';
import type { Lease } from '../../src/engine/lease.ts';
import { pardon, tested, verdictOf, verified } from '../../src/engine/quarantine.ts';
import { plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, KeyState } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { type Cause, QuarantineModel, type Says } from './quarantine-model.ts';
import { Rig } from './rig.ts';

const { KEY_INVALID, KEY_SUSPENDED } = ErrorClass;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const CLASS: Record<Cause, ErrorClass> = { invalid: KEY_INVALID, suspended: KEY_SUSPENDED };
const SILENT = [ErrorClass.NETWORK, ErrorClass.SERVER_ERROR, ErrorClass.TIMEOUT, ErrorClass.LOCATION] as const;

function findingOf(says: Says): ReturnType<typeof plainFinding> | undefined {
  if (says === 'takes') return undefined;
  // Of a list of models it rests none.
  if (says === 'limited') return plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model');
  return plainFinding(says === 'nothing' ? ErrorClass.NETWORK : CLASS[says], says === 'nothing' ? 'none' : 'key');
}

/** Gemini answers the question about the key, which must be asked. */
function answer(rig: Rig, key: Key, says: Says): void {
  verified(rig.engine, key, key.suspicion!, findingOf(says), rig.now);
  rig.serve();
}

/** A key that was reported. */
function suspected(cause: Cause, caller = 'local'): { rig: Rig; key: Key } {
  const rig = new Rig();
  const key = rig.addKey();
  rig.fail(rig.acquire({ caller })!, CLASS[cause]);
  return { rig, key };
}

describe('quarantine', () => {
  const step = fc.record({
    do: fc.constantFrom('report', 'report', 'report', 'answer', 'answer', 'answer', 'pass', 'work', 'reset', 'delete'),
    which: fc.nat(2),
    cause: fc.constantFrom<Cause>('invalid', 'suspended'),
    says: fc.constantFrom<Says>('takes', 'takes', 'limited', 'invalid', 'suspended', 'nothing'),
    caller: fc.constantFrom('a', 'a', 'b'),
    ms: fc.constantFrom(1, MINUTE, 10 * MINUTE, 11 * MINUTE, HOUR, 25 * HOUR),
    seldom: fc.nat(9),
  });

  test('goes through its states as its policy says, whatever is reported, answered, reset and deleted', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 80, size: 'max' }), fc.nat(9), (steps, off) => {
        const rig = new Rig({ maxLeaseTtlMs: 1e10, defaultLeaseTtlMs: 1e10 }, { verify: off > 0 });
        const model = new QuarantineModel(3, off > 0);
        const keys = rig.addKeys(3);
        const leases = new Map<string, Lease>();
        for (const key of keys) {
          for (const caller of ['a', 'b']) {
            leases.set(`${key.slot} ${caller}`, rig.acquire({ caller, requireKeyId: keyId(key.ordinal) })!);
          }
        }
        for (const { do: what, which, cause, says, caller, ms, seldom } of steps) {
          const key = keys[which]!;
          if (what === 'pass') {
            model.now += ms;
            rig.pass(ms);
          } else if (model.keys[which] === undefined) continue;
          else if (what === 'report') {
            model.report(which, cause, caller);
            rig.fail(leases.get(`${which} ${caller}`)!, CLASS[cause], {}, { keepLease: true });
          } else if (what === 'answer') {
            model.answer(which, says);
            if (key.suspicion !== undefined) answer(rig, key, says);
          } else if (what === 'work') {
            const lease = leases.get(`${which} ${caller}`)!;
            model.worked(which, lease.callTime);
            rig.report(lease, { keepLease: true });
          } else if (what === 'reset') {
            model.reset(which);
            pardon(rig.engine, key, rig.now);
          } else if (seldom === 0) {
            model.keys[which] = undefined;
            rig.removeKey(key);
          }
          for (const [i, each] of model.keys.entries()) {
            if (each === undefined) continue;
            expect(keys[i]!.state).toBe(KeyState[model.state(i)]);
            expect(keys[i]!.suspicion?.deadline).toBe(each.suspected?.checkAt);
            expect(rig.pool.general.has(i)).toBe(model.state(i) === 'AVAILABLE');
          }
          expect(rig.engine.checks.size).toBe(model.keys.filter((each) => each?.suspected !== undefined).length);
          for (const caller of ['a', 'b']) expect(rig.pool.onWord.get(caller) ?? 0).toBe(model.onWord(caller));
          for (const [name, counts] of model.counts) {
            if (Object.values(counts).some((count) => count > 0)) {
              expect(rig.engine.callers.get(name)).toMatchObject(counts);
            }
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  test('an invalid key is asked about after a minute and again 10 minutes later, and disabled if Gemini refuses it twice', () => {
    const { rig, key } = suspected('invalid');
    expect(key.state).toBe(KeyState.QUARANTINED);
    expect(rig.acquire()).toBeUndefined();
    expect(rig.engine.checks.next - rig.now).toBe(MINUTE);
    rig.pass(MINUTE);
    answer(rig, key, 'invalid');
    expect(key.state).toBe(KeyState.QUARANTINED);
    expect(rig.engine.checks.next - rig.now).toBe(10 * MINUTE);
    rig.pass(10 * MINUTE);
    answer(rig, key, 'invalid');
    expect(key.state).toBe(KeyState.DISABLED_AUTO);
    expect(key.disabledFor).toBe(KEY_INVALID);
    expect(rig.engine.callers.get('local')).toMatchObject({ quarantined: 1, confirmed: 1, refuted: 0 });
  });

  test('a suspended key is asked about at once, and disabled if Gemini refuses it', () => {
    const { rig, key } = suspected('suspended');
    expect(rig.engine.checks.next).toBe(rig.now);
    answer(rig, key, 'suspended');
    expect(key.disabledFor).toBe(KEY_SUSPENDED);
    expect(rig.acquire()).toBeUndefined();
  });

  test('a key that Gemini takes serves at once if it was called invalid, after 10 minutes if suspended, to those who wait too', () => {
    for (const cause of ['invalid', 'suspended'] as const) {
      const { rig, key } = suspected(cause);
      const waited = rig.wait({}, HOUR);
      rig.pass(MINUTE);
      answer(rig, key, 'takes');
      if (cause === 'suspended') {
        expect(key.state).toBe(KeyState.QUARANTINED);
        rig.pass(10 * MINUTE - 1);
        expect(waited.granted).toBeUndefined();
        rig.pass(1);
      }
      expect(waited.granted).toBeDefined();
      expect(key.state).toBe(KeyState.AVAILABLE);
      expect(rig.engine.callers.get('local')).toMatchObject({ refuted: 1, confirmed: 0 });
    }
  });

  test('a key that is called suspended twice in a day, and did not work in between, stays out for 24 hours', () => {
    for (const worked of [false, true]) {
      const { rig, key } = suspected('suspended');
      answer(rig, key, 'takes');
      rig.pass(10 * MINUTE);
      const lease = rig.acquire()!;
      if (worked) rig.use();
      rig.fail(lease, KEY_SUSPENDED);
      answer(rig, key, 'takes');
      rig.pass(10 * MINUTE);
      expect(key.state).toBe(worked ? KeyState.AVAILABLE : KeyState.QUARANTINED);
      rig.pass(DAY - 10 * MINUTE);
      expect(key.state).toBe(KeyState.AVAILABLE);
    }
  });

  test('no answer is none: the key is asked about after 1, 2, 4 .. 60 minutes, for as long as it takes', () => {
    const { rig, key } = suspected('invalid');
    const intervals: number[] = [];
    for (let i = 0; i < 9; i++) {
      rig.pass(key.suspicion!.deadline - rig.now);
      verified(rig.engine, key, key.suspicion!, plainFinding(SILENT[i % SILENT.length]!), rig.now);
      intervals.push((key.suspicion!.deadline - rig.now) / MINUTE);
      expect(key.state).toBe(KeyState.QUARANTINED);
    }
    expect(intervals).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
    expect(key.suspicion).toMatchObject({ unanswered: 9, unansweredClass: SILENT[0] });
    rig.pass(HOUR);
    answer(rig, key, 'takes');
    expect(rig.acquire()).toBeDefined();
  });

  test('no key is asked about again within 10 minutes of an answer', () => {
    const { rig, key } = suspected('invalid');
    rig.pass(MINUTE);
    answer(rig, key, 'takes');
    rig.pass(3 * MINUTE);
    rig.fail(rig.acquire()!, KEY_SUSPENDED);
    expect(key.suspicion!.deadline - rig.now).toBe(7 * MINUTE);
    expect(key.state).toBe(KeyState.QUARANTINED);
  });

  test('where nobody can ask Gemini the report decides', () => {
    for (const cause of ['invalid', 'suspended'] as const) {
      const rig = new Rig({}, { verify: false });
      const key = rig.addKey();
      const { undo } = rig.fail(rig.acquire()!, CLASS[cause]);
      expect([key.state, key.disabledFor]).toEqual([KeyState.DISABLED_AUTO, CLASS[cause]]);
      expect(rig.engine.checks.size).toBe(0);
      undo(rig.now);
      expect([key.state, key.disabledFor]).toEqual([KeyState.AVAILABLE, ErrorClass.UNSPECIFIED]);
    }
  });

  test('an answer that comes when nobody suspects the key any more, or suspects it anew, changes nothing', () => {
    const { rig, key } = suspected('suspended');
    const old = key.suspicion!;
    pardon(rig.engine, key, rig.now);
    verified(rig.engine, key, old, findingOf('suspended'), rig.now);
    expect(key.state).toBe(KeyState.AVAILABLE);
    rig.fail(rig.acquire()!, KEY_SUSPENDED);
    verified(rig.engine, key, old, findingOf('suspended'), rig.now);
    expect(key.state).toBe(KeyState.QUARANTINED);
    const fresh = key.suspicion!;
    rig.removeKey(key);
    verified(rig.engine, key, fresh, findingOf('suspended'), rig.now);
    expect(rig.pool.states[KeyState.DISABLED_AUTO]).toBe(0);
    expect(rig.engine.checks.size).toBe(0);
  });

  test('only a plain yes refutes a caller: an answer of a quota or a bill, however often, clears the key and not the report', () => {
    const rig = new Rig();
    const keys = rig.addKeys(5);
    for (const [i, key] of keys.entries()) {
      rig.fail(rig.acquire({ requireKeyId: keyId(key.ordinal) })!, KEY_INVALID);
      expect(key.state).toBe(KeyState.QUARANTINED);
      const cause = i % 2 === 0 ? ErrorClass.BILLING : ErrorClass.PERMISSION;
      verified(rig.engine, key, key.suspicion!, plainFinding(cause, 'project'), rig.now);
      expect(key.suspicion).toBeUndefined();
    }
    expect(rig.engine.callers.get('local')).toMatchObject({ quarantined: 5, refuted: 0, confirmed: 0 });
  });

  test('a full quota of a model that listing models ran into rests nothing: no model was called', () => {
    const { rig, key } = suspected('invalid');
    const full = { ...plainFinding(ErrorClass.QUOTA_EXHAUSTED_DAY, 'project-model'), retryDelayMs: HOUR };
    verified(rig.engine, key, key.suspicion!, full, rig.now);
    tested(rig.engine, key, '', full, rig.now, rig.now);
    expect([key.rests, key.project.rests]).toEqual([[], []]);
    expect(rig.acquire({ model: 'pro' })).toBeDefined();
  });

  test('Gemini takes a key whose quota, bill or permission it speaks of; then that rests', () => {
    const { rig, key } = suspected('invalid');
    verified(rig.engine, key, key.suspicion!, plainFinding(ErrorClass.BILLING, 'project'), rig.now);
    expect(key.suspicion).toBeUndefined();
    expect(key.state).toBe(KeyState.COOLING);
    const names = Object.keys(ErrorClass).filter((name) => Number.isNaN(Number(name)));
    const says = names.map((name) => verdictOf(plainFinding(ErrorClass[name as keyof typeof ErrorClass])));
    expect(Object.fromEntries(names.map((name, i) => [name, says[i]]))).toEqual({
      UNSPECIFIED: 'silent',
      KEY_INVALID: 'refuses',
      KEY_SUSPENDED: 'refuses',
      PERMISSION: 'takes',
      RATE_LIMITED_MINUTE: 'takes',
      RATE_LIMITED_TOKENS: 'takes',
      SPEND_RATE_LIMITED: 'takes',
      QUOTA_EXHAUSTED_DAY: 'takes',
      QUOTA_ZERO: 'takes',
      BILLING: 'takes',
      CONTENT_BLOCKED: 'takes',
      OVERLOADED: 'silent',
      SERVER_ERROR: 'silent',
      TIMEOUT: 'silent',
      NETWORK: 'silent',
      UNKNOWN: 'silent',
      BAD_REQUEST: 'silent',
      NOT_FOUND: 'silent',
      RESOURCE_MISMATCH: 'silent',
      LOCATION: 'silent',
      CANCELLED: 'silent',
    });
  });
});

describe('an administrator’s test', () => {
  test('disables a key that Gemini refuses at once, and brings back one that it takes, whatever was thought of it', () => {
    const rig = new Rig();
    const key = rig.addKey();
    tested(rig.engine, key, '', findingOf('invalid'), rig.now, rig.now);
    expect(key.state).toBe(KeyState.DISABLED_AUTO);
    expect(key.health).toMatchObject({ factor: 1, lastErrorClass: KEY_INVALID });
    tested(rig.engine, key, '', findingOf('nothing'), rig.now, rig.now);
    expect(key.state).toBe(KeyState.DISABLED_AUTO);
    tested(rig.engine, key, '', undefined, rig.now, rig.now);
    expect(key.state).toBe(KeyState.AVAILABLE);
    rig.fail(rig.acquire()!, KEY_INVALID);
    tested(rig.engine, key, '', undefined, rig.now, rig.now);
    expect([key.state, key.suspicion, rig.engine.checks.size]).toEqual([KeyState.AVAILABLE, undefined, 0]);
    // Nobody's word was tested but the administrator's.
    expect(rig.engine.callers.get('local')).toMatchObject({ refuted: 0, confirmed: 0 });
  });

  test('of a model rests what Gemini says of it', () => {
    const rig = new Rig();
    const key = rig.addKey();
    tested(rig.engine, key, 'pro', plainFinding(ErrorClass.QUOTA_ZERO, 'project-model'), rig.now, rig.now);
    expect(rig.acquire({ model: 'pro' })).toBeUndefined();
    expect(rig.acquire({ model: 'flash' })).toBeDefined();
  });

  test('of a model that works ends the cooldowns of key and project that it disproves, and those alone', () => {
    const rig = new Rig();
    const [key, sibling] = rig.addKeys(2, { project: '42' });
    for (const [cause, scope] of [
      [ErrorClass.BILLING, 'project'],
      [ErrorClass.PERMISSION, 'key'],
    ] as const) {
      rig.rest(key!, 'pro', HOUR);
      rig.rest(key!, 'flash', HOUR);
      rig.fail(rig.acquire({ requireKeyId: keyId(key!.ordinal) })!, cause, { scope });
      expect(key!.state).toBe(KeyState.COOLING);
      rig.pass(1_000);
      // No call of a model was made.
      tested(rig.engine, key!, '', undefined, rig.now, rig.now);
      expect(key!.state).toBe(KeyState.COOLING);
      // It was asked before the key began to rest.
      tested(rig.engine, key!, 'pro', undefined, rig.now - 1_001, rig.now);
      expect(key!.state).toBe(KeyState.COOLING);
      tested(rig.engine, key!, 'pro', undefined, rig.now, rig.now);
      expect([key!.state, sibling!.state]).toEqual([KeyState.AVAILABLE, KeyState.AVAILABLE]);
      expect(rig.acquire({ model: 'pro', requireKeyId: keyId(key!.ordinal) })).toBeDefined();
      expect(rig.acquire({ model: 'flash' })).toBeUndefined();
      tested(rig.engine, key!, 'flash', undefined, rig.now, rig.now);
      expect(rig.acquire({ model: 'flash' })).toBeDefined();
    }
  });
});
