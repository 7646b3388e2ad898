import type { KeyOfFile } from './key-entry.ts';

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$|^[+-]?(infinity|inf|nan)$/i;

/** Keys have none of these, whatever their form; CSV, JSON and .env do. */
const OTHER_FORMAT = /[",{}[\]]|^(export\s+)?[A-Z][A-Z0-9_]*\s*=\s*[^\s=]/;

/**
 * KEY, or KEY:WEIGHT; undefined for a blank line or a comment. No key of Gemini holds a colon, so that what follows one is a weight,
 * or a slip. Whether the key and the weight will do is the balancer's to say.
 */
export function readKeyLine(line: string): { key: KeyOfFile } | { problem: string } | undefined {
  const text = line.trim();
  if (text === '' || text.startsWith('#')) return undefined;
  if (OTHER_FORMAT.test(text)) return { problem: 'it looks like CSV, JSON or .env, and is read as KEY or KEY:WEIGHT' };
  const colon = text.lastIndexOf(':');
  if (colon === -1) return { key: { apiKey: text } };
  const apiKey = text.slice(0, colon).trim();
  const suffix = text.slice(colon + 1).trim();
  if (apiKey === '') return { problem: 'there is no key before the colon' };
  if (suffix === '') return { problem: 'there is no weight after the colon' };
  if (!NUMBER.test(suffix)) return { problem: 'what follows the colon is no number; allowed: KEY or KEY:WEIGHT' };
  return { key: { apiKey, weight: numberOf(suffix) } };
}

/** "inf" is how some languages write what JavaScript calls Infinity. */
function numberOf(text: string): number {
  if (!/^[+-]?(inf|nan)/i.test(text)) return Number(text);
  return /nan/i.test(text) ? Number.NaN : text.startsWith('-') ? -Infinity : Infinity;
}
