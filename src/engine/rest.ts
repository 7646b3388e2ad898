import type { ErrorClass } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Resting } from './key.ts';
import { type Lease, LeaseState } from './lease.ts';
import type { Moment } from './quota/moment.ts';
import { type DayEnd, engineEnd } from './quota/pacific-day.ts';

/**
 * A cooldown of a key, of a project, or (a breaker) of a model. Times are of the engine's clock.
 *
 *   resting    -> half-open    at probeAt: one call at a time may try whether it is over
 *   resting    -> ended        at until; `afterEnd` says whether that is all, or half-open too
 *   half-open  -> resting      while a lease tries it (trial), and when that fails
 *   any        -> gone         by a call that worked and began after `since`, by an administrator, or, once ended, at forgetAt
 *
 * An ended one stays for a while, since what comes back right after has struck again and rests longer.
 */
export interface Rest {
  /** "": every model. */
  readonly model: string;
  readonly cause: ErrorClass;
  /** What began before says nothing about it. */
  readonly since: number;
  readonly until: number;
  /** How often it came back: 0 the first time. */
  readonly strikes: number;
  /** Infinity: not before its end. */
  readonly probeAt: number;
  readonly afterEnd: 'over' | 'half-open';
  /** When an ended one is forgotten; Infinity where only a call decides. */
  readonly forgetAt: number;
  /** Of a rest until midnight Pacific: that midnight, since a wall clock may be set meanwhile. */
  readonly dayEnd: DayEnd | undefined;
  /** The lease that tries it. */
  trial: Lease | undefined;
}

/** Rests that one key or project may have; clients choose model names. */
const MAX_RESTS = 64;

/** With the rest in place of the one for its model; beyond the bound the one that ends first goes. */
export function withRest(rests: readonly Rest[], rest: Rest): readonly Rest[] {
  const others = rests.filter((each) => each.model !== rest.model);
  if (others.length >= MAX_RESTS) {
    const first = others.reduce((a, b) => (b.until < a.until ? b : a));
    return [...others.filter((each) => each !== first), rest];
  }
  return [...others, rest];
}

/** Two projects turned out to be one: of two rests for a model the longer stays. */
export function mergedRests(some: readonly Rest[], others: readonly Rest[]): readonly Rest[] {
  let rests = some;
  for (const rest of others) {
    const old = rests.find((each) => each.model === rest.model);
    if (old === undefined || old.until < rest.until) rests = withRest(rests, rest);
  }
  return rests;
}

export function restsAfter(rests: readonly Rest[], now: number): readonly Rest[] {
  const isGone = (rest: Rest): boolean => rest.until <= now && rest.forgetAt <= now;
  return rests.some(isGone) ? rests.filter((rest) => !isGone(rest)) : rests;
}

/** A cooldown that a lease may be trying has become another object, or another's. */
export function moveTrial(from: Rest, into: Rest, resting: Resting): void {
  for (const trial of from.trial?.trials ?? []) if (trial.rest === from) Object.assign(trial, { rest: into, resting });
}

/** Until when this keeps calls off; 0: it does not. While a lease tries it, until that lease ends at the latest. */
export function blocksUntil(rest: Rest, now: number): number {
  if (!isHalfOpen(rest, now)) return rest.until <= now ? 0 : Math.min(rest.until, rest.probeAt);
  const { trial } = rest;
  if (trial?.state !== LeaseState.ACTIVE) return 0;
  // A trial outlives no rest that ends by itself.
  return Math.max(now, rest.afterEnd === 'half-open' ? trial.expireTime : Math.min(trial.expireTime, rest.until));
}

/** Whether one call may try it now. */
export function isHalfOpen(rest: Rest, now: number): boolean {
  return rest.until <= now ? rest.afterEnd === 'half-open' : rest.probeAt <= now;
}

/** Until when these forbid the model; 0 when they do not. "" asks for every model at once. */
export function restsUntil(rests: readonly Rest[], model: string, now: number): number {
  let until = 0;
  for (const rest of rests) {
    if (rest.model === '' || rest.model === model) until = Math.max(until, blocksUntil(rest, now));
  }
  return until;
}

/** Whether a model may be called sooner by the second than by the first. */
export function cutShort(before: readonly Rest[], after: readonly Rest[], now: number): boolean {
  return before.some(({ model }) => restsUntil(after, model, now) < restsUntil(before, model, now));
}

/** When the next of them changes by itself; Infinity: none does. */
export function nextChange(rests: readonly Rest[], now: number): number {
  let next = Infinity;
  for (const { probeAt, until, forgetAt } of rests) {
    for (const time of [probeAt, until, forgetAt]) if (time > now && time < next) next = time;
  }
  return next;
}

/** With the ends of days where they are by the wall clock as it is set now; the same array if nothing moved. */
export function restsAt(rests: readonly Rest[], at: Moment): readonly Rest[] {
  let moved = false;
  const fresh = rests.map((rest) => {
    if (rest.dayEnd === undefined || rest.until <= at.now) return rest;
    const until = engineEnd(rest.dayEnd, at);
    if (until === rest.until) return rest;
    moved = true;
    return { ...rest, until };
  });
  return moved ? fresh : rests;
}
