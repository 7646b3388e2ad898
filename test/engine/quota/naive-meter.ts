import type { Settlement } from '../../../src/engine/quota/booking.ts';
import { type Lesson, LIMIT_NAMES, type Limits } from '../../../src/engine/quota/limits.ts';
import type { Moment } from '../../../src/engine/quota/moment.ts';
import type { LimitName } from '../../../src/gemini/finding.ts';
import { naiveMidnight } from './pacific-rules.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const LESSON = 24 * HOUR;
const PEAK = 24 * HOUR;

/** A day that was counted on: its midnight, and when that was to be on the engine's clock. */
interface Day {
  midnight: number;
  planned: number;
}

interface Event {
  time: number;
  day: Day;
  tokens: number;
  outcome: Settlement | undefined;
}

interface Counts {
  requests: number;
  tokens: number;
  succeededRequests: number;
  succeededTokens: number;
}

/** A Meter as a list of all that ever happened, for wall clocks that are moved by whole seconds and up to two hours. */
export class NaiveMeter {
  setLimits: Limits = {};
  defaults: Limits = {};
  readonly learned: Partial<Record<LimitName, Lesson>> = {};
  readonly events: Event[] = [];
  /** What had succeeded in some 60 s when the first of it left, oldest first. */
  readonly #past: { left: number; requests: number; tokens: number }[] = [];
  #now = -Infinity;
  #day: Day | undefined;

  /** Nothing happened until now. To be called before anything happens at another time. */
  elapse(at: Moment): void {
    const leave = this.events.map(({ time }) => time + MINUTE).filter((time) => time > this.#now && time <= at.now);
    if (leave.length > 0) {
      const { succeededRequests, succeededTokens } = this.#counts('requestsPerMinute', { ...at, now: this.#now });
      this.#past.push({ left: Math.min(...leave), requests: succeededRequests, tokens: succeededTokens });
    }
    this.#now = at.now;
  }

  book(tokens: number, at: Moment): Event {
    const wall = at.now + at.wallOffset;
    if (this.#day === undefined || at.now >= this.#ends(this.#day, at)) {
      const midnight = naiveMidnight(wall);
      this.#day = { midnight, planned: midnight - at.wallOffset };
    }
    const event = { time: at.now, day: this.#day, tokens, outcome: undefined };
    this.events.push(event);
    return event;
  }

  learn(name: LimitName, value: number, at: Moment): boolean {
    if (this.refutes(name, value, at)) return false;
    const wall = at.now + at.wallOffset;
    const older = this.learned[name];
    let taught = wall;
    if (!name.endsWith('Day')) {
      const isKept = older !== undefined && Math.abs(wall - older.at) < LESSON;
      if (older === undefined) taught = wall - 23 * HOUR;
      else if (isKept && older.at + LESSON - wall <= HOUR) taught = older.at;
    }
    this.learned[name] = { value, at: taught };
    return true;
  }

  /** Whether more succeeded than could have if that were the limit. */
  refutes(name: LimitName, value: number, at: Moment): boolean {
    const { succeededRequests, succeededTokens } = this.#counts(name, at);
    const isOfRequests = name.startsWith('requests');
    const succeeded = isOfRequests ? succeededRequests : succeededTokens;
    if (value === 0 || name.endsWith('Day')) return value === 0 || succeeded > value;
    let peak = { most: 0, left: -Infinity };
    for (const { left, requests, tokens } of this.#past) {
      const most = isOfRequests ? requests : tokens;
      if (most >= peak.most || left - peak.left >= PEAK) peak = { most, left };
    }
    return Math.max(succeeded, at.now - peak.left < PEAK ? peak.most : 0) > 2 * value;
  }

  limit(name: LimitName, at: Moment): number {
    const given = Object.keys(this.setLimits).length > 0 ? this.setLimits : this.defaults;
    const lesson = this.learned[name];
    const isKept = lesson !== undefined && Math.abs(at.now + at.wallOffset - lesson.at) < LESSON;
    return Math.min(given[name] ?? Infinity, isKept ? lesson.value : Infinity);
  }

  used(name: LimitName, at: Moment): number {
    const { requests, tokens } = this.#counts(name, at);
    return name.startsWith('requests') ? requests : tokens;
  }

  /** The first of all moments at which anything changes, at which it fits. */
  readyAt(tokens: number, at: Moment): number {
    if (LIMIT_NAMES.some((name) => this.limit(name, at) === 0)) return Infinity;
    const leave = this.events.map(({ time }) => time + MINUTE);
    const end = this.#day === undefined ? [] : [this.#ends(this.#day, at)];
    const forgotten = Object.values(this.learned).map((lesson) => lesson.at + LESSON - at.wallOffset);
    const moments = [...leave, ...end, ...forgotten].filter((time) => time > at.now).sort((a, b) => a - b);
    const fits = (now: number): boolean =>
      LIMIT_NAMES.every((name) => {
        const limit = this.limit(name, { ...at, now });
        const wanted = name.startsWith('requests') ? 1 : Math.min(Math.max(1, tokens), limit);
        return this.used(name, { ...at, now }) + wanted <= limit;
      });
    return fits(at.now) ? 0 : moments.find(fits)!;
  }

  #ends(day: Day, at: Moment): number {
    return Math.max(day.planned, day.midnight - at.wallOffset);
  }

  #counts(name: LimitName, at: Moment): Counts {
    const isDaily = name.endsWith('Day');
    const counts = { requests: 0, tokens: 0, succeededRequests: 0, succeededTokens: 0 };
    for (const { time, day, tokens, outcome } of this.events) {
      const isIn = isDaily ? day === this.#day && at.now < this.#ends(day, at) : time > at.now - MINUTE;
      if (!isIn || outcome?.counted === false) continue;
      const calls = outcome?.calls ?? 1;
      const taken = outcome?.tokens ?? tokens;
      counts.requests += calls;
      counts.tokens += taken;
      counts.succeededRequests += outcome?.succeeded ? calls : 0;
      counts.succeededTokens += outcome?.succeeded ? taken : 0;
    }
    return counts;
  }
}
