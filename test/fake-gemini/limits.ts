import type { Limits } from './behaviour.ts';
import { nextPacificMidnight } from './pacific-midnight.ts';

/** A limit that a request would pass. */
export interface Violation {
  kind: keyof Limits;
  limit: number;
  /** Milliseconds until the window that is full ends. */
  delayMs: number;
}

interface Window {
  end: number;
  requests: number;
  tokens: number;
}

interface Use {
  minute: Window;
  day: Window;
}

const MINUTE_MS = 60_000;

/** What each (project, model) has used of its minute and its day. */
export class QuotaBook {
  readonly #now: () => number;
  readonly #uses = new Map<string, Map<string, Use>>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Counts the request if no limit stands against it; else says which do and counts nothing. The tightest of several limits holds. */
  admit(project: string, model: string, tokens: number, limits: readonly Limits[]): Violation[] {
    const now = this.#now();
    const { minute, day } = this.#useAt(project, model, now);
    const violations: Violation[] = [];
    const check = (kind: keyof Limits, wanted: number, end: number): void => {
      const limit = Math.min(...limits.map((each) => each[kind] ?? Infinity));
      if (wanted > limit) violations.push({ kind, limit, delayMs: end - now });
    };
    check('minuteLimit', minute.requests + 1, minute.end);
    check('dayLimit', day.requests + 1, day.end);
    check('minuteTokenLimit', minute.tokens + tokens, minute.end);
    check('dayTokenLimit', day.tokens + tokens, day.end);
    if (violations.length === 0) {
      for (const window of [minute, day]) {
        window.requests += 1;
        window.tokens += tokens;
      }
    }
    return violations;
  }

  reset(): void {
    this.#uses.clear();
  }

  #useAt(project: string, model: string, now: number): Use {
    const models = this.#uses.get(project) ?? new Map<string, Use>();
    this.#uses.set(project, models);
    const use = models.get(model) ?? { minute: opened(now + MINUTE_MS), day: opened(nextPacificMidnight(now)) };
    models.set(model, use);
    // An empty minute has not begun: it opens with the request that it admits.
    if (now >= use.minute.end || use.minute.requests === 0) use.minute = opened(now + MINUTE_MS);
    if (now >= use.day.end) use.day = opened(nextPacificMidnight(now));
    return use;
  }
}

function opened(end: number): Window {
  return { end, requests: 0, tokens: 0 };
}
