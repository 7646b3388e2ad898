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
  // Both ways: a lesson of the future, from before the wall clock was set back, is not kept until that time comes.
  return lesson !== undefined && Math.abs(at.now + at.wallOffset - lesson.at) < LESSON_MS;
}
