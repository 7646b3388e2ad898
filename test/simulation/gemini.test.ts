import { expect, test } from 'vitest';
import { type Failure, Gemini } from '../../simulation/gemini.ts';
import type { WindowKind } from '../../simulation/minute-window.ts';
import { drawWorld, isDead, MODELS, pairOf, projectNumber, type World } from '../../simulation/world.ts';
import { judged } from '../gemini/provider-errors.ts';

const LUCKY = 0.5;
const UNLUCKY = 0;
const MODEL = 3;

function worldOf(window: WindowKind = 'sliding'): World {
  const world = drawWorld(1, window);
  return {
    ...world,
    keys: world.keys.map((key) => ({ ...key, diesAt: Infinity })),
    overload: { model: MODEL, from: Infinity, until: Infinity },
    suspension: { project: 0, from: Infinity },
  };
}

/** Calls the first key until it is refused. */
function callUntilRefused(gemini: Gemini, now: number): { admitted: number; failure: Failure } {
  for (let admitted = 0; ; admitted++) {
    const failure = gemini.generate(0, MODEL, LUCKY, now);
    if (failure !== undefined) return { admitted, failure };
  }
}

function judgedAs({ httpStatus, body }: Failure): string {
  return judged({ httpStatus, body: body() });
}

test('limits are from 10 to 60 a minute and from 1,000 to 10,000 a day, each pair its own', () => {
  const { limits } = drawWorld(1, 'sliding');
  expect(limits).toHaveLength(50 * MODELS);
  for (const { perMinute, perDay } of limits) {
    expect(perMinute).toBeGreaterThanOrEqual(10);
    expect(perMinute).toBeLessThanOrEqual(60);
    expect(perDay).toBeGreaterThanOrEqual(1_000);
    expect(perDay).toBeLessThanOrEqual(10_000);
  }
  expect(new Set(limits.map(({ perDay }) => perDay)).size).toBeGreaterThan(300);
});

test('five keys die, in projects that live, and one project is suspended with its four keys', () => {
  const world = drawWorld(1, 'sliding');
  const dead = world.keys.filter((key) => isDead(world, key, world.end));
  expect(dead.filter(({ diesAt }) => diesAt < Infinity)).toHaveLength(5);
  expect(dead).toHaveLength(9);
  expect(world.keys.filter((key) => isDead(world, key, world.start))).toEqual([]);
});

test('a seed decides all, and another seed draws another day', () => {
  expect(drawWorld(7, 'sliding')).toEqual(drawWorld(7, 'sliding'));
  expect(drawWorld(8, 'sliding').limits).not.toEqual(drawWorld(7, 'sliding').limits);
});

test('a full sliding minute says when its first call is 60 s old, and is free then and not before', () => {
  const world = worldOf();
  const gemini = new Gemini(world);
  const limit = world.limits[pairOf(0, MODEL)]!.perMinute;
  expect(gemini.generate(0, MODEL, LUCKY, world.start)).toBeUndefined();
  const { admitted, failure } = callUntilRefused(gemini, world.start + 20_000);
  expect(1 + admitted).toBe(limit);
  expect(judgedAs(failure)).toBe('RATE_LIMITED_MINUTE project-model');
  expect(failure.body()).toContain('"retryDelay":"40s"');
  expect(failure.body()).toContain(`"quotaValue":"${limit}"`);
  expect(gemini.generate(0, MODEL, LUCKY, world.start + 59_999)).toBeDefined();
  expect(gemini.generate(0, MODEL, LUCKY, world.start + 60_000)).toBeUndefined();
  expect(gemini.generate(0, MODEL, LUCKY, world.start + 60_000)).toBeDefined();
});

test('an aligned minute is free again when the clock shows the next', () => {
  const world = worldOf('aligned');
  const gemini = new Gemini(world);
  const { admitted } = callUntilRefused(gemini, world.start + 59_000);
  expect(admitted).toBe(world.limits[pairOf(0, MODEL)]!.perMinute);
  expect(callUntilRefused(gemini, world.start + 60_000).admitted).toBe(admitted);
});

test('a spent day states a short delay, and lasts until midnight in Los Angeles', () => {
  const world = worldOf();
  const gemini = new Gemini(world);
  const { perDay } = world.limits[pairOf(0, MODEL)]!;
  let now = world.start;
  let admitted = 0;
  let failure: Failure | undefined;
  for (; failure?.kind !== 'day'; now += 60_000) {
    const called = callUntilRefused(gemini, now);
    admitted += called.admitted;
    failure = called.failure;
  }
  expect(admitted).toBe(perDay);
  expect(judgedAs(failure)).toBe('QUOTA_EXHAUSTED_DAY project-model');
  expect(failure.body()).toMatch(/"retryDelay":"\d{1,2}s"/);
  expect(gemini.generate(0, MODEL, LUCKY, world.midnight - 1)?.kind).toBe('day');
  expect(gemini.generate(0, MODEL, LUCKY, world.midnight)).toBeUndefined();
});

test('keys of a project share its limits, of each model apart', () => {
  const world = worldOf();
  const gemini = new Gemini(world);
  callUntilRefused(gemini, world.start);
  const sibling = world.keys.find(({ index, project }) => index !== 0 && project === 0)!;
  expect(gemini.generate(sibling.index, MODEL, LUCKY, world.start)?.kind).toBe('minute');
  expect(gemini.generate(sibling.index, MODEL + 1, LUCKY, world.start)).toBeUndefined();
});

test('dead keys, suspended projects, overload and server errors are told in bodies that the classifier knows', () => {
  const now = worldOf().start;
  const dead = { ...worldOf(), keys: worldOf().keys.map((key) => ({ ...key, diesAt: now })) };
  expect(judgedAs(new Gemini(dead).generate(0, MODEL, LUCKY, now)!)).toBe('KEY_INVALID key');
  expect(judgedAs(new Gemini(dead).listModels(0, now)!)).toBe('KEY_INVALID key');
  const suspended = new Gemini({ ...worldOf(), suspension: { project: 0, from: now } });
  const refusal = suspended.generate(0, MODEL, LUCKY, now)!;
  expect(judgedAs(refusal)).toBe('KEY_SUSPENDED project');
  expect(refusal.body()).toContain(`"consumer":"projects/${projectNumber(0)}"`);
  expect(refusal.body()).not.toContain('api_key');
  const overloaded = new Gemini({ ...worldOf(), overload: { model: MODEL, from: now, until: now + 1 } });
  expect(judgedAs(overloaded.generate(0, MODEL, LUCKY, now)!)).toBe('OVERLOADED none');
  expect(overloaded.listModels(0, now)).toBeUndefined();
  expect(overloaded.generate(0, MODEL, LUCKY, now + 1)).toBeUndefined();
  expect(judgedAs(new Gemini(worldOf()).generate(0, MODEL, UNLUCKY, now)!)).toBe('SERVER_ERROR none');
});

test('what is overloaded counts against no limit; a server error does', () => {
  const world = worldOf();
  const limit = world.limits[pairOf(0, MODEL)]!.perMinute;
  const overloaded = new Gemini({ ...world, overload: { model: MODEL, from: world.start, until: world.start + 1 } });
  for (let call = 0; call < limit; call++) overloaded.generate(0, MODEL, LUCKY, world.start);
  expect(callUntilRefused(overloaded, world.start + 1).admitted).toBe(limit);
  const failing = new Gemini(world);
  failing.generate(0, MODEL, UNLUCKY, world.start);
  expect(callUntilRefused(failing, world.start).admitted).toBe(limit - 1);
});
