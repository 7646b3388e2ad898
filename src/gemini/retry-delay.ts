import type { JsonObject } from './json.ts';

/** No limit of Gemini's is waited for longer than until its next daily reset; a longer delay is cut to this. */
export const LONGEST_RETRY_DELAY_MS = 24 * 60 * 60 * 1000;

/** What came of the delays that an error states. */
export interface StatedDelay {
  /** A whole number from 0 to LONGEST_RETRY_DELAY_MS; undefined: none stated that makes sense. */
  ms: number | undefined;
  /** One was cut because it was too long, or dropped because it was negative or no number. */
  distrusted: boolean;
}

/** The first of the delays that makes sense. Undefined ones were not stated; NaN stands for one that is no number. */
export function firstPlausible(delays: readonly (number | undefined)[]): StatedDelay {
  let distrusted = false;
  for (const ms of delays) {
    if (ms === undefined) continue;
    // Rounded up, so that nobody comes back too early.
    if (ms >= 0) {
      const cut = ms > LONGEST_RETRY_DELAY_MS;
      return { ms: cut ? LONGEST_RETRY_DELAY_MS : Math.ceil(Math.abs(ms)), distrusted: distrusted || cut };
    }
    distrusted = true;
  }
  return { ms: undefined, distrusted };
}

const UNIT_MS: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 1e-3,
  µs: 1e-3,
  ns: 1e-6,
};
const PART = /(\d{1,64}(?:\.\d{1,64})?)(h|ms|m|s|us|µs|ns)/y;

/**
 * Milliseconds of a delay as Google writes it: "34s", "34.429760048s", "750ms", "1m2.5s", "16h30m", "0s". NaN: none of these,
 * such as a negative one.
 */
export function parseDelay(text: string): number {
  if (text === '' || text.length > 128) return Number.NaN;
  let ms = 0;
  let end = 0;
  while (end < text.length) {
    PART.lastIndex = end;
    const part = PART.exec(text);
    if (part === null) return Number.NaN;
    ms += Number(part[1]) * UNIT_MS[part[2]!]!;
    end = PART.lastIndex;
  }
  return ms;
}

/** Milliseconds of a duration given as seconds and nanoseconds, each a number, a bigint or a number in a string; else NaN. */
export function delayOf(duration: { seconds?: unknown; nanos?: unknown }): number {
  return toNumber(duration.seconds) * 1000 + toNumber(duration.nanos) / 1e6;
}

/** Milliseconds of what a RetryInfo detail says, whichever of the two JSON forms it has; undefined: it says nothing. */
export function retryInfoDelay(detail: JsonObject): number | undefined {
  const delay = detail.retryDelay ?? detail.retry_delay;
  if (delay === undefined || delay === null) return undefined;
  if (typeof delay === 'string') return parseDelay(delay);
  return typeof delay === 'object' ? delayOf(delay) : Number.NaN;
}

const IN_TEXT = 'Please retry in ';

/** The delay in a quota message, "Please retry in 34.429760048s.", which RetryInfo repeats rounded. Undefined: it says none. */
export function delayInText(message: string): number | undefined {
  const at = message.lastIndexOf(IN_TEXT);
  if (at === -1) return undefined;
  const rest = message.slice(at + IN_TEXT.length, at + IN_TEXT.length + 129);
  const word = rest.split(/\s/, 1)[0]!;
  if (!/^[-\d]/.test(word)) return undefined;
  return parseDelay(word.endsWith('.') ? word.slice(0, -1) : word);
}

function toNumber(value: unknown): number {
  if (value === undefined || value === '') return 0;
  return typeof value === 'number' || typeof value === 'bigint' || typeof value === 'string'
    ? Number(value)
    : Number.NaN;
}
