import type { JsonObject } from './json.ts';

/** No limit of Gemini's is waited for longer than until its next daily reset; a longer delay is cut to this. */
export const LONGEST_RETRY_DELAY_MS = 24 * 60 * 60 * 1000;

const UNIT_MS: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 1e-3,
  µs: 1e-3,
  ns: 1e-6,
};
const PART = /(\d{1,20}(?:\.\d{1,20})?)(h|ms|m|s|us|µs|ns)/y;

/**
 * Milliseconds of a delay as Google writes it: "34s", "34.429760048s", "750ms", "1m2.5s", "16h30m", "0s". Undefined: none of
 * these, such as a negative one or NaN.
 */
export function parseDelay(text: string): number | undefined {
  if (text === '' || text.length > 64) return undefined;
  let ms = 0;
  let end = 0;
  while (end < text.length) {
    PART.lastIndex = end;
    const part = PART.exec(text);
    if (part === null) return undefined;
    ms += Number(part[1]) * UNIT_MS[part[2]!]!;
    end = PART.lastIndex;
  }
  return plausible(ms);
}

/** The delay of a duration given as seconds and nanoseconds, each a number, a bigint or a number in a string. */
export function delayOf(duration: { seconds?: unknown; nanos?: unknown }): number | undefined {
  return plausible(toNumber(duration.seconds) * 1000 + toNumber(duration.nanos) / 1e6);
}

/** What a RetryInfo detail says, whichever of the two JSON forms it has. */
export function retryInfoDelay(detail: JsonObject): number | undefined {
  const delay = detail.retryDelay ?? detail.retry_delay;
  if (typeof delay === 'string') return parseDelay(delay);
  return typeof delay === 'object' && delay !== null ? delayOf(delay) : undefined;
}

const IN_TEXT = 'Please retry in ';

/** The delay in a quota message, "Please retry in 34.429760048s.", which RetryInfo repeats rounded. */
export function delayInText(message: string): number | undefined {
  const at = message.lastIndexOf(IN_TEXT);
  if (at === -1) return undefined;
  const rest = message.slice(at + IN_TEXT.length, at + IN_TEXT.length + 65);
  const word = rest.split(/\s/, 1)[0]!;
  return parseDelay(word.endsWith('.') ? word.slice(0, -1) : word);
}

function toNumber(value: unknown): number {
  if (value === undefined || value === '') return 0;
  return typeof value === 'number' || typeof value === 'bigint' || typeof value === 'string'
    ? Number(value)
    : Number.NaN;
}

/** Rounded up to a millisecond, so that nobody comes back too early. */
function plausible(ms: number): number | undefined {
  if (!(ms >= 0)) return undefined;
  return Math.min(LONGEST_RETRY_DELAY_MS, Math.ceil(ms));
}
