import type { Finding } from '../gemini/finding.ts';
import type { ErrorClass } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { announceRests, setRests } from './cooldowns.ts';
import type { Engine } from './engine.ts';
import type { Key, Resting } from './key.ts';
import { type CooldownPolicy, cooldownMs, policyFor } from './policy.ts';
import { endAt, nextPacificMidnight } from './quota/pacific-day.ts';
import { type Rest, restsAfter, withRest } from './rest.ts';

/** Makes what was learned from a report not have been, as when it could not be stored. The latest is undone first. */
export type Undo = (at: number) => void;

/** Why something is to rest. */
export interface Cause {
  /** "": every model. */
  model: string;
  cause: ErrorClass;
  cooldown: CooldownPolicy;
  /** With the delay that Gemini stated; undefined: there is none. */
  finding: Pick<Finding, 'retryDelayMs' | 'delayDistrusted'> | undefined;
  /** When the call that failed began. */
  began: number;
}

const UNSTATED = { retryDelayMs: undefined, delayDistrusted: false };

/**
 * Puts something to rest. A longer cooldown replaces a shorter one and never the reverse. What failed again after it was allowed
 * again has struck once more and rests longer; calls that were under way when it began to rest have not. Returns the way to undo it.
 */
export function rest(engine: Engine, resting: Resting, why: Cause, now: number): Undo {
  const before = resting.rests;
  const old = before.find((each) => each.model === why.model);
  const added = restFor(engine, old, why, now);
  const after = withRest(before, added);
  // The one it takes the place of, and the one that had to go where there are too many.
  const gone = before.filter((each) => !after.includes(each));
  setRests(engine, resting, after, now);
  announceRests(engine, resting);
  return (at) => {
    if (added === old || !resting.rests.includes(added)) return;
    const others = resting.rests.filter((each) => each !== added);
    const back = gone.filter((each) => !others.some(({ model }) => model === each.model));
    setRests(engine, resting, restsAfter([...others, ...back], at), at);
  };
}

function restFor(engine: Engine, old: Rest | undefined, why: Cause, now: number): Rest {
  const { cooldown, began, cause, model } = why;
  const wasUnderWay = old !== undefined && began < old.since;
  // Others began while it rested, on a lease that was kept or without naming their model: they show nothing new either.
  const wasAllowed = old !== undefined && began >= Math.min(old.until, old.probeAt);
  const again = old !== undefined && old.cause === cause;
  const strikes = !again ? 0 : wasAllowed ? old.strikes + 1 : old.strikes;
  const ms = cooldownMs(cooldown, why.finding ?? UNSTATED, strikes);
  const dayEnd = cooldown.untilMidnight ? endOfDayOf(engine, began, now, cooldown.jitterMs) : undefined;
  const jitter = cooldown.untilMidnight ? 0 : engine.random() * (ms * cooldown.jitterShare + cooldown.jitterMs);
  // The day on which it was spent may be over: then it is a matter of moments.
  const until = dayEnd === undefined ? now + (cooldown.untilMidnight ? cooldown.least : ms) + jitter : dayEnd.engine;
  const probeAt = dayEnd !== undefined && now + ms < until ? now + ms : Infinity;
  const since = wasUnderWay ? old.since : now;
  if (old !== undefined && old.until > now && (old.until >= until || (again && dayEnd !== undefined))) {
    // It rests longer already. What tried it and failed says when to try again.
    if (!wasAllowed) return old;
    const next = Math.max(old.probeAt, probeAt === Infinity ? until : probeAt);
    return {
      ...old,
      since,
      strikes: again ? strikes : old.strikes,
      probeAt: next < old.until ? next : Infinity,
      trial: undefined,
    };
  }
  const forgetAt = cooldown.afterEnd === 'half-open' ? Infinity : until + cooldown.memoryMs;
  return {
    model,
    cause,
    since,
    until,
    strikes,
    probeAt,
    afterEnd: cooldown.afterEnd,
    forgetAt,
    dayEnd,
    trial: undefined,
  };
}

/** The Pacific midnight after a call began, with some jitter, so that not everything wakes at once; undefined: it is past. */
function endOfDayOf(engine: Engine, began: number, now: number, jitterMs: number): Rest['dayEnd'] {
  const at = engine.moment(now);
  const midnight = nextPacificMidnight(began + at.wallOffset);
  return midnight <= now + at.wallOffset ? undefined : endAt(midnight + engine.random() * jitterMs, at);
}

/** Rests what a finding names. `model`: "" where nobody said which was called. Returns the way to undo it. */
export function restAsFound(
  engine: Engine,
  key: Key,
  model: string,
  finding: Finding,
  began: number,
  now: number,
): Undo {
  const { rests, cooldown } = policyFor(finding);
  if (rests !== 'scope' || cooldown === undefined) return () => {};
  const resting = finding.scope === 'key' ? key : key.project;
  const ofModel = finding.scope === 'project-model' ? model || (finding.limits[0]?.model ?? '') : '';
  return rest(engine, resting, { model: ofModel, cause: finding.errorClass, cooldown, finding, began }, now);
}

/** A call that worked ends what it disproves: cooldowns that began before the call did. Returns the way to undo it. */
export function disprove(engine: Engine, resting: Resting, model: string, began: number, now: number): Undo {
  const before = resting.rests;
  const isDisproved = (each: Rest): boolean => (each.model === '' || each.model === model) && each.since <= began;
  if (!before.some(isDisproved)) return () => {};
  const gone = before.filter(isDisproved);
  setRests(
    engine,
    resting,
    before.filter((each) => !gone.includes(each)),
    now,
  );
  announceRests(engine, resting);
  return (at) => {
    const missing = gone.filter((each) => !resting.rests.some((other) => other.model === each.model));
    setRests(engine, resting, restsAfter([...resting.rests, ...missing], at), at);
  };
}
