import { describe, expect, test } from 'vitest';
import { type Key, keyId } from '../../src/engine/key.ts';
import { learnProject } from '../../src/engine/projects.ts';
import { pardon, tested, verified } from '../../src/engine/quarantine.ts';
import { type Finding, plainFinding, type Scope } from '../../src/gemini/finding.ts';
import { ErrorClass, KeyState } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { Rig } from './rig.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const REFUSED = plainFinding(ErrorClass.KEY_INVALID, 'key');

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

/** How many keys are in use. */
function inUse(rig: Rig): number {
  return rig.pool.states[KeyState.AVAILABLE]!;
}

describe.each([10, 200])('a caller that says of each of %i keys', (count) => {
  const held = Math.max(10, count / 2);

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
        expect(rig.engine.callers.get('liar')).toMatchObject({ quarantined: held, refuted: count, confirmed: 0 });
        expect(rig.engine.callers.has('honest')).toBe(false);
      }
    },
  );

  test('that it is invalid is not believed any more once it was wrong three times in a day: keys stay in use', () => {
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
    expect(rig.engine.callers.get('liar')!.quarantined).toBe(held);
    // Another's word counts as before, and his again after a day.
    const [first, second, third] = keysOf(rig);
    rig.pass(10 * MINUTE);
    rig.fail(rig.acquire({ caller: 'honest', requireKeyId: keyId(first!.ordinal) })!, ErrorClass.KEY_INVALID);
    expect(first!.state).toBe(KeyState.QUARANTINED);
    rig.pass(23 * HOUR);
    rig.fail(rig.acquire({ caller: 'liar', requireKeyId: keyId(second!.ordinal) })!, ErrorClass.KEY_INVALID);
    expect(second!.state).toBe(KeyState.AVAILABLE);
    rig.pass(HOUR);
    rig.fail(rig.acquire({ caller: 'liar', requireKeyId: keyId(third!.ordinal) })!, ErrorClass.KEY_INVALID);
    expect(third!.state).toBe(KeyState.QUARANTINED);
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

  test('that it belongs to one and the same project merges three an hour', () => {
    const rig = lie(count, ErrorClass.RATE_LIMITED_MINUTE, 'project-model', { retryDelayMs: 5_000 });
    for (const [i, key] of keysOf(rig).entries()) {
      learnProject(rig.engine, key, '1', 'liar', rig.now);
      const merged = keysOf(rig).filter(({ project }) => project.name === '1').length;
      expect(merged).toBe(Math.min(i + 1, 3));
      expect(new Set(keysOf(rig).map(({ project }) => project)).size).toBe(count - Math.min(i, 2));
    }
    rig.pass(5_000);
    expectUsable(rig);
    expect(rig.engine.callers.get('liar')).toMatchObject({ projectsLearned: 3, projectsRefused: count - 3 });
    // One exhausted project does not hold up the others.
    const [first] = keysOf(rig);
    rig.rest(first!, 'pro', MINUTE);
    for (const key of keysOf(rig).slice(3)) {
      expect(rig.acquire({ model: 'pro', requireKeyId: keyId(key.ordinal) })).toBeDefined();
    }
  });
});

test('a caller that calls all of 50 keys suspended, twice in an hour, leaves half of them in use, and has all back in 20 minutes', () => {
  const rig = new Rig();
  const keys = rig.addKeys(50);
  for (const most of [25, 0]) {
    const begin = rig.now;
    const leases = keys.map((key) => rig.acquire({ caller: 'liar', requireKeyId: keyId(key.ordinal) })!);
    for (const lease of leases) rig.fail(lease, ErrorClass.KEY_SUSPENDED);
    let fewest = inUse(rig);
    while (rig.now < begin + 20 * MINUTE) {
      rig.pass(SECOND);
      const suspicion = rig.engine.checks.popDue(rig.now);
      if (suspicion !== undefined) verified(rig.engine, suspicion.key, suspicion, undefined, rig.now);
      rig.serve();
      fewest = Math.min(fewest, inUse(rig));
    }
    expect(fewest).toBe(50 - most);
    expectUsable(rig);
    rig.pass(begin + HOUR - rig.now);
  }
  expect(rig.engine.callers.get('liar')).toMatchObject({ quarantined: 25, refuted: 100 });
});

test('a limit that a caller forges, though more has succeeded, is not learned and counts against him', () => {
  const limits = [{ name: 'requestsPerMinute' as const, value: 1, quotaId: '', model: '' }];
  const rig = new Rig({}, { random: () => 0 });
  const keys = rig.addKeys(3);
  for (let call = 0; call < 3 * 6; call++) rig.use({ model: 'pro' });
  for (const key of keys) {
    const lease = rig.acquire({ model: 'pro', caller: 'liar', requireKeyId: keyId(key.ordinal) })!;
    rig.fail(lease, ErrorClass.RATE_LIMITED_MINUTE, { scope: 'project-model', limits });
  }
  expect(rig.engine.callers.get('liar')).toMatchObject({ limitsLearned: 0, limitsRefused: 3 });
  for (const key of keys) expect(key.project.gates!.get('pro')!.meter.learned).toEqual({});
});

describe('of a pool’s keys one caller’s word holds', () => {
  function report(rig: Rig, keys: readonly Key[], caller: string, cause = ErrorClass.KEY_INVALID): void {
    for (const key of keys) rig.fail(rig.acquire({ caller, requireKeyId: keyId(key.ordinal) })!, cause);
  }

  test.each([
    [10, 10],
    [12, 10],
    [21, 10],
    [40, 20],
    [41, 20],
  ])('of %i at most %i; another’s word holds as many', (count, most) => {
    const rig = new Rig();
    const keys = rig.addKeys(count);
    report(rig, keys.slice(0, most), 'a');
    expect(inUse(rig)).toBe(count - most);
    report(rig, keys.slice(most), 'a');
    expect(inUse(rig)).toBe(count - most);
    expect(rig.engine.checks.size).toBe(count);
    // What is verified first is asked about at once.
    for (const { suspicion } of keys.slice(most)) expect(suspicion!.deadline).toBe(rig.now);
    const other = new Rig();
    const others = other.addKeys(count);
    report(other, others.slice(0, most), 'a');
    report(other, others.slice(most), 'b');
    expect(inUse(other)).toBe(Math.max(0, count - 2 * most));
  });

  test('as many again when it is undone, when keys are deleted or brought back, and when Gemini refuses them, which holds them itself', () => {
    const lastOf = (keys: readonly Key[]): Key => keys[11]!;
    for (const [what, release] of [
      ['reset', (rig: Rig, key: Key) => pardon(rig.engine, key, rig.now)],
      ['deleted', (rig: Rig, key: Key) => rig.removeKey(key)],
      ['tested', (rig: Rig, key: Key) => tested(rig.engine, key, '', undefined, rig.now, rig.now)],
      ['refused', (rig: Rig, key: Key) => verified(rig.engine, key, key.suspicion!, REFUSED, rig.now)],
    ] as const) {
      const rig = new Rig();
      const keys = rig.addKeys(12);
      report(rig, keys.slice(0, 10), 'a');
      release(rig, keys[0]!);
      report(rig, [lastOf(keys)], 'a');
      expect([what, lastOf(keys).state]).toEqual([what, KeyState.QUARANTINED]);
      report(rig, [keys[10]!], 'a');
      expect([what, keys[10]!.state]).toEqual([what, KeyState.AVAILABLE]);
    }
    const rig = new Rig();
    const keys = rig.addKeys(12);
    report(rig, keys.slice(0, 9), 'a');
    rig.fail(rig.acquire({ caller: 'a', requireKeyId: keyId(10) })!, ErrorClass.KEY_INVALID).undo(rig.now);
    report(rig, [lastOf(keys)], 'a');
    expect(lastOf(keys).state).toBe(KeyState.QUARANTINED);
  });

  test('as many after a restart: those held before count, but for what Gemini refused', () => {
    const before = new Rig();
    const held = before.addKeys(12);
    report(before, held, 'a');
    verified(before.engine, held[0]!, held[0]!.suspicion!, REFUSED, before.now);
    const rig = new Rig();
    for (const { ordinal, settings, record, suspicion } of held) {
      const stored = { ...suspicion!, onWord: false, heapIndex: -1 };
      const fresh = { ordinal, settings, record, suspicion: (key: Key) => ({ ...stored, key }) };
      rig.engine.addKey(rig.pool, fresh, rig.now);
    }
    expect(inUse(rig)).toBe(2);
    const others = keysOf(rig).slice(10);
    for (const [i, left] of [1, 1].entries()) {
      pardon(rig.engine, others[i]!, rig.now);
      report(rig, [others[i]!], 'a');
      expect(inUse(rig)).toBe(left);
    }
  });

  test('no more than these, but what Gemini refuses goes out of use whoever said so', () => {
    const rig = new Rig();
    const keys = rig.addKeys(12);
    report(rig, keys, 'a');
    const last = keys[11]!;
    expect(last.state).toBe(KeyState.AVAILABLE);
    verified(rig.engine, last, last.suspicion!, REFUSED, rig.now);
    expect(last.state).toBe(KeyState.QUARANTINED);
  });
});
