import { closest, distance } from 'fastest-levenshtein';
import { invalidOption } from './errors.ts';

/** A day: who waits longer has a mistake in his units. */
export const LONGEST_MS = 24 * 60 * 60_000;

/** The most keys that a cache of decrypted keys can be told to keep. */
export const MOST_CACHED = 10_000_000;

/** The longest that a timer of Node waits. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The kind of a value that is none of the allowed kinds, for a sentence. */
export function shownType(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** A number as it is; of a text only what looks like a number, since keys are texts, too. */
function shownNumber(value: unknown): string {
  const isNumeric = typeof value === 'number' || (typeof value === 'string' && /^[-+.\d]{1,12}$/.test(value));
  return isNumeric ? String(value) : shownType(value);
}

/**
 * Throws where something is no object, or has a name that is not known; then it says which name was meant, if one is near. `what`: the
 * option that holds them; default: what was given itself.
 */
export function refuseUnknown(options: object, known: readonly string[], what = 'options'): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidOption(what, shownType(options), 'an object');
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    throw invalidOption(`option "${name}"`, 'unknown', `${known.join(', ')}${hintOf(name, known)}`);
  }
}

/** Which name was meant, if one is near. */
function hintOf(name: string, known: readonly string[]): string {
  const lower = name.toLowerCase();
  const near = closest(
    lower,
    known.map((each) => each.toLowerCase()),
  );
  if (distance(lower, near) > Math.min(3, name.length / 2)) return '';
  return `; did you mean "${known.find((each) => each.toLowerCase() === near)}"?`;
}

export function number(name: string, value: number | undefined, fallback: number, most: number): number {
  if (value === undefined) return fallback;
  if (typeof value === 'number' && value >= 0 && value <= most) return value;
  throw invalidOption(name, shownNumber(value), `0 to ${most}`);
}

export function whole(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw invalidOption(name, shownNumber(value), `a whole number, ${least} to ${most}`);
}

/** Not empty: an empty name is most often a variable that was not set. */
export function text(name: string, value: string | undefined): string | undefined {
  if (value === undefined || (typeof value === 'string' && value !== '')) return value;
  throw invalidOption(name, value === '' ? 'empty' : shownType(value), 'a text');
}

export function texts(name: string, value: readonly string[] | undefined): string[] {
  if (value === undefined) return [];
  if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return [...value];
  throw invalidOption(name, Array.isArray(value) ? 'a list of other things' : shownType(value), 'a list of texts');
}

export function flag(name: string, value: boolean | undefined): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value;
  throw invalidOption(name, shownType(value), 'true or false');
}

/** Its values may be secrets, and are not shown. */
export function record(name: string, value: unknown): void {
  if (value === undefined || (typeof value === 'object' && value !== null && !Array.isArray(value))) return;
  throw invalidOption(name, shownType(value), 'an object');
}

/** As the balancer names its pools. */
export function poolName(name: string, value: string | undefined): void {
  if (text(name, value) === undefined || /^[a-z][a-z0-9-]{0,62}$/.test(value!)) return;
  throw invalidOption(
    name,
    JSON.stringify(value!.slice(0, 80)),
    'a lower-case letter, then up to 62 of a-z, 0-9 and -',
  );
}

export function signal(value: AbortSignal | undefined): AbortSignal | undefined {
  if (value === undefined || value instanceof AbortSignal) return value;
  throw invalidOption('signal', shownType(value), 'an AbortSignal');
}

export function oneOf(name: string, value: string | undefined, allowed: readonly string[]): void {
  if (value === undefined || allowed.includes(value)) return;
  throw invalidOption(name, typeof value === 'string' ? 'another text' : shownType(value), allowed.join(' or '));
}

export function fn(name: string, value: unknown): void {
  if (typeof value !== 'function') throw invalidOption(name, shownType(value), 'a function');
}
