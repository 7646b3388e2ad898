import type { LimitName } from '../../gemini/finding.ts';
import type { Moment } from './moment.ts';

/** Limits that were set: whole numbers of requests or tokens; 0 allows nothing, an absent one is unknown or none. */
export type Limits = Readonly<Partial<Record<LimitName, number>>>;

/** A limit that Gemini stated when it was broken, and when it did, in wall-clock milliseconds since 1970. */
export interface Lesson {
  readonly value: number;
  readonly at: number;
}

export type Lessons = Readonly<Partial<Record<LimitName, Lesson>>>;

/** A lesson is forgotten so long after it was last taught, since Google raises tiers without a word. */
export const LESSON_MS = 24 * 3_600_000;
/** The first lesson about a minute's limit is forgotten so soon, and thereby put to the test. */
export const FIRST_LESSON_MS = 3_600_000;

export const LIMIT_NAMES: readonly LimitName[] = [
  'requestsPerMinute',
  'inputTokensPerMinute',
  'requestsPerDay',
  'tokensPerDay',
];

export function isDaily(name: LimitName): boolean {
  return name === 'requestsPerDay' || name === 'tokensPerDay';
}

export function isEmpty(limits: Limits): boolean {
  return (
    limits.requestsPerMinute === undefined &&
    limits.inputTokensPerMinute === undefined &&
    limits.requestsPerDay === undefined &&
    limits.tokensPerDay === undefined
  );
}

/** Whether one of them is 0. */
export function allowsNothing(limits: Limits): boolean {
  return (
    limits.requestsPerMinute === 0 ||
    limits.inputTokensPerMinute === 0 ||
    limits.requestsPerDay === 0 ||
    limits.tokensPerDay === 0
  );
}

export function isRemembered(lesson: Lesson | undefined, at: Moment): boolean {
  if (lesson === undefined || at.now >= forgottenAt(lesson, at)) return false;
  // One of the future, from before the wall clock was set back, is not kept until that time comes.
  return lesson.at - at.now - at.wallOffset < LESSON_MS;
}

/** When a lesson is forgotten, on the engine's clock. */
export function forgottenAt(lesson: Lesson, { wallOffset }: Moment): number {
  return lesson.at + LESSON_MS - wallOffset;
}

/**
 * When a lesson about a minute's limit stands as taught that is taught now after an older one. The first stands as taught so long ago
 * that it is forgotten in time, and is not prolonged while it is remembered. What is left to a lesson is all that tells a first one
 * from others, so one that is to be forgotten as soon is not prolonged either: it is put to the test as well.
 */
export function taughtOfMinute(older: Lesson | undefined, at: Moment): number {
  const wall = at.now + at.wallOffset;
  const first = wall - LESSON_MS + FIRST_LESSON_MS;
  if (older === undefined) return first;
  return isRemembered(older, at) && older.at <= first ? older.at : wall;
}
