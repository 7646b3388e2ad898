import type { Engine } from './engine.ts';

/** What one caller's reports led to, since the data dir was made. */
export interface CallerCounts {
  quarantined: number;
  confirmed: number;
  refuted: number;
  projectsLearned: number;
  projectsRefused: number;
  delaysDistrusted: number;
  limitsLearned: number;
  /** Limits that what had succeeded contradicted. */
  limitsRefused: number;
}

/** The counts of a caller, and what it may still teach. */
export interface CallerRecord extends CallerCounts {
  readonly name: string;
  /** When Gemini refuted it in the last day. */
  refutations: number[];
  /** When keys' projects were learned from it in the last hour. */
  lessons: number[];
}

export type CallerCount = keyof CallerCounts;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Wrong so often in a day, a caller's word that a key is dead takes no key out of use before Gemini was asked. */
export const CREDIT = 3;
/** Keys whose project one caller may teach in an hour. */
export const LESSONS_AN_HOUR = 3;
/** Callers remembered; names are authenticated, so there are not many. */
const MAX_CALLERS = 1_000;

export function callerOf(engine: Engine, name: string): CallerRecord {
  let caller = engine.callers.get(name);
  if (caller !== undefined) return caller;
  if (engine.callers.size >= MAX_CALLERS) {
    // Told apart no more: what they do is still bounded, together.
    name = '';
    caller = engine.callers.get(name);
    if (caller !== undefined) return caller;
  }
  caller = newCaller(name);
  engine.callers.set(name, caller);
  return caller;
}

export function newCaller(name: string): CallerRecord {
  return {
    name,
    quarantined: 0,
    confirmed: 0,
    refuted: 0,
    projectsLearned: 0,
    projectsRefused: 0,
    delaysDistrusted: 0,
    limitsLearned: 0,
    limitsRefused: 0,
    refutations: [],
    lessons: [],
  };
}

export function countCaller(engine: Engine, name: string, field: CallerCount, by = 1): void {
  const caller = callerOf(engine, name);
  caller[field] += by;
  engine.changes.callers.add(caller);
}

/** Whether the caller is believed that a key is dead, as far as a quarantine goes. */
export function isBelieved(engine: Engine, name: string, now: number): boolean {
  const caller = engine.callers.get(name);
  return caller === undefined || recent(caller.refutations, now, DAY_MS).length < CREDIT;
}

export function refuted(engine: Engine, name: string, now: number): void {
  const caller = callerOf(engine, name);
  caller.refutations = [...recent(caller.refutations, now, DAY_MS), now].slice(-CREDIT);
  countCaller(engine, name, 'refuted');
}

export function recent(times: readonly number[], now: number, withinMs = HOUR_MS): number[] {
  return times.filter((time) => time > now - withinMs);
}
