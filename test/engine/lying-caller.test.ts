import { describe, expect, test } from 'vitest';
import { type Key, keyId } from '../../src/engine/key.ts';
import { learnProject } from '../../src/engine/projects.ts';
import { verified } from '../../src/engine/quarantine.ts';
import type { Finding, Scope } from '../../src/gemini/finding.ts';
import { ErrorClass, KeyState } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { Rig } from './rig.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Every key is alive, and a caller says otherwise of each. `perProject`: keys of one project that an administrator named. */
function lie(count: number, errorClass: ErrorClass, scope: Scope, finding: Partial<Finding> = {}, perProject = 0): Rig {
  const rig = new Rig();
  for (let i = 0; i < count; i++) {
    rig.addKey({ project: perProject === 0 ? '' : `p-${Math.floor(i / perProject)}` });
  }
  // All at once, before anyone could have asked Gemini.
  const leases = keysOf(rig).map((key) => rig.acquire({ caller: 'liar', requireKeyId: keyId(key.ordinal) })!);
  for (const lease of leases) rig.fail(lease, errorClass, { scope, ...finding });
  return rig;
}

function keysOf(rig: Rig): Key[] {
  return [...rig.engine.keys.values()];
}

/** Gemini is asked about one key a second, when it is due, and takes each. */
function askGemini(rig: Rig): void {
  for (let asked = 0; rig.engine.checks.size > 0; asked++) {
    if (asked > 1_000) throw new Error('the questions never end');
    rig.pass(Math.max(SECOND, rig.engine.checks.next - rig.now));
    const suspicion = rig.engine.checks.popDue(rig.now)!;
    verified(rig.engine, suspicion.key, suspicion, undefined, rig.now);
    rig.serve();
    expectNobodyDisabled(rig);
  }
}

function expectNobodyDisabled(rig: Rig): void {
  expect([rig.pool.states[KeyState.DISABLED_AUTO], rig.pool.states[KeyState.DISABLED_ADMIN]]).toEqual([0, 0]);
}

/** Every key can be had, and works. */
function expectUsable(rig: Rig): void {
  for (const key of keysOf(rig)) rig.report(rig.acquire({ caller: 'honest', requireKeyId: keyId(key.ordinal) })!);
  expect(rig.pool.states[KeyState.AVAILABLE]).toBe(rig.pool.keyCount);
}

describe.each([10, 200])('a caller that says of each of %i keys', (count) => {
  test.each([
    ['that it is invalid', ErrorClass.KEY_INVALID, MINUTE],
    ['that it is suspended', ErrorClass.KEY_SUSPENDED, 10 * MINUTE],
  ] as const)(
    '%s disables none: all serve again once Gemini was asked, and the caller is named',
    (_, cause, rested) => {
      for (const perProject of [0, 5]) {
        const rig = lie(count, cause, perProject === 0 ? 'key' : 'project', {}, perProject);
        const begin = rig.now;
        expectNobodyDisabled(rig);
        const waited = rig.wait({ caller: 'honest' }, HOUR);
        askGemini(rig);
        rig.pass(Math.max(0, begin + rested + count * SECOND - rig.now));
        expect(waited.granted).toBeDefined();
        expectUsable(rig);
        expect(rig.now - begin).toBeLessThanOrEqual(rested + count * SECOND);
        expect(rig.engine.callers.get('liar')).toMatchObject({ quarantined: count, refuted: count, confirmed: 0 });
        expect(rig.engine.callers.has('honest')).toBe(false);
      }
    },
  );

  test('that it is invalid is not believed any more once it was wrong three times in an hour: keys stay in use', () => {
    const rig = lie(count, ErrorClass.KEY_INVALID, 'key');
    askGemini(rig);
    for (let round = 0; round < 3; round++) {
      for (const key of keysOf(rig)) {
        const lease = rig.acquire({ caller: 'liar', requireKeyId: keyId(key.ordinal) })!;
        rig.fail(lease, round === 1 ? ErrorClass.KEY_SUSPENDED : ErrorClass.KEY_INVALID);
        expect(key.state).toBe(KeyState.AVAILABLE);
        expect(rig.acquire({ requireKeyId: keyId(key.ordinal) })).toBeDefined();
      }
      // Gemini is asked all the same.
      expect(rig.engine.checks.size).toBe(count);
      askGemini(rig);
    }
    expect(rig.engine.callers.get('liar')!.quarantined).toBe(count);
    // Another's word counts as before, and his again after an hour.
    const [first, second] = keysOf(rig);
    rig.pass(10 * MINUTE);
    rig.fail(rig.acquire({ caller: 'honest', requireKeyId: keyId(first!.ordinal) })!, ErrorClass.KEY_INVALID);
    expect(first!.state).toBe(KeyState.QUARANTINED);
    rig.pass(HOUR);
    rig.fail(rig.acquire({ caller: 'liar', requireKeyId: keyId(second!.ordinal) })!, ErrorClass.KEY_INVALID);
    expect(second!.state).toBe(KeyState.QUARANTINED);
  });

  test('that its bill is unpaid, or that it has no permission, rests each for an hour', () => {
    for (const [cause, scope] of [
      [ErrorClass.BILLING, 'project'],
      [ErrorClass.PERMISSION, 'key'],
      [ErrorClass.PERMISSION, 'project'],
    ] as const) {
      const rig = lie(count, cause, scope);
      expectNobodyDisabled(rig);
      expect(rig.whyNot().retryDelayMs).toBe(HOUR);
      rig.pass(HOUR);
      expectUsable(rig);
    }
  });

  test('a limit with a delay of 10^9 s rests each for a minute, and counts it against the caller', () => {
    const rig = lie(count, ErrorClass.RATE_LIMITED_MINUTE, 'project-model', {
      retryDelayMs: DAY,
      delayDistrusted: true,
    });
    expectNobodyDisabled(rig);
    rig.pass(MINUTE);
    expectUsable(rig);
    expect(rig.engine.callers.get('liar')).toMatchObject({ delaysDistrusted: count });
  });

  test('that it belongs to one and the same project merges none', () => {
    const rig = lie(count, ErrorClass.RATE_LIMITED_MINUTE, 'project-model', { retryDelayMs: 5_000 });
    for (const [i, key] of keysOf(rig).entries()) {
      learnProject(rig.engine, key, '1', 'liar', rig.now);
      const merged = keysOf(rig).filter(({ project }) => project.name === '1').length;
      expect(merged).toBe(i < 3 ? i + 1 : 0);
      expect(new Set(keysOf(rig).map(({ project }) => project)).size).toBe(i < 3 ? count - i : count);
    }
    rig.pass(5_000);
    expectUsable(rig);
    expect(rig.engine.callers.get('liar')).toMatchObject({ projectsLearned: 3, projectsRefused: count - 3 });
    // One exhausted project does not hold up the others.
    const [first] = keysOf(rig);
    rig.rest(first!, 'pro', MINUTE);
    for (const key of keysOf(rig).slice(1)) {
      expect(rig.acquire({ model: 'pro', requireKeyId: keyId(key.ordinal) })).toBeDefined();
    }
  });
});
