import { nextPacificMidnight } from '../test/fake-gemini/pacific-midnight.ts';
import type { WindowKind } from './minute-window.ts';
import { logUniform, paretoTo, seeded } from './random.ts';

export const DEFAULT_SEED = 1;

export const MODELS = 10;
export const PROJECTS = 50;
export const KEYS = 200;
const DYING_KEYS = 5;

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
const HOURS = 24;
/** Noon in Los Angeles, so that the day has a Pacific midnight in its middle. */
const START = Date.UTC(2026, 5, 15, 19);

/** What Google grants a project of one model. */
export interface TrueLimits {
  perMinute: number;
  perDay: number;
}

export interface SimulatedKey {
  readonly index: number;
  readonly project: number;
  /** From then on Gemini does not know it. Infinity: it lives. */
  readonly diesAt: number;
}

/** All that is true of the day, and that no scheduler but the oracle may look at. Times are milliseconds since 1970. */
export interface World {
  readonly seed: number;
  readonly window: WindowKind;
  readonly start: number;
  /** When quotas of a day start anew. */
  readonly midnight: number;
  readonly end: number;
  readonly keys: readonly SimulatedKey[];
  /** By pairOf(project, model). */
  readonly limits: readonly TrueLimits[];
  /** For an hour one model answers nobody. */
  readonly overload: { model: number; from: number; until: number };
  /** One project loses all its keys. */
  readonly suspension: { project: number; from: number };
}

export function pairOf(project: number, model: number): number {
  return project * MODELS + model;
}

export function modelName(model: number): string {
  return `gemini-sim-${String(model).padStart(2, '0')}`;
}

/** Number of the Google Cloud project, as error bodies name it. */
export function projectNumber(project: number): string {
  return `1000000000${String(project).padStart(2, '0')}`;
}

export function drawWorld(seed: number, window: WindowKind): World {
  const dice = seeded(seed);
  const between = (low: number, high: number): number => low + Math.floor(dice() * (high - low));
  const end = START + HOURS * HOUR_MS;
  const limits = Array.from({ length: PROJECTS * MODELS }, () => ({
    perMinute: Math.round(logUniform(dice, 10, 60)),
    perDay: Math.round(paretoTo(dice, 1_000, 10_000)),
  }));
  // None in the first and the last hours, so that what follows from them is seen.
  const someTime = (): number => between(START + 2 * HOUR_MS, end - 3 * HOUR_MS);
  const from = someTime();
  const suspension = { project: between(0, PROJECTS), from: someTime() };
  const dying = new Map<number, number>();
  while (dying.size < DYING_KEYS) {
    const key = between(0, KEYS);
    if (projectOf(key) !== suspension.project) dying.set(key, someTime());
  }
  return {
    seed,
    window,
    start: START,
    midnight: nextPacificMidnight(START),
    end,
    keys: Array.from({ length: KEYS }, (_, index) => ({
      index,
      project: projectOf(index),
      diesAt: dying.get(index) ?? Infinity,
    })),
    limits,
    overload: { model: between(0, MODELS), from, until: from + HOUR_MS },
    suspension,
  };
}

export function isDead(world: World, key: SimulatedKey, now: number): boolean {
  return now >= key.diesAt || (key.project === world.suspension.project && now >= world.suspension.from);
}

/** Calls of the model that all projects together admit in the time, whatever their keys: minutes and Pacific days considered. */
export function capacity(world: World, model: number): number {
  let calls = 0;
  for (let project = 0; project < PROJECTS; project++) {
    const { perMinute, perDay } = world.limits[pairOf(project, model)]!;
    for (const [from, until] of [
      [world.start, world.midnight],
      [world.midnight, world.end],
    ] as const) {
      const minutes = openMs(world, project, model, from, until) / MINUTE_MS;
      calls += Math.min(perDay, perMinute * minutes);
    }
  }
  return calls;
}

/** For how long between the two times the project may use the model. */
function openMs(world: World, project: number, model: number, from: number, until: number): number {
  const { suspension, overload } = world;
  const last = project === suspension.project ? Math.min(until, suspension.from) : until;
  const closed =
    model === overload.model ? Math.max(0, Math.min(last, overload.until) - Math.max(from, overload.from)) : 0;
  return Math.max(0, last - from) - closed;
}

/** Four keys a project, neighbours in different ones. */
function projectOf(key: number): number {
  return key % PROJECTS;
}
