import { DECIMAL } from './decimal.ts';
import type { KeyOfFile } from './key-entry.ts';

const NOT_FINITE = /^[+-]?(infinity|inf|nan)$/i;

/** Keys have none of these, whatever their form; CSV, JSON and .env do. */
const OTHER_FORMAT = /[",{}[\]]|^(export\s+)?[A-Z][A-Z0-9_]*\s*=\s*[^\s=]/;

/** A key of Gemini within a text, and as long as one that is masked. */
const KNOWN_FORM = /AIza[\w-]{8,}|AQ\.[\w.-]{10,}/;

/** What is wrong with a text that holds a key of Gemini and more than that, which may be a part of a command or a URL. */
export const NOT_ALONE = 'something stands before or behind the key';

/** Whether a key of Gemini that it holds is all that it holds. Texts of other forms are keys as they are. */
export function standsAlone(apiKey: string): boolean {
  const [form = apiKey] = KNOWN_FORM.exec(apiKey) ?? [];
  return form === apiKey;
}

/**
 * KEY, or KEY:WEIGHT; undefined for a blank line or a comment. No key of Gemini holds a colon, so that what follows one is a weight,
 * or a slip. Whether the key and the weight will do is the balancer's to say.
 */
export function readKeyLine(line: string): { key: KeyOfFile } | { problem: string } | undefined {
  const text = line.trim();
  if (text === '' || text.startsWith('#')) return undefined;
  if (OTHER_FORMAT.test(text)) return { problem: 'it looks like CSV, JSON or .env, and is read as KEY or KEY:WEIGHT' };
  const colon = text.lastIndexOf(':');
  if (colon === -1) return standsAlone(text) ? { key: { apiKey: text } } : notAlone();
  const apiKey = text.slice(0, colon).trim();
  const suffix = text.slice(colon + 1).trim();
  if (apiKey === '') return { problem: 'there is no key before the colon' };
  if (suffix === '') return { problem: 'there is no weight after the colon' };
  if (!DECIMAL.test(suffix) && !NOT_FINITE.test(suffix))
    return { problem: 'what follows the colon is no number; allowed: KEY or KEY:WEIGHT' };
  if (!standsAlone(apiKey)) return notAlone();
  return { key: { apiKey, weight: numberOf(suffix) } };
}

function notAlone(): { problem: string } {
  return { problem: `${NOT_ALONE}; allowed: KEY or KEY:WEIGHT, and comments on lines of their own` };
}

/** "inf" is how some languages write what JavaScript calls Infinity. */
function numberOf(text: string): number {
  if (!NOT_FINITE.test(text)) return Number(text);
  return /nan/i.test(text) ? Number.NaN : text.startsWith('-') ? -Infinity : Infinity;
}
