import type { Failure } from './gemini.ts';

/** A call that somebody wants made, in the words of a scheduler. */
export interface Call {
  /** Its place in the load. */
  readonly index: number;
  readonly model: number;
  /** What advice told it to leave out. */
  readonly excludedKeys: readonly number[];
  readonly excludedProjects: readonly number[];
}

/** A key for one attempt of a call. */
export interface Grant {
  readonly key: number;
  /** A half-open probe: one call that finds out whether a limit still stands. */
  readonly probe: boolean;
}

/** What a caller does after a failure. */
export interface Advice {
  readonly retry: boolean;
  readonly delayMs: number;
  readonly excludeKey: boolean;
  readonly excludeProject: boolean;
}

/** Hears how acquires come out, at once or later; of each one thing. */
export interface Callers {
  granted(call: Call, grant: Grant, now: number): void;
  /** No key, and no more waiting for one. */
  refused(call: Call, now: number): void;
}

/**
 * Who gets which key when. Times are milliseconds of one clock that only goes forward; `advance` is called before any other
 * method, and whenever `nextDeadline` has come.
 */
export interface Scheduler {
  readonly nextDeadline: number;
  advance(now: number): void;
  /** A call without a key waits until `giveUpAt`. */
  acquire(call: Call, giveUpAt: number, now: number): void;
  /** undefined: Gemini answered. */
  report(call: Call, grant: Grant, failure: Failure | undefined, now: number): Advice;
  /** Whether it asked Gemini about the key, was told that it is dead, and so will not use it again. */
  knowsDead(key: number): boolean;
  isDisabled(key: number): boolean;
}

/** Another key at once: what there is to do where nothing is known of the failure. */
export const TRY_AGAIN: Advice = { retry: true, delayMs: 0, excludeKey: false, excludeProject: false };
