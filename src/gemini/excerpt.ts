import { formsOf, redact } from './redact.ts';

/** The most that is redacted of a text of which a beginning is wanted; beyond, it is cut first. */
const MOST_REDACTED = 256 * 1024;
/** A key form that was cut at the end may be too short to look like one. */
const LONGEST_CUT_SECRET = 64;

/** At most `maxBytes` UTF-8 bytes of the text's beginning, with no API key in it, nor the beginning of one that was cut off. */
export function excerpt(text: string, maxBytes: number, apiKey?: string): string {
  if (text.length <= MOST_REDACTED) return firstBytes(redact(text, apiKey), maxBytes);
  const redacted = redact(text.slice(0, MOST_REDACTED), apiKey);
  const longestForm = apiKey === undefined ? 0 : (formsOf(apiKey)[0]?.length ?? 0);
  const kept = redacted.length - Math.max(LONGEST_CUT_SECRET, longestForm);
  return firstBytes(redacted.slice(0, Math.max(0, kept)), maxBytes);
}

function firstBytes(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes) return text;
  // A character is written whole or not at all.
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(maxBytes));
  return text.slice(0, read);
}
