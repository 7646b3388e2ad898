import type { DayCounts } from './day-window.ts';

/** More than any request has. Sums of clients' numbers stay exact, and one absurd report does not spoil them for later. */
const MOST_TOKENS = 1e9;

/** A request that was counted as about to start. Plain data. */
export interface Booking {
  /** On the engine's clock. */
  readonly time: number;
  /** The midnight that ends the Pacific day it is counted on, in wall-clock milliseconds since 1970. */
  readonly dayEnd: number;
  readonly tokens: number;
}

/** How a booking turned out. */
export interface Settlement {
  /** Input tokens of all calls together; undefined: unknown, the estimate stays. A day's tokens are input tokens as well. */
  readonly tokens: number | undefined;
  /** False: refused at the door or never made, and comes back whole. */
  readonly counted: boolean;
  /** All of its calls succeeded. */
  readonly succeeded: boolean;
  /** When it reached Gemini at the latest, on the engine's clock; undefined: when it was booked. */
  readonly arrivedAt?: number | undefined;
  /** Calls that were made on the one booking; 1 when absent. */
  readonly calls?: number | undefined;
}

/** By what the counts differ from what was booked. */
export function changeOf(booking: Booking, outcome: Settlement): DayCounts {
  if (!outcome.counted) return { requests: -1, tokens: -booking.tokens, succeededRequests: 0, succeededTokens: 0 };
  const calls = outcome.calls ?? 1;
  const tokens = outcome.tokens === undefined ? booking.tokens : wholeTokens(outcome.tokens);
  return {
    requests: calls - 1,
    tokens: tokens - booking.tokens,
    succeededRequests: outcome.succeeded ? calls : 0,
    succeededTokens: outcome.succeeded ? tokens : 0,
  };
}

/** NaN and what is less than 1 are 0. */
export function wholeTokens(tokens: number): number {
  return tokens >= 1 ? Math.min(Math.floor(tokens), MOST_TOKENS) : 0;
}
