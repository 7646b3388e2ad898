import { shownType } from '../checks.ts';
import { DECIMAL } from './decimal.ts';
import type { KeyOfFile } from './key-entry.ts';
import { NOT_ALONE, readKeyLine, standsAlone } from './key-line.ts';

/** A field that cannot be; its message says why and never quotes a text, which may be a key in the wrong place. */
class FieldProblem extends Error {}

type Reader = (name: string, value: unknown) => Partial<KeyOfFile>;

/** What a record may say of a key, by name in lower case without "_", "-" and spaces. */
const READERS: Readonly<Record<string, Reader>> = {
  key: (name, value) => ({ apiKey: text(name, value) }),
  apikey: (name, value) => ({ apiKey: text(name, value) }),
  weight: (name, value) => ({ weight: number(name, value) }),
  project: (name, value) => ({ project: text(name, value) }),
  model: (name, value) => ({ models: models(name, value) }),
  models: (name, value) => ({ models: models(name, value) }),
  label: (name, value) => ({ labels: labels(name, value) }),
  labels: (name, value) => ({ labels: labels(name, value) }),
  tier: (name, value) => ({ tier: whole(name, value, 9) }),
  source: (name, value) => ({ source: text(name, value) }),
  pool: (name, value) => ({ pool: text(name, value) }),
  disabled: (name, value) => ({ disabled: flag(name, value) }),
  maxconcurrentleases: (name, value) => ({ maxConcurrentLeases: whole(name, value, 2 ** 31 - 1) }),
};

/** The fields of a record, for whoever has a file without any. */
export const KEY_FIELDS = 'key, weight, project, models, labels, tier, source, pool, disabled, maxConcurrentLeases';

export function isKeyField(name: string): boolean {
  return Object.hasOwn(READERS, plain(name));
}

/** Whether it names the field with the key itself. */
export function namesKey(name: string): boolean {
  return plain(name) === 'key' || plain(name) === 'apikey';
}

/** A key from what names and values say of it; names that are no key's are left out, values that are empty say nothing. */
export function readFields(fields: Iterable<readonly [string, unknown]>): { key: KeyOfFile } | { problem: string } {
  const key: Partial<KeyOfFile> = {};
  try {
    for (const [name, value] of fields) {
      const read = READERS[plain(name)];
      if (read !== undefined && value !== '' && value !== null && value !== undefined) {
        Object.assign(key, read(name.trim(), value));
      }
    }
  } catch (error) {
    if (error instanceof FieldProblem) return { problem: error.message };
    throw error;
  }
  const { apiKey = '' } = key;
  if (apiKey === '') return { problem: 'there is no key' };
  return standsAlone(apiKey) ? { key: { ...key, apiKey } } : { problem: NOT_ALONE };
}

/** A value of JSON: KEY or KEY:WEIGHT as a text, or an object with the fields of a key. undefined: it says nothing. */
export function readValue(
  value: unknown,
  ignored: (name: string) => void,
): { key: KeyOfFile } | { problem: string } | undefined {
  if (typeof value === 'string') {
    if (!value.isWellFormed()) return { problem: 'it has half a character' };
    return readKeyLine(value);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { problem: `it is ${shownType(value)}; allowed: a text, or an object with a key` };
  }
  const fields = Object.entries(value);
  for (const [name] of fields) if (!isKeyField(name)) ignored(name);
  return readFields(fields);
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[\s_-]/g, '');
}

function problem(name: string, value: unknown, allowed: string): FieldProblem {
  const shown =
    typeof value === 'number' ? String(value) : typeof value === 'string' ? 'another text' : shownType(value);
  return new FieldProblem(`${name} is ${shown}; allowed: ${allowed}`);
}

function text(name: string, value: unknown): string {
  if (typeof value !== 'string') throw problem(name, value, 'a text');
  if (!value.isWellFormed()) throw new FieldProblem(`${name} has half a character`);
  return value.trim();
}

function number(name: string, value: unknown): number {
  const number = typeof value === 'string' && DECIMAL.test(value.trim()) ? Number(value) : value;
  if (typeof number === 'number' && !Number.isNaN(number)) return number;
  throw problem(name, value, 'a number');
}

function whole(name: string, value: unknown, most: number): number {
  const allowed = `a whole number, 0 to ${most}`;
  const number = typeof value === 'string' && /^\s*\d+\s*$/.test(value) ? Number(value) : value;
  if (typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= most) return number;
  throw problem(name, number, allowed);
}

function flag(name: string, value: unknown): boolean {
  const word = typeof value === 'string' ? value.trim().toLowerCase() : value;
  if (word === true || word === 'true' || word === '1' || word === 'yes') return true;
  if (word === false || word === 'false' || word === '0' || word === 'no') return false;
  throw problem(name, value, 'true or false');
}

/** Names of models have none of what separates them. */
function models(name: string, value: unknown): string[] {
  const list = typeof value === 'string' ? value.split(/[\s,;|]+/).filter((model) => model !== '') : value;
  if (!Array.isArray(list)) throw problem(name, value, 'names of models');
  return list.map((model) => text(name, model));
}

/** An object, in JSON or as its text, or NAME=VALUE with ; or , between. */
function labels(name: string, value: unknown): Record<string, string> {
  if (typeof value === 'string')
    return value.trim().startsWith('{') ? labelsOf(name, parsed(name, value)) : pairs(name, value);
  return labelsOf(name, value);
}

function parsed(name: string, value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    throw problem(name, value, 'an object in JSON, or NAME=VALUE;NAME=VALUE');
  }
}

function labelsOf(name: string, value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw problem(name, value, 'an object with texts');
  }
  return Object.fromEntries(Object.entries(value).map(([label, each]) => [text(name, label), text(name, each)]));
}

function pairs(name: string, value: string): Record<string, string> {
  const parts = value.split(/[;,]/).filter((part) => part.trim() !== '');
  return Object.fromEntries(
    parts.map((part) => {
      const equals = part.indexOf('=');
      if (equals < 1) throw problem(name, value, 'NAME=VALUE;NAME=VALUE');
      return [part.slice(0, equals).trim(), text(name, part.slice(equals + 1))];
    }),
  );
}
