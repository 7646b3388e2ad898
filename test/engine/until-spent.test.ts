import { expect, test } from 'vitest';
import { setLimits } from '../../src/engine/gates.ts';
import type { Key } from '../../src/engine/key.ts';
import { ErrorClass, Selection } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { ids, Rig, tally } from './rig.ts';

const ask = { model: 'pro' };

/** A pool that stays with a project until it is spent: two keys for each, whose quota is so many requests a minute. */
function spending(...perMinute: number[]): { rig: Rig; projects: Key[][] } {
  const rig = new Rig({ selection: Selection.UNTIL_SPENT });
  const projects = perMinute.map((requestsPerMinute, i) => {
    const keys = rig.addKeys(2, { project: `p-${i}` });
    setLimits(rig.engine, keys[0]!.project, 'pro', { requestsPerMinute }, rig.now);
    return keys;
  });
  return { rig, projects };
}

function projectsOf(rig: Rig, count: number): string[] {
  return Array.from({ length: count }, () => rig.pick(ask).project.name);
}

function times(count: number, name: string): string[] {
  return Array.from({ length: count }, () => name);
}

test('it stays with a project until its quota is used up, then goes to the next; its keys take turns', () => {
  const { rig, projects } = spending(4, 3, 5);
  const picked = Array.from({ length: 4 }, () => rig.pick(ask));
  expect(tally(picked)).toEqual(new Map(projects[0]!.map((key) => [key, 2])));
  expect(projectsOf(rig, 8)).toEqual([...times(3, 'p-1'), ...times(5, 'p-2')]);
  expect(rig.acquire(ask)).toBeUndefined();
});

test('it stays with the next when the first has room again', () => {
  const { rig } = spending(2, 4);
  expect(projectsOf(rig, 3)).toEqual(['p-0', 'p-0', 'p-1']);
  rig.pass(60_000);
  expect(projectsOf(rig, 5)).toEqual([...times(4, 'p-1'), 'p-0']);
});

test('it goes on when the project rests, or when the caps of its keys are reached, and for those who exclude it', () => {
  const { rig, projects } = spending(100, 100);
  projectsOf(rig, 3);
  rig.rest(projects[0]![0]!, 'pro', 10_000);
  expect(projectsOf(rig, 3)).toEqual(times(3, 'p-1'));
  expect(rig.acquire({ ...ask, excludeProjects: ['p-1'] })).toBeUndefined();
  rig.pass(10_000);
  rig.changePool({ maxConcurrentLeases: 4 });
  const excluded = rig.pick({ ...ask, excludeKeyIds: ids(...projects[1]!) });
  expect(excluded.project.name).toBe('p-0');
  const capped = spending(100, 100).rig;
  capped.changePool({ maxConcurrentLeases: 2 });
  expect(projectsOf(capped, 8)).toEqual([...times(4, 'p-0'), ...times(4, 'p-1')]);
});

test('it stays with a project for each model by itself', () => {
  const { rig, projects } = spending(1, 50);
  expect(projectsOf(rig, 3)).toEqual(['p-0', 'p-1', 'p-1']);
  const flash = Array.from({ length: 4 }, () => rig.pick({ model: 'flash' }).project.name);
  expect(flash).toEqual(times(4, 'p-0'));
  expect(projects).toHaveLength(2);
});

test('it leaves a project of a higher tier as soon as one of a lower tier may serve', () => {
  const rig = new Rig({ selection: Selection.UNTIL_SPENT });
  const [free] = [rig.addKey({ project: 'free', tier: 0 }), rig.addKey({ project: 'paid', tier: 1 })];
  setLimits(rig.engine, free.project, 'pro', { requestsPerMinute: 2 }, rig.now);
  expect(projectsOf(rig, 5)).toEqual(['free', 'free', 'paid', 'paid', 'paid']);
  rig.pass(60_000);
  expect(projectsOf(rig, 3)).toEqual(['free', 'free', 'paid']);
});

test('it goes elsewhere for a call that the project has no room for, and comes back for the next that fits', () => {
  const { rig, projects } = spending(100, 100);
  setLimits(rig.engine, projects[0]![0]!.project, 'pro', { inputTokensPerMinute: 1_000 }, rig.now);
  rig.acquire({ ...ask, tokens: 800 });
  expect(rig.pick({ ...ask, tokens: 500 }).project.name).toBe('p-1');
});

test('it survives the project that it stayed with', () => {
  const { rig, projects } = spending(100, 100);
  expect(projectsOf(rig, 1)).toEqual(['p-0']);
  for (const key of projects[0]!) rig.removeKey(key);
  expect(rig.pick({ ...ask, tokens: 100 }).project.name).toBe('p-1');
  expect(projectsOf(rig, 2)).toEqual(['p-1', 'p-1']);
  rig.addKey({ project: 'new' });
  expect(new Set(projectsOf(rig, 4)).size).toBe(1);
  rig.fail(rig.acquire(ask)!, ErrorClass.RATE_LIMITED_MINUTE, { scope: 'project', retryDelayMs: 5_000 });
  expect(new Set(projectsOf(rig, 4)).size).toBe(1);
});
