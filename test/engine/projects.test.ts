import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { setDefaults, setLimits } from '../../src/engine/gates.ts';
import { type Key, keyId } from '../../src/engine/key.ts';
import { forgetProject, learnProject } from '../../src/engine/projects.ts';
import { ErrorClass, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { keyOf, Rig } from './rig.ts';

const HOUR = 3_600_000;
const { RATE_LIMITED_MINUTE, QUOTA_EXHAUSTED_DAY } = ErrorClass;
const limit = { scope: 'project-model' as const };

function learn(rig: Rig, key: Key, name: string, caller = 'local'): boolean {
  const learned = learnProject(rig.engine, key, name, caller, rig.now);
  rig.serve();
  return learned;
}

function ofKey(key: Key): { requireKeyId: string } {
  return { requireKeyId: keyId(key.ordinal) };
}

describe('a key of an unknown project', () => {
  test('is a project of its own: what rests for its project rests for it alone', () => {
    const rig = new Rig();
    const [a, b] = rig.addKeys(2);
    rig.rest(a!, 'pro', 30_000);
    expect(rig.acquire({ model: 'pro', ...ofKey(a!) })).toBeUndefined();
    expect(rig.acquire({ model: 'pro', ...ofKey(b!) })).toBeDefined();
    expect(rig.engine.projects.size).toBe(0);
  });

  test('is not the key of any project that an acquire names, nor of ""', () => {
    const rig = new Rig();
    rig.addKey();
    expect(rig.acquire({ excludeProjects: [''] })).toBeDefined();
    expect(rig.whyNot({ requireProject: '42' }).reason).toBe('NO_MATCHING_KEY');
  });
});

describe('keys that turn out to share a project', () => {
  test('share its cooldowns from then on, those of before too: the longer stays', () => {
    const rig = new Rig();
    const [a, b] = rig.addKeys(2);
    rig.rest(a!, 'pro', 30_000);
    rig.rest(b!, 'pro', 20_000);
    rig.rest(b!, 'flash', 10_000);
    learn(rig, a!, '42');
    expect(rig.acquire({ model: 'flash', ...ofKey(a!) })).toBeDefined();
    learn(rig, b!, '42');
    expect(rig.acquire({ model: 'flash', ...ofKey(a!) })).toBeUndefined();
    rig.pass(20_000);
    expect(rig.acquire({ model: 'pro', ...ofKey(b!) })).toBeUndefined();
    expect(rig.acquire({ model: 'flash', ...ofKey(a!) })).toBeDefined();
    rig.pass(10_000);
    expect(rig.acquire({ model: 'pro', ...ofKey(b!) })).toBeDefined();
  });

  test('share its limits, and what each used of them', () => {
    const rig = new Rig();
    const [a, b] = rig.addKeys(2);
    setLimits(rig.engine, a!.project, 'pro', { requestsPerMinute: 10 }, rig.now);
    for (let i = 0; i < 4; i++) rig.acquire({ model: 'pro', ...ofKey(a!) });
    for (let i = 0; i < 5; i++) rig.acquire({ model: 'pro', ...ofKey(b!) });
    learn(rig, b!, '42');
    learn(rig, a!, '42');
    expect(a!.project).toBe(b!.project);
    const { meter } = a!.project.gates!.get('pro')!;
    expect(meter.used('requestsPerMinute', rig.engine.moment(rig.now))).toBe(9);
    expect(meter.used('requestsPerDay', rig.engine.moment(rig.now))).toBe(9);
    expect(rig.acquire({ model: 'pro' })).toBeDefined();
    expect(rig.acquire({ model: 'pro' })).toBeUndefined();
    rig.pass(60_000);
    expect(rig.acquire({ model: 'pro', ...ofKey(b!) })).toBeDefined();
  });

  test('share the limits that it was given for models without their own', () => {
    const rig = new Rig();
    const [a, b] = rig.addKeys(2);
    setDefaults(rig.engine, rig.engine.project('42'), { requestsPerMinute: 1 }, rig.now);
    setDefaults(rig.engine, a!.project, { requestsPerMinute: 5, requestsPerDay: 9 }, rig.now);
    learn(rig, a!, '42');
    learn(rig, b!, '42');
    expect(b!.project.defaults).toEqual({ requestsPerMinute: 1, requestsPerDay: 9 });
    expect(rig.acquire({ model: 'pro' })).toBeDefined();
    expect(rig.acquire({ model: 'pro' })).toBeUndefined();
    expect(rig.acquire({ model: 'flash' })).toBeDefined();
  });

  test('share a spent day: it is over for both at midnight', () => {
    const rig = new Rig({}, { wallOffset: Date.UTC(2026, 5, 15, 19) - 1_000 });
    const [a, b] = rig.addKeys(2);
    rig.fail(rig.acquire({ model: 'pro', ...ofKey(a!) })!, QUOTA_EXHAUSTED_DAY, { ...limit, retryDelayMs: 24 * HOUR });
    rig.pass(HOUR);
    learn(rig, a!, '42');
    learn(rig, b!, '42');
    rig.pass(11 * HOUR - 1);
    expect(rig.acquire({ model: 'pro' })).toBeUndefined();
    rig.pass(1);
    expect([rig.acquire({ model: 'pro' }), rig.acquire({ model: 'pro' })].every(Boolean)).toBe(true);
  });

  test('settle in it what they had under way', () => {
    const rig = new Rig();
    const [a, b] = rig.addKeys(2);
    setLimits(rig.engine, rig.engine.project('42'), 'pro', { inputTokensPerMinute: 1_000 }, rig.now);
    const lease = rig.acquire({ model: 'pro', tokens: 900, ...ofKey(a!) })!;
    learn(rig, a!, '42');
    learn(rig, b!, '42');
    const waited = rig.wait({ model: 'pro', tokens: 500 });
    expect(waited.granted).toBeUndefined();
    rig.report(lease, { inputTokens: 300 });
    expect(waited.granted).toBeDefined();
  });

  test('go on trying in it what one of them tries, and let the next of any key try when that is over', () => {
    const rig = new Rig();
    const [a, b] = rig.addKeys(2);
    rig.fail(rig.acquire({ model: 'pro', ...ofKey(a!) })!, ErrorClass.BILLING, { scope: 'project' });
    rig.pass(HOUR);
    const trial = rig.acquire({ model: 'pro', ...ofKey(a!) })!;
    learn(rig, a!, '42');
    learn(rig, b!, '42');
    const waited = rig.wait({ model: 'pro' });
    expect(waited.granted).toBeUndefined();
    rig.report(trial, { outcome: Outcome.UNUSED });
    expect(keyOf(waited)).toBeDefined();
    expect(rig.acquire({ model: 'flash' })).toBeUndefined();
  });

  test('are required and excluded by its learned name', () => {
    const rig = new Rig();
    const [a, b] = rig.addKeys(2);
    learn(rig, a!, '7');
    learn(rig, b!, '42');
    expect(rig.pick({ requireProject: '42' })).toBe(b);
    expect(rig.pick({ excludeProjects: ['42'] })).toBe(a);
    expect(rig.whyNot({ excludeProjects: ['7', '42'] }).reason).toBe('NO_MATCHING_KEY');
  });

  test('serve an acquire that waits for the project that one of them comes to', () => {
    const rig = new Rig({ maxConcurrentLeases: 1 });
    const [a, b] = [rig.addKey({ project: '42' }), rig.addKey()];
    rig.acquire(ofKey(a));
    const waited = rig.wait({ requireProject: '42' });
    learn(rig, b!, '42');
    expect(keyOf(waited)).toBe(b);
  });

  test('are forgotten again as such, and then rest and count alone, what rested goes on resting', () => {
    const rig = new Rig();
    const [a, b] = rig.addKeys(2);
    learn(rig, a!, '42');
    learn(rig, b!, '42');
    rig.rest(a!, 'pro', 30_000);
    forgetProject(rig.engine, b!, rig.now);
    expect(b!.learnedProject).toBeUndefined();
    expect(rig.acquire({ model: 'pro' })).toBeUndefined();
    rig.pass(30_000);
    rig.rest(b!, 'pro', 60_000);
    expect(rig.pick({ model: 'pro' })).toBe(a);
  });

  test('keep a spent day and an unpaid bill each for itself when one is forgotten as such', () => {
    const rig = new Rig({}, { wallOffset: Date.UTC(2026, 5, 15, 19) - 1_000 });
    const [a, b] = rig.addKeys(2);
    for (const key of [a!, b!]) learn(rig, key, '42');
    rig.fail(rig.acquire({ model: 'pro', ...ofKey(a!) })!, QUOTA_EXHAUSTED_DAY, { ...limit, retryDelayMs: 24 * HOUR });
    rig.fail(rig.acquire(ofKey(a!))!, ErrorClass.BILLING, { scope: 'project' });
    rig.pass(HOUR);
    const trial = rig.acquire({ model: 'flash', ...ofKey(a!) })!;
    forgetProject(rig.engine, b!, rig.now);
    expect([a!.project.name, b!.project.name]).toEqual(['42', '']);
    expect(rig.acquire({ model: 'pro', ...ofKey(b!) })).toBeUndefined();
    // Each tries by itself whether the bill was paid, and what one finds out is not the other's.
    const own = rig.acquire({ model: 'flash', ...ofKey(b!) })!;
    expect(rig.acquire({ model: 'flash', ...ofKey(b!) })).toBeUndefined();
    rig.report(trial);
    expect(rig.acquire({ model: 'flash', ...ofKey(a!) })).toBeDefined();
    expect(rig.acquire({ model: 'flash', ...ofKey(b!) })).toBeUndefined();
    rig.report(own);
    expect(rig.acquire({ model: 'flash', ...ofKey(b!) })).toBeDefined();
    rig.pass(11 * HOUR - 1);
    expect(rig.acquire({ model: 'pro', ...ofKey(b!) })).toBeUndefined();
    rig.pass(1);
    expect(rig.acquire({ model: 'pro', ...ofKey(b!) })).toBeDefined();
  });
});

describe('an administrator’s project', () => {
  test('stays, whatever errors say', () => {
    const rig = new Rig();
    const key = rig.addKey({ project: 'mine' });
    expect(learn(rig, key, '42')).toBe(false);
    expect(learn(rig, key, '42', '')).toBe(false);
    expect(key.project.name).toBe('mine');
  });

  test('goes before a learned one, which holds again when it is taken away', () => {
    const rig = new Rig();
    const key = rig.addKey();
    learn(rig, key, '42');
    rig.change(key, { project: 'mine' });
    expect(key.project.name).toBe('mine');
    expect([...rig.engine.projects.keys()]).toEqual(['mine']);
    rig.change(key, { project: '' });
    expect(key.project.name).toBe('42');
  });

  test('takes the key’s calls of another project not along', () => {
    const rig = new Rig();
    const [a, b] = [rig.addKey({ project: 'p' }), rig.addKey({ project: 'q' })];
    for (const { project } of [a, b]) setLimits(rig.engine, project, 'pro', { requestsPerMinute: 2 }, rig.now);
    const lease = rig.acquire({ model: 'pro', ...ofKey(a) })!;
    rig.acquire({ model: 'pro', ...ofKey(b) });
    rig.change(a, { project: 'q' });
    rig.report(lease, { outcome: Outcome.UNUSED });
    const used = (name: string): number =>
      rig.engine.project(name).gates!.get('pro')!.meter.used('requestsPerMinute', rig.engine.moment(rig.now));
    expect([used('p'), used('q')]).toEqual([1, 1]);
  });
});

describe('what one caller may teach', () => {
  test('is the project of three keys an hour; the fourth is refused, and what was learned before stays', () => {
    const rig = new Rig();
    const keys = rig.addKeys(8);
    for (const key of keys.slice(0, 3)) {
      expect(learn(rig, key, `${key.ordinal}`, 'teacher')).toBe(true);
      rig.pass(1_000);
    }
    expect(learn(rig, keys[3]!, '4', 'teacher')).toBe(false);
    expect(keys.map(({ project }) => project.name)).toEqual(['1', '2', '3', '', '', '', '', '']);
    // Another's lessons are his own.
    expect(learn(rig, keys[4]!, '5', 'other')).toBe(true);
    rig.pass(HOUR);
    expect(learn(rig, keys[5]!, '6', 'teacher')).toBe(true);
    expect(keys[4]!.project.name).toBe('5');
    expect(rig.engine.callers.get('teacher')).toMatchObject({ projectsLearned: 4, projectsRefused: 1 });
  });

  test('comes to be known of five keys of one project in two hours, of which errors tell all the time', () => {
    const rig = new Rig();
    const keys = rig.addKeys(5);
    const known = (): string[] => keys.map(({ project }) => project.name);
    for (const key of keys) learn(rig, key, '42');
    expect(known()).toEqual(['42', '42', '42', '', '']);
    rig.pass(HOUR - 1);
    for (const key of keys) learn(rig, key, '42');
    expect(known()).toEqual(['42', '42', '42', '', '']);
    rig.pass(1);
    for (const key of keys) learn(rig, key, '42');
    expect(known()).toEqual(['42', '42', '42', '42', '42']);
    expect(new Set(keys.map(({ project }) => project)).size).toBe(1);
    expect(rig.engine.callers.get('local')).toMatchObject({ projectsLearned: 5, projectsRefused: 4 });
  });

  test('is nothing about a key whose project was learned before; the server’s own question decides anew', () => {
    const rig = new Rig();
    const key = rig.addKey();
    learn(rig, key, '42', 'honest');
    expect(learn(rig, key, '1', 'liar')).toBe(false);
    expect(key.learnedProject).toMatchObject({ name: '42', caller: 'honest' });
    expect(rig.engine.callers.get('liar')).toMatchObject({ projectsLearned: 0, projectsRefused: 1 });
    expect(learn(rig, key, '43', '')).toBe(true);
    expect(key.project.name).toBe('43');
    // What it was told already is no lesson.
    expect(learn(rig, key, '43', 'honest')).toBe(false);
    expect(rig.engine.callers.get('honest')).toMatchObject({ projectsLearned: 1, projectsRefused: 0 });
  });
});

test('whatever is learned, forgotten, moved, added and removed: each key is in just the project that is named, in one group, and serves', () => {
  const step = fc.record({
    do: fc.constantFrom('learn', 'learn', 'forget', 'set', 'add', 'remove', 'rest', 'use', 'pass'),
    which: fc.nat(99),
    name: fc.constantFrom('1', '2', '3'),
    model: fc.constantFrom('', 'pro', 'flash'),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 80, size: 'max' }), (steps) => {
      const rig = new Rig();
      rig.addKeys(3);
      for (const { do: what, which, name, model } of steps) {
        const keys = [...rig.engine.keys.values()];
        const key = keys[which % keys.length]!;
        if (what === 'learn') learn(rig, key, name, which % 2 === 0 ? '' : 'local');
        else if (what === 'forget') forgetProject(rig.engine, key, rig.now);
        else if (what === 'set') rig.change(key, { project: which % 3 === 0 ? '' : name });
        else if (what === 'add') rig.addKey({ project: which % 2 === 0 ? '' : name });
        else if (what === 'remove' && keys.length > 2) rig.removeKey(key);
        else if (what === 'pass') rig.pass(which * 1_000);
        else if (what === 'use') rig.acquire({ model, ...ofKey(key) });
        else if (what === 'rest') {
          const lease = rig.acquire({ model, ...ofKey(key) });
          if (lease !== undefined) rig.fail(lease, RATE_LIMITED_MINUTE, { ...limit, retryDelayMs: 1_000 * which });
        }
        const groups = new Map<number, unknown>();
        for (const each of rig.engine.keys.values()) {
          const { project, group, settings, learnedProject } = each;
          expect(project.name).toBe(settings.project || (learnedProject?.name ?? ''));
          expect(project.keys.has(each)).toBe(true);
          if (project.name === '') expect([...project.keys]).toEqual([each]);
          else expect(rig.engine.projects.get(project.name)).toBe(project);
          expect(groups.get(group) ?? project).toBe(project);
          groups.set(group, project);
          expect(rig.pool.groups[group]).toBe(project);
          for (const lane of rig.pool.lanes.values()) {
            const rests = [...each.rests, ...project.rests].filter(
              (rest) => rest.until > rig.now && (rest.model === '' || rest.model === lane.model),
            );
            expect([lane.model, lane.has(each.slot)]).toEqual([lane.model, rests.length === 0]);
          }
        }
        for (const [project, { places, keys: some }] of rig.engine.projects) {
          expect([project, places.map((place) => place.keys)]).toEqual([project, some.size > 0 ? [some.size] : []]);
        }
      }
    }),
    { numRuns: 300 },
  );
});
