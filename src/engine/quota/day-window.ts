import type { Moment } from './moment.ts';
import { type DayEnd, endAt, endOfDay, engineEnd } from './pacific-day.ts';

/** What is counted of a Pacific day. */
export interface DayCounts {
  readonly requests: number;
  readonly tokens: number;
  readonly succeededRequests: number;
  readonly succeededTokens: number;
}

const NOTHING: DayCounts = { requests: 0, tokens: 0, succeededRequests: 0, succeededTokens: 0 };

/**
 * Requests and tokens of one Pacific day. A day that is over counts nothing; the next begins with the next booking. Until then a
 * wall clock that is set back brings the day back, since it was not over after all.
 */
export class DayWindow {
  #end: DayEnd;
  #counts: DayCounts;

  constructor(end: DayEnd, counts: DayCounts = NOTHING) {
    this.#end = end;
    this.#counts = counts;
  }

  static beginning(at: Moment): DayWindow {
    return new DayWindow(endOfDay(at));
  }

  /** As stored: the midnight that ends it, in wall-clock milliseconds. Undefined when it is past: it is to take no memory. */
  static restored(midnight: number, counts: DayCounts, at: Moment): DayWindow | undefined {
    const end = endAt(midnight, at);
    return end.engine <= at.now ? undefined : new DayWindow(end, counts);
  }

  /** The midnight that ends it, in wall-clock milliseconds; it names the day. */
  get midnight(): number {
    return this.#end.wall;
  }

  /** When that is on the engine's clock. */
  endsAt(at: Moment): number {
    return engineEnd(this.#end, at);
  }

  counts(at: Moment): DayCounts {
    return at.now < this.endsAt(at) ? this.#counts : NOTHING;
  }

  book(requests: number, tokens: number, at: Moment): void {
    if (at.now >= this.endsAt(at)) {
      this.#end = endOfDay(at, this.#end);
      this.#counts = NOTHING;
    }
    this.#change(requests, tokens, 0, 0);
  }

  /** What was booked on the day of that midnight turned out otherwise. No effect when that is another day. */
  correct(midnight: number, delta: DayCounts): void {
    if (midnight !== this.#end.wall) return;
    this.#change(delta.requests, delta.tokens, delta.succeededRequests, delta.succeededTokens);
  }

  /** Takes in what the other counts too, and lasts as long as the longer of them. */
  merge(other: DayWindow, at: Moment): void {
    const { requests, tokens, succeededRequests, succeededTokens } = other.counts(at);
    this.#counts = this.counts(at);
    if (other.endsAt(at) > this.endsAt(at)) this.#end = other.#end;
    this.#change(requests, tokens, succeededRequests, succeededTokens);
  }

  #change(requests: number, tokens: number, succeededRequests: number, succeededTokens: number): void {
    const counts = this.#counts;
    this.#counts = {
      requests: Math.max(0, counts.requests + requests),
      tokens: Math.max(0, counts.tokens + tokens),
      succeededRequests: Math.max(0, counts.succeededRequests + succeededRequests),
      succeededTokens: Math.max(0, counts.succeededTokens + succeededTokens),
    };
  }
}
