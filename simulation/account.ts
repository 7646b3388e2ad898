import type { Failure } from './gemini.ts';
import type { Grant, Scheduler } from './scheduler.ts';
import { isDead, KEYS, MINUTE_MS, MODELS, PROJECTS, type World } from './world.ts';

export const BIN_MS = 10 * MINUTE_MS;
/** Waits are kept in steps of this, up to the longest told apart. */
const WAIT_STEP_MS = 10;
const LONGEST_WAIT_MS = 200_000;

/** What one scheduler made of the day. */
export interface Report {
  name: string;
  calls: number;
  /** They got an answer of Gemini. */
  answered: number;
  /** Their last attempt failed. */
  failed: number;
  /** No key came in time. */
  unserved: number;
  attempts: number;
  /** 429s, and of these: the first that tells of a limit of a (project, model), and those of half-open probes. */
  tooMany: number;
  lessons: number;
  probes: number;
  /** 429s that are neither, by call. */
  tooManyShare: number;
  serverErrors: number;
  overloaded: number;
  /** Attempts with keys that were dead or suspended; of these, those granted when the scheduler had verified it. */
  deadPicks: number;
  verifiedDeadPicks: number;
  healthyKeysDisabled: number;
  deadKeysKnown: number;
  /** Milliseconds from a call's arrival to the attempt that was answered. */
  meanWaitMs: number;
  p99WaitMs: number;
  /** For each ten minutes: calls answered, by their arrival, and 429s. */
  answeredByTime: number[];
  tooManyByTime: number[];
}

/** Counts while the day passes. */
export class Account {
  readonly #world: World;
  readonly #taught = { minute: new Uint8Array(PROJECTS * MODELS), day: new Uint8Array(PROJECTS * MODELS) };
  readonly #waits = new Uint32Array(LONGEST_WAIT_MS / WAIT_STEP_MS + 1);
  #waitedMs = 0;
  readonly #counts;

  constructor(world: World) {
    this.#world = world;
    const bins = (): number[] => new Array<number>((world.end - world.start) / BIN_MS).fill(0);
    this.#counts = {
      answered: 0,
      failed: 0,
      unserved: 0,
      attempts: 0,
      tooMany: 0,
      lessons: 0,
      probes: 0,
      serverErrors: 0,
      overloaded: 0,
      deadPicks: 0,
      verifiedDeadPicks: 0,
      answeredByTime: bins(),
      tooManyByTime: bins(),
    };
  }

  /** Calls that came out one way or another. */
  get ended(): number {
    return this.#counts.answered + this.#counts.failed + this.#counts.unserved;
  }

  granted(grant: Grant, scheduler: Scheduler, now: number): void {
    this.#counts.attempts++;
    if (!isDead(this.#world, this.#world.keys[grant.key]!, now)) return;
    this.#counts.deadPicks++;
    if (scheduler.knowsDead(grant.key)) this.#counts.verifiedDeadPicks++;
  }

  /** When Gemini refuses, or fails. */
  met(failure: Failure, grant: Grant, now: number): void {
    if (failure.kind === 'server-error') this.#counts.serverErrors++;
    if (failure.kind === 'overloaded') this.#counts.overloaded++;
    if (failure.httpStatus !== 429) return;
    this.#counts.tooMany++;
    this.#counts.tooManyByTime[this.#bin(now)]!++;
    if (this.#isLesson(failure)) this.#counts.lessons++;
    else if (grant.probe) this.#counts.probes++;
  }

  answered(arrived: number, sent: number): void {
    this.#counts.answered++;
    this.#counts.answeredByTime[this.#bin(arrived)]!++;
    this.#waitedMs += sent - arrived;
    this.#waits[Math.floor(Math.min(LONGEST_WAIT_MS, sent - arrived) / WAIT_STEP_MS)]!++;
  }

  failed(): void {
    this.#counts.failed++;
  }

  unserved(): void {
    this.#counts.unserved++;
  }

  report(name: string, calls: number, scheduler: Scheduler): Report {
    const { answered, tooMany, lessons, probes } = this.#counts;
    const keys = Array.from({ length: KEYS }, (_, key) => key);
    const isDeadAtEnd = (key: number): boolean => isDead(this.#world, this.#world.keys[key]!, this.#world.end);
    return {
      name,
      calls,
      ...this.#counts,
      tooManyShare: (tooMany - lessons - probes) / calls,
      healthyKeysDisabled: keys.filter((key) => scheduler.isDisabled(key) && !isDeadAtEnd(key)).length,
      deadKeysKnown: keys.filter((key) => scheduler.knowsDead(key) && isDeadAtEnd(key)).length,
      meanWaitMs: answered === 0 ? 0 : this.#waitedMs / answered,
      p99WaitMs: this.#waitOf(0.99),
    };
  }

  /** One that breaks two limits teaches both. */
  #isLesson({ pair, breaksMinute, breaksDay }: Failure): boolean {
    const { minute, day } = this.#taught;
    const teaches = (breaksMinute && minute[pair] === 0) || (breaksDay && day[pair] === 0);
    if (breaksMinute) minute[pair] = 1;
    if (breaksDay) day[pair] = 1;
    return teaches;
  }

  /** The wait that this share of the answered calls did not exceed, rounded up to a step. */
  #waitOf(share: number): number {
    let left = share * this.#counts.answered;
    const step = this.#waits.findIndex((calls) => {
      left -= calls;
      return left <= 0;
    });
    return this.#waits[step] === 0 ? 0 : (step + 1) * WAIT_STEP_MS;
  }

  #bin(time: number): number {
    return Math.min(this.#counts.answeredByTime.length - 1, Math.floor((time - this.#world.start) / BIN_MS));
  }
}
