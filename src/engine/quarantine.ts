import type { Finding } from '../gemini/finding.ts';
import { ErrorClass } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { countCaller, isBelieved, refuted } from './callers.ts';
import type { Engine } from './engine.ts';
import { failed } from './health.ts';
import type { Key, Suspicion } from './key.ts';
import { CLEARED_OF_SUSPENSION } from './policy.ts';
import type { Pool } from './pool.ts';
import { forgetProject, learnProject } from './projects.ts';
import { disprove, rest, restAsFound, type Undo } from './resting.ts';

/**
 * A report alone takes a key out of use at most for a while; Gemini's own answer to the server disables it.
 *
 *   trusted      -> suspected   by a report of KEY_INVALID or KEY_SUSPENDED; QUARANTINED if its caller is believed
 *   (new)        -> suspected   QUARANTINED, if it was out of use where it was imported from
 *   suspected    -> trusted     when Gemini takes the key; after a suspension it rests 10 min first, the second time in a day 24 h
 *   suspected    -> suspected   when Gemini refuses an invalid key the first time (asked again after 10 min), or gives no answer
 *                               (asked again after 1, 2, 4 .. 60 min)
 *   suspected    -> disabled    when Gemini refuses a suspended key, or an invalid one the second time
 *   any          -> disabled    by the report where verification is off
 *   disabled     -> trusted     by an administrator, or when a test of his shows that Gemini takes the key
 */

const MINUTE_MS = 60_000;
/** Keys that Gemini refused as invalid and took a minute later were reported. */
const FIRST_CHECK_MS = MINUTE_MS;
/** Between two questions about one key; many questions from one address look like abuse. */
export const RECHECK_MS = 10 * MINUTE_MS;
const LONGEST_UNANSWERED_MS = 60 * MINUTE_MS;
const REFUSALS_TO_DISABLE = 2;

/** Takes a key out of use that a report calls invalid or suspended. Returns the way to undo it; undefined: nothing changed. */
export function suspect(engine: Engine, key: Key, cause: ErrorClass, caller: string, now: number): Undo | undefined {
  if (key.disabledFor !== ErrorClass.UNSPECIFIED || key.suspicion !== undefined) return undefined;
  if (!engine.verify) {
    disable(engine, key, cause, now);
    return (at) => {
      key.disabledFor = ErrorClass.UNSPECIFIED;
      engine.stateChanged(key, at);
    };
  }
  const held = isBelieved(engine, caller, now) && (key.pool.onWord.get(caller) ?? 0) < mostOnWord(key.pool);
  const wait = cause === ErrorClass.KEY_SUSPENDED || !held ? 0 : FIRST_CHECK_MS;
  const suspicion: Suspicion = {
    key,
    cause,
    since: now,
    caller,
    held,
    onWord: false,
    refusals: 0,
    unanswered: 0,
    unansweredClass: ErrorClass.UNSPECIFIED,
    deadline: 0,
    heapIndex: -1,
  };
  key.suspicion = suspicion;
  takeOnWord(suspicion);
  engine.checks.set(suspicion, Math.max(now + wait, key.lastVerified + RECHECK_MS));
  if (held) countCaller(engine, caller, 'quarantined');
  engine.stateChanged(key, now);
  return (at) => {
    if (key.suspicion !== suspicion) return;
    drop(engine, key);
    if (held) countCaller(engine, caller, 'quarantined', -1);
    engine.stateChanged(key, at);
  };
}

/**
 * Of a key that was out of use where it came from. Nobody here said so: it counts against no caller, and Gemini is asked about it
 * as about a key that reports call invalid.
 */
export function broughtSuspicion(now: number): Omit<Suspicion, 'key'> {
  return {
    cause: ErrorClass.KEY_INVALID,
    since: now,
    caller: '',
    held: true,
    onWord: false,
    refusals: 0,
    unanswered: 0,
    unansweredClass: ErrorClass.UNSPECIFIED,
    deadline: now + FIRST_CHECK_MS,
    heapIndex: -1,
  };
}

/**
 * Keys of a pool that one caller's word may hold at once: so many, or half of them if those are more. One who lies about all takes no
 * larger pool out of use; what is said of the others is verified first.
 */
const MOST_ON_WORD = 10;

function mostOnWord({ keyCount }: Pool): number {
  return Math.max(MOST_ON_WORD, Math.floor(keyCount / 2));
}

/** Counts a key that is held before Gemini was asked. */
export function takeOnWord(suspicion: Suspicion): void {
  const { key, caller, held, refusals } = suspicion;
  if (!held || refusals > 0 || caller === '') return;
  suspicion.onWord = true;
  key.pool.onWord.set(caller, (key.pool.onWord.get(caller) ?? 0) + 1);
}

/** Counts it no more: Gemini was asked, or nobody suspects the key, or it is gone. */
export function leaveOnWord(suspicion: Suspicion): void {
  if (!suspicion.onWord) return;
  suspicion.onWord = false;
  const { onWord } = suspicion.key.pool;
  const left = (onWord.get(suspicion.caller) ?? 1) - 1;
  if (left > 0) onWord.set(suspicion.caller, left);
  else onWord.delete(suspicion.caller);
}

/** What Gemini said when it was asked about a key. */
export type Verdict = 'takes' | 'refuses' | 'silent';

export function verdictOf(finding: Finding | undefined): Verdict {
  switch (finding?.errorClass) {
    case ErrorClass.KEY_INVALID:
    case ErrorClass.KEY_SUSPENDED:
      return 'refuses';
    case undefined:
    // Who a quota, a bill or a permission is held against was recognised.
    case ErrorClass.RATE_LIMITED_MINUTE:
    case ErrorClass.RATE_LIMITED_TOKENS:
    case ErrorClass.SPEND_RATE_LIMITED:
    case ErrorClass.QUOTA_EXHAUSTED_DAY:
    case ErrorClass.QUOTA_ZERO:
    case ErrorClass.BILLING:
    case ErrorClass.PERMISSION:
    case ErrorClass.CONTENT_BLOCKED:
      return 'takes';
    default:
      return 'silent';
  }
}

/** Takes the answer to a verification in. `finding`: undefined when Gemini took the key. Nothing happens if nobody suspects it any more. */
export function verified(
  engine: Engine,
  key: Key,
  suspicion: Suspicion,
  finding: Finding | undefined,
  now: number,
): void {
  if (key.suspicion !== suspicion || engine.keys.get(key.ordinal) !== key) return;
  const verdict = verdictOf(finding);
  if (verdict !== 'silent') key.lastVerified = now;
  if (verdict === 'silent') {
    const interval = Math.min(LONGEST_UNANSWERED_MS, MINUTE_MS * 2 ** Math.min(suspicion.unanswered, 10));
    suspicion.unanswered++;
    suspicion.unansweredClass = finding!.errorClass;
    engine.checks.set(suspicion, now + interval);
    engine.changes.status.add(key);
    engine.changes.announce(key, key.state);
    return;
  }
  suspicion.unanswered = 0;
  if (verdict === 'takes') {
    clear(engine, key, suspicion, finding === undefined, now);
    restAsListed(engine, key, finding, now);
    return;
  }
  if (finding!.project !== undefined) learnProject(engine, key, finding!.project, '', now);
  suspicion.refusals++;
  // Now it is Gemini's word.
  leaveOnWord(suspicion);
  const isSuspended = finding!.errorClass === ErrorClass.KEY_SUSPENDED;
  if (isSuspended || suspicion.refusals >= REFUSALS_TO_DISABLE) {
    if (suspicion.caller !== '') countCaller(engine, suspicion.caller, 'confirmed');
    disable(engine, key, finding!.errorClass, now);
    return;
  }
  suspicion.held = true;
  engine.checks.set(suspicion, now + RECHECK_MS);
  engine.stateChanged(key, now);
}

/**
 * Takes the result of an administrator's test in, whether anyone suspected the key or not: it decides at once. `began`: when Gemini
 * was asked; what began to rest after that was not tested.
 */
export function tested(
  engine: Engine,
  key: Key,
  model: string,
  finding: Finding | undefined,
  began: number,
  now: number,
): void {
  if (engine.keys.get(key.ordinal) !== key) return;
  const verdict = verdictOf(finding);
  if (verdict === 'silent') return;
  key.lastVerified = now;
  engine.changes.status.add(key);
  if (finding?.project !== undefined) learnProject(engine, key, finding.project, '', now);
  if (verdict === 'refuses') {
    engine.setHealth(key, failed(key.health, finding!.errorClass, false, now), now);
    disable(engine, key, finding!.errorClass, now);
    return;
  }
  if (key.suspicion !== undefined || key.disabledFor !== ErrorClass.UNSPECIFIED) {
    drop(engine, key);
    key.disabledFor = ErrorClass.UNSPECIFIED;
    engine.stateChanged(key, now);
  }
  if (model === '') restAsListed(engine, key, finding, now);
  else if (finding !== undefined) restAsFound(engine, key, model, finding, began, now);
  else for (const resting of [key, key.project]) disprove(engine, resting, model, began, now);
}

/** What a refusal to list models rests: key or project as a whole, and no model, since none was called. */
function restAsListed(engine: Engine, key: Key, finding: Finding | undefined, now: number): void {
  if (finding !== undefined && finding.scope !== 'project-model') restAsFound(engine, key, '', finding, now, now);
}

export function disable(engine: Engine, key: Key, cause: ErrorClass, now: number): void {
  drop(engine, key);
  key.disabledFor = cause;
  engine.stateChanged(key, now);
}

/** An administrator brings a key back: nothing is suspected of it, nor known of its project by errors alone. */
export function pardon(engine: Engine, key: Key, now: number): void {
  drop(engine, key);
  key.disabledFor = ErrorClass.UNSPECIFIED;
  forgetProject(engine, key, now);
  engine.stateChanged(key, now);
}

/** Forgets what is suspected; the key's state is the caller's affair. */
export function drop(engine: Engine, key: Key): void {
  if (key.suspicion === undefined) return;
  leaveOnWord(key.suspicion);
  engine.checks.delete(key.suspicion);
  key.suspicion = undefined;
}

/** `isProven`: Gemini took the key, rather than that it only knew whose it is. */
function clear(engine: Engine, key: Key, suspicion: Suspicion, isProven: boolean, now: number): void {
  drop(engine, key);
  if (isProven && suspicion.caller !== '') refuted(engine, suspicion.caller, now);
  const wasSuspended = suspicion.cause === ErrorClass.KEY_SUSPENDED;
  if (wasSuspended && suspicion.held) {
    rest(
      engine,
      key,
      { model: '', cause: suspicion.cause, cooldown: CLEARED_OF_SUSPENSION, finding: undefined, began: now },
      now,
    );
  }
  engine.stateChanged(key, now);
}
