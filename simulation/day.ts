import { Account, type Report } from './account.ts';
import { Agenda } from './agenda.ts';
import { type Failure, Gemini } from './gemini.ts';
import type { Load } from './load.ts';
import type { Advice, Call, Callers, Grant, Scheduler } from './scheduler.ts';
import { latencyMs, travelOf } from './travel.ts';
import type { World } from './world.ts';

const MOST_ATTEMPTS = 3;
/** How long one acquire waits for a key. */
const MAX_WAIT_MS = 30_000;
const NONE: readonly number[] = [];

/** Makes the scheduler that is tried: it tells callers what they get, and may ask Gemini about a key. */
export type SchedulerMaker = (callers: Callers, gemini: Gemini) => Scheduler;

/** A call on its way. */
interface Journey extends Call {
  readonly arrived: number;
  excludedKeys: readonly number[];
  excludedProjects: readonly number[];
  attempts: number;
  /** Of the attempt that is under way. */
  grant: Grant | undefined;
  sent: number;
  luck: number;
  failure: Failure | undefined;
}

/** Lets the day pass, from one event to the next, until the last call has ended. */
export function simulate(name: string, world: World, load: Load, make: SchedulerMaker): Report {
  const gemini = new Gemini(world);
  const account = new Account(world);
  const reachingGemini = new Agenda<Journey>();
  const comingBack = new Agenda<Journey>();
  const tryingAgain = new Agenda<Journey>();
  const scheduler = make(
    {
      granted: (call, grant, now) => {
        const journey = call as Journey;
        const travel = travelOf(world.seed, journey.index, journey.attempts);
        journey.grant = grant;
        journey.sent = now;
        journey.luck = travel.luck;
        account.granted(grant, scheduler, now);
        reachingGemini.add(now + travel.transitMs, journey);
      },
      refused: () => account.unserved(),
    },
    gemini,
  );

  const reach = (journey: Journey, now: number): void => {
    const { index, model, attempts } = journey;
    const grant = journey.grant!;
    journey.failure = gemini.generate(grant.key, model, journey.luck, now);
    if (journey.failure !== undefined) account.met(journey.failure, grant, now);
    const refused = journey.failure !== undefined && journey.failure.kind !== 'server-error';
    comingBack.add(now + latencyMs(world.seed, index, attempts, refused), journey);
  };

  const comeBack = (journey: Journey, now: number): void => {
    const { failure } = journey;
    const grant = journey.grant!;
    const advice = scheduler.report(journey, grant, failure, now);
    journey.attempts++;
    if (failure === undefined) account.answered(journey.arrived, journey.sent);
    else if (!advice.retry || journey.attempts === MOST_ATTEMPTS) account.failed();
    else {
      obey(journey, advice, world);
      tryingAgain.add(now + advice.delayMs, journey);
    }
  };

  let arrivals = 0;
  let now = world.start;
  while (account.ended < load.count) {
    const arrival = arrivals < load.count ? load.times[arrivals]! : Infinity;
    const next = Math.min(arrival, reachingGemini.next, comingBack.next, tryingAgain.next, scheduler.nextDeadline);
    now = Math.max(now, next);
    scheduler.advance(now);
    if (comingBack.next <= now) comeBack(comingBack.take(), now);
    else if (reachingGemini.next <= now) reach(reachingGemini.take(), now);
    else if (tryingAgain.next <= now) scheduler.acquire(tryingAgain.take(), now + MAX_WAIT_MS, now);
    else if (arrival <= now) {
      const call = journeyOf(arrivals, load.models[arrivals]!, now);
      arrivals++;
      scheduler.acquire(call, now + MAX_WAIT_MS, now);
    }
  }
  return account.report(name, load.count, scheduler);
}

function journeyOf(index: number, model: number, now: number): Journey {
  return {
    index,
    model,
    arrived: now,
    excludedKeys: NONE,
    excludedProjects: NONE,
    attempts: 0,
    grant: undefined,
    sent: 0,
    luck: 0,
    failure: undefined,
  };
}

function obey(journey: Journey, advice: Advice, world: World): void {
  const { key } = journey.grant!;
  if (advice.excludeKey) journey.excludedKeys = [...journey.excludedKeys, key];
  if (advice.excludeProject) journey.excludedProjects = [...journey.excludedProjects, world.keys[key]!.project];
}
