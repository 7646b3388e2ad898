import type { LimitName } from '../../gemini/finding.ts';
import { type Booking, changeOf, type Settlement, wholeTokens } from './booking.ts';
import { type DayCounts, DayWindow } from './day-window.ts';
import {
  forgottenAt,
  isDaily,
  isEmpty,
  isRemembered,
  type Lesson,
  type Lessons,
  LIMIT_NAMES,
  type Limits,
  taughtOfMinute,
} from './limits.ts';
import type { MeterRow } from './meter-row.ts';
import type { Moment } from './moment.ts';
import { endOfDay } from './pacific-day.ts';
import { SlidingMinute } from './sliding-minute.ts';

/**
 * So many times a minute's limit may succeed within some 60 s, with nothing wrong: when Gemini's minutes are aligned to a clock, at
 * the end of one and the beginning of the next. Only more contradicts the limit.
 */
const MINUTE_SLACK = 2;
const NO_LIMITS: Limits = {};
const NO_LESSONS: Lessons = {};

/** What is known and used of one (project, model). Idle ones are small: 100,000 of them may exist. */
export class Meter {
  readonly model: string;
  /** The operator's, for this model. */
  setLimits: Limits = NO_LIMITS;
  /** The project's, for models without limits of their own: used where setLimits is empty as a whole. */
  defaults: Limits = NO_LIMITS;
  #learned: Lessons = NO_LESSONS;
  #minute: SlidingMinute | undefined;
  #day: DayWindow | undefined;

  constructor(model: string) {
    this.model = model;
  }

  /** What is stored. A minute counts whole at the time of its newest booking. */
  static restore(model: string, row: MeterRow, at: Moment): Meter {
    const meter = new Meter(model);
    const learned: Partial<Record<LimitName, Lesson>> = {};
    for (const name of LIMIT_NAMES) {
      const lesson = { value: row[`${name}Learned`], at: row[`${name}LearnedAt`] };
      if (lesson.value > 0 && isRemembered(lesson, at)) learned[name] = lesson;
    }
    if (Object.keys(learned).length > 0) meter.#learned = learned;
    if (row.minuteRequests > 0 || row.minuteTokens > 0) {
      // One in the future was written before the wall clock was set back.
      const time = Math.min(row.minuteTime - at.wallOffset, at.now);
      meter.#minute = new SlidingMinute();
      meter.#minute.book(row.minuteRequests, row.minuteTokens, time);
    }
    meter.#day = DayWindow.restored(
      row.dayEnd,
      {
        requests: row.dayRequests,
        tokens: row.dayTokens,
        succeededRequests: row.daySucceeded,
        succeededTokens: row.daySucceededTokens,
      },
      at,
    );
    return meter;
  }

  /** Whether there is any limit to keep, or a lesson that may be one. */
  get isLimited(): boolean {
    return this.#given() !== NO_LIMITS || this.#learned !== NO_LESSONS;
  }

  /** Lessons that were taught; some may be old enough to be forgotten. */
  get learned(): Lessons {
    return this.#learned;
  }

  /**
   * Takes in what a refusal stated. False, and ignored: what is no whole number of at least 1, or what more has succeeded than could
   * have if it were true: for a minute's limit in any 60 s of the last 24 h, of this run. It replaces what was learned before, and never
   * raises a limit that is set.
   *
   * While a minute's limit is kept nothing can refute it, so the first lesson about it is kept for FIRST_LESSON_MS only, however often
   * it is taught meanwhile. Only what is taught again after that is kept for LESSON_MS.
   */
  learn(name: LimitName, value: number, at: Moment): boolean {
    if (!Number.isSafeInteger(value) || value < 1) return false;
    if (this.#succeeded(name, at) > value * (isDaily(name) ? 1 : MINUTE_SLACK)) return false;
    const taught = isDaily(name) ? at.now + at.wallOffset : taughtOfMinute(this.#learned[name], at);
    this.#learned = { ...this.#learned, [name]: { value, at: taught } };
    return true;
  }

  /** A call worked on a day that was taken for spent: what was taught of its limit is not so. */
  doubtDay(): void {
    const { requestsPerDay: _, tokensPerDay: __, ...others } = this.#learned;
    this.#learned = Object.keys(others).length > 0 ? others : NO_LESSONS;
  }

  /** Takes lessons back: `lessons` is what was learned before them. */
  restoreLessons(lessons: Lessons): void {
    this.#learned = Object.keys(lessons).length === 0 ? NO_LESSONS : lessons;
  }

  /** The limit in force: of the set one, or the project's, and the learned one the smaller. */
  limit(name: LimitName, at: Moment): { value: number; origin: 'set' | 'learned' } | undefined {
    const set = this.#given()[name];
    const lesson = this.#learned[name];
    if (lesson !== undefined && isRemembered(lesson, at) && !(set !== undefined && set <= lesson.value)) {
      return { value: lesson.value, origin: 'learned' };
    }
    return set === undefined ? undefined : { value: set, origin: 'set' };
  }

  /**
   * When one more request may start that is expected to have so many input tokens, at least 1: 0 now, Infinity never (a limit of 0),
   * else the very moment on the engine's clock, if nothing else comes and the wall clock is not set. More tokens than a limit are
   * taken for fitting once no others are counted: only Gemini can say no. `doubtsDay`: lessons about the day are not believed.
   */
  readyAt(tokens: number, at: Moment, doubtsDay = false): number {
    if (!this.isLimited) return 0;
    const wanted = Math.max(1, wholeTokens(tokens));
    let ready = this.#roomAt(wanted, at, at, doubtsDay);
    // A lesson that is forgotten before there is room makes room.
    for (let known = at; ready > known.now && this.#learned !== NO_LESSONS; ) {
      const forgotten = this.#nextForgotten(known);
      if (forgotten >= ready) break;
      known = { now: forgotten, wallOffset: at.wallOffset };
      ready = Math.max(forgotten, this.#roomAt(wanted, at, known, doubtsDay));
    }
    return ready;
  }

  /** Whether a request of the smallest size may start. */
  isOpen(at: Moment): boolean {
    return this.readyAt(0, at) === 0;
  }

  /** Counts a request that is about to start. Nothing is checked: readyAt was asked before, or the request cannot be helped. */
  book(tokens: number, at: Moment): Booking {
    const booked = wholeTokens(tokens);
    this.#minute ??= new SlidingMinute();
    this.#minute.book(1, booked, at.now);
    this.#day ??= DayWindow.beginning(at);
    this.#day.book(1, booked, at);
    return { time: at.now, dayEnd: this.#day.midnight, tokens: booked };
  }

  /** Corrects what was booked. What has left its window meanwhile stays out of it. */
  settle(booking: Booking, outcome: Settlement, at: Moment): void {
    this.#apply(booking, outcome, 1, at);
  }

  /** Takes a settle with the same arguments back. What has left its window meanwhile stays out of it. */
  unsettle(booking: Booking, outcome: Settlement, at: Moment): void {
    this.#apply(booking, outcome, -1, at);
  }

  /** What counts against a limit now. */
  used(name: LimitName, at: Moment): number {
    if (name === 'requestsPerMinute') return this.#minute?.requests(at.now) ?? 0;
    if (name === 'inputTokensPerMinute') return this.#minute?.tokens(at.now) ?? 0;
    const counts = this.#day?.counts(at);
    return (name === 'requestsPerDay' ? counts?.requests : counts?.tokens) ?? 0;
  }

  /** When less may be used, on the engine's clock: the oldest of the minute leaves (now when there is none), or the day ends. */
  resetTime(name: LimitName, at: Moment): number {
    if (!isDaily(name)) return this.#minute?.oldestLeaves(at.now) ?? at.now;
    const end = this.#day?.endsAt(at) ?? 0;
    return end > at.now ? end : endOfDay(at).engine;
  }

  /** When something leaves a window that has a limit next, or such a limit is forgotten, which makes room; Infinity: nothing will. */
  nextRelease(at: Moment): number {
    let next = Infinity;
    for (const name of LIMIT_NAMES) {
      const limit = this.limit(name, at);
      if (limit === undefined || this.used(name, at) === 0) continue;
      next = Math.min(next, this.resetTime(name, at));
      if (limit.origin === 'learned') next = Math.min(next, forgottenAt(this.#learned[name]!, at));
    }
    return next;
  }

  /**
   * Two projects turned out to be one: what was used adds up, of each lesson the one holds that lasts longer, and the other's set
   * limits where this one has none. The other is not to be used any more; its bookings are settled here.
   */
  merge(other: Meter, at: Moment): void {
    if (isEmpty(this.setLimits)) this.setLimits = other.setLimits;
    const learned: Partial<Record<LimitName, Lesson>> = { ...this.#learned };
    for (const name of LIMIT_NAMES) {
      const theirs = other.#learned[name];
      if (theirs !== undefined && !(learned[name] !== undefined && learned[name].at >= theirs.at)) {
        learned[name] = theirs;
      }
    }
    if (Object.keys(learned).length > 0) this.#learned = learned;
    if (other.#minute !== undefined) {
      this.#minute ??= new SlidingMinute();
      this.#minute.merge(other.#minute, at.now);
    }
    if (this.#day === undefined) this.#day = other.#day;
    else if (other.#day !== undefined) this.#day.merge(other.#day, at);
  }

  /**
   * Nothing would be lost with it: no limits of its own, no lessons, nothing in the windows. Peaks are: without them a
   * false lesson is a first one, which lasts FIRST_LESSON_MS, and is not worth the room.
   */
  isIdle(at: Moment): boolean {
    return (
      isEmpty(this.setLimits) &&
      !LIMIT_NAMES.some((name) => this.used(name, at) > 0 || isRemembered(this.#learned[name], at))
    );
  }

  /** What is to be stored; set limits and defaults are stored elsewhere. */
  snapshot(at: Moment): MeterRow {
    const minuteRequests = this.used('requestsPerMinute', at);
    const minuteTokens = this.used('inputTokensPerMinute', at);
    const dayRequests = this.used('requestsPerDay', at);
    const dayTokens = this.used('tokensPerDay', at);
    const counts = this.#day?.counts(at);
    const newest = minuteRequests + minuteTokens > 0 ? this.#minute?.newest(at.now) : undefined;
    const lesson = (name: LimitName): Lesson | undefined =>
      isRemembered(this.#learned[name], at) ? this.#learned[name] : undefined;
    return {
      dayEnd: dayRequests + dayTokens > 0 ? this.#day!.midnight : 0,
      dayRequests,
      dayTokens,
      daySucceeded: counts?.succeededRequests ?? 0,
      daySucceededTokens: counts?.succeededTokens ?? 0,
      minuteTime: newest === undefined ? 0 : newest + at.wallOffset,
      minuteRequests,
      minuteTokens,
      requestsPerMinuteLearned: lesson('requestsPerMinute')?.value ?? 0,
      requestsPerMinuteLearnedAt: lesson('requestsPerMinute')?.at ?? 0,
      inputTokensPerMinuteLearned: lesson('inputTokensPerMinute')?.value ?? 0,
      inputTokensPerMinuteLearnedAt: lesson('inputTokensPerMinute')?.at ?? 0,
      requestsPerDayLearned: lesson('requestsPerDay')?.value ?? 0,
      requestsPerDayLearnedAt: lesson('requestsPerDay')?.at ?? 0,
      tokensPerDayLearned: lesson('tokensPerDay')?.value ?? 0,
      tokensPerDayLearnedAt: lesson('tokensPerDay')?.at ?? 0,
    };
  }

  #given(): Limits {
    return isEmpty(this.setLimits) ? (isEmpty(this.defaults) ? NO_LIMITS : this.defaults) : this.setLimits;
  }

  /** When there is room by what is booked until `at`, for what is known of limits at `known`: 0 at once, Infinity never. */
  #roomAt(wanted: number, at: Moment, known: Moment, doubtsDay: boolean): number {
    const given = this.#given();
    const ofDay = (name: LimitName): number =>
      doubtsDay ? (given[name] ?? Infinity) : this.#limitOf(name, given, known);
    const requestsPerDay = ofDay('requestsPerDay');
    const tokensPerDay = ofDay('tokensPerDay');
    if (requestsPerDay <= 0 || tokensPerDay <= 0) return Infinity;
    const limits = {
      requests: this.#limitOf('requestsPerMinute', given, known),
      tokens: this.#limitOf('inputTokensPerMinute', given, known),
    };
    if (limits.requests <= 0 || limits.tokens <= 0) return Infinity;
    const minute = this.#minute?.readyAt(limits, { requests: 1, tokens: wanted }, at.now) ?? 0;
    const day = this.#day;
    if (day === undefined) return minute;
    const counts = day.counts(at);
    const fits =
      counts.requests + 1 <= requestsPerDay && counts.tokens + Math.min(wanted, tokensPerDay) <= tokensPerDay;
    return fits ? minute : Math.max(minute, day.endsAt(at));
  }

  /** When the next of the lessons is forgotten that are remembered now, on the engine's clock; Infinity: there is none. */
  #nextForgotten(at: Moment): number {
    let next = Infinity;
    for (const name of LIMIT_NAMES) {
      const lesson = this.#learned[name];
      if (isRemembered(lesson, at)) next = Math.min(next, forgottenAt(lesson!, at));
    }
    return next;
  }

  #limitOf(name: LimitName, given: Limits, at: Moment): number {
    const set = given[name] ?? Infinity;
    const lesson = this.#learned[name];
    return lesson !== undefined && lesson.value < set && isRemembered(lesson, at) ? lesson.value : set;
  }

  /** The most that is known to have succeeded within the time of such a limit: today, or in some 60 s of late. */
  #succeeded(name: LimitName, at: Moment): number {
    if (name === 'requestsPerMinute') return this.#minute?.mostSucceededRequests(at.now) ?? 0;
    if (name === 'inputTokensPerMinute') return this.#minute?.mostSucceededTokens(at.now) ?? 0;
    const counts = this.#day?.counts(at);
    return (name === 'requestsPerDay' ? counts?.succeededRequests : counts?.succeededTokens) ?? 0;
  }

  #apply(booking: Booking, outcome: Settlement, sign: 1 | -1, at: Moment): void {
    const { requests, tokens, succeededRequests, succeededTokens } = changeOf(booking, outcome);
    const delta: DayCounts = {
      requests: sign * requests,
      tokens: sign * tokens,
      succeededRequests: sign * succeededRequests,
      succeededTokens: sign * succeededTokens,
    };
    if (sign > 0 && outcome.arrivedAt !== undefined) {
      this.#minute?.arrive(booking.time, outcome.arrivedAt, at.now);
    }
    this.#minute?.correct(booking.time, delta.requests, delta.tokens, at.now);
    this.#minute?.succeed(booking.time, delta.succeededRequests, delta.succeededTokens, at.now);
    this.#day?.correct(booking.dayEnd, delta);
  }
}
