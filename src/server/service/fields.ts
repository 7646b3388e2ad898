import { createHash } from 'node:crypto';
import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';
import { BalancerError, invalidField, shown } from '../../engine/errors.ts';
import { DEFAULT_POOL } from '../../engine/settings.ts';
import { normalizeModel } from '../../gemini/model-name.ts';
import { redact } from '../../gemini/redact.ts';
import type { Idempotency } from '../../store/store.ts';

/** Reads fields of requests: the value as the store takes it, or INVALID_ARGUMENT that names the field as the proto does. */

/** Characters of a project's name. */
export const MAX_PROJECT = 128;
/** Characters of where a key came from. */
export const MAX_SOURCE = 128;

const POOL_NAME = /^[a-z][a-z0-9-]{0,62}$/;
const PRINTABLE = /^[\x20-\x7e]*$/;
const API_KEY = /^[\x21-\x7e]+$/;
const LONGEST_API_KEY = 512;
/** google.protobuf.Duration: 10,000 years. */
const LONGEST_DURATION_S = 315_576_000_000n;
/** google.protobuf.Timestamp: the last second of the year 9999. */
const LATEST_S = 253_402_300_799n;

/** A refusal of a field by a rule that is its message's own. */
export const refused = invalidField;

/** "": the default pool. Whether a pool of this name exists is the store's to say. */
export function poolName(value: string): string {
  if (value === '') return DEFAULT_POOL.pool;
  if (POOL_NAME.test(value)) return value;
  throw new BalancerError('POOL_NOT_FOUND', `pool ${shown(value)} does not exist; no pool can have that name`);
}

/** The name of a pool that is to come into being. */
export function newPoolName(field: string, value: string): string {
  if (POOL_NAME.test(value)) return value;
  throw invalidField(field, value, 'a lower-case letter, then up to 62 of a-z, 0-9 and -');
}

export function model(field: string, value: string): string {
  refuseApiKey(field, value, 'the name of a model');
  const name = value === '' ? '' : normalizeModel(value);
  if (name === undefined) throw invalidField(field, value, 'at most 128 characters of [A-Za-z0-9._/-]');
  return name;
}

/** The name of a project that something is to have, or that a call is to be served by. */
export function project(field: string, value: string): string {
  refuseApiKey(field, value, 'the name of a project');
  return projectFilter(field, value);
}

/** The name of a project that something may have. */
export function projectFilter(field: string, value: string): string {
  return text(field, value, MAX_PROJECT);
}

/** Where a key came from. */
export function source(field: string, value: string): string {
  return storedText(field, value, MAX_SOURCE, 'where keys come from');
}

/** A text that people wrote for people. */
export function storedText(field: string, value: string, maxLength: number, allowed: string): string {
  refuseApiKey(field, value, allowed);
  return text(field, value, maxLength);
}

/** What is stored is shown and logged, as a key that was put in the place of it must not be. */
function refuseApiKey(field: string, value: string, allowed: string): void {
  if (redact(value) !== value) throw invalidField(field, 'a text that looks like an API key', allowed);
}

export function text(field: string, value: string, maxLength: number): string {
  if (value.length <= maxLength && !value.includes('\0')) return value;
  throw invalidField(field, value, `at most ${maxLength} characters, no NUL`);
}

/** Milliseconds; undefined when absent. Negative or malformed durations are refused. */
export function durationMs(field: string, value: Duration | undefined): number | undefined {
  if (value === undefined) return undefined;
  const { seconds, nanos } = value;
  if (seconds < 0n || nanos < 0 || nanos > 999_999_999 || seconds > LONGEST_DURATION_S) {
    throw invalidField(field, `${seconds} s ${nanos} ns`, '0 s to 315,576,000,000 s, with 0 to 999,999,999 ns');
  }
  return Number(seconds) * 1000 + nanos / 1e6;
}

/** As durationMs, and within bounds; undefined when absent. */
export function durationWithin(
  field: string,
  value: Duration | undefined,
  minMs: number,
  maxMs: number,
): number | undefined {
  const ms = durationMs(field, value);
  if (ms === undefined || (ms >= minMs && ms <= maxMs)) return ms;
  throw invalidField(field, `${ms / 1000} s`, `${minMs / 1000} s to ${maxMs / 1000} s`);
}

/** A time to live: absent means the pool's default, the pool's maximum cuts it. */
export function leaseTtlMs(field: string, value: Duration | undefined): number | undefined {
  const ms = durationMs(field, value);
  if (ms !== undefined && ms < 1000) throw invalidField(field, `${ms / 1000} s`, 'at least 1 s');
  return ms;
}

export function integer(field: string, value: number | bigint, min: number, max: number): number {
  const number = Number(value);
  if (number >= min && number <= max) return number;
  throw invalidField(field, value, `${min} to ${max}`);
}

export function within(field: string, value: number, min: number, max: number): number {
  if (value >= min && value <= max) return value;
  throw invalidField(field, value, `${min} to ${max}`);
}

/** Milliseconds since 1970; undefined when absent. */
export function time(field: string, value: Timestamp | undefined): number | undefined {
  if (value === undefined) return undefined;
  const { seconds, nanos } = value;
  if (seconds >= 0n && seconds <= LATEST_S && nanos >= 0 && nanos <= 999_999_999) {
    return Number(seconds) * 1000 + Math.floor(nanos / 1e6);
  }
  throw invalidField(field, `${seconds} s ${nanos} ns`, 'a time from the years 1970 to 9999');
}

/** Unset: 1. */
export function weight(field: string, value: number | undefined): number {
  if (value === undefined) return 1;
  if (value >= 0.001 && value <= 1000) return value;
  throw invalidField(field, value, '0.001 to 1000');
}

export function list<T>(field: string, value: readonly T[], min: number, max: number): readonly T[] {
  if (value.length >= min && value.length <= max) return value;
  throw invalidField(field, `${value.length} items`, `${min} to ${max} items`);
}

/** Any printable ASCII without spaces: the forms of Gemini's keys change. What it was is never said. */
export function apiKey(field: string, value: string): string {
  if (value === '') throw invalidField(field, 'empty', 'an API key');
  if (value.length > LONGEST_API_KEY) {
    throw invalidField(field, `${value.length} characters long`, `at most ${LONGEST_API_KEY} characters`);
  }
  if (!API_KEY.test(value)) {
    throw invalidField(field, 'a text with spaces, control or non-ASCII characters', 'printable ASCII without spaces');
  }
  return value;
}

/** Labels that a key is to have: at most 16. */
export function labels(field: string, value: Readonly<Record<string, string>>): Record<string, string> {
  // Names first: of a value that is refused the message says the label's name.
  for (const name of Object.keys(value)) refuseApiKey(`${field} name`, name, 'the name of a label');
  for (const [name, labelValue] of Object.entries(value))
    refuseApiKey(labelOf(field, name), labelValue, 'a value of it');
  return labelsFilter(field, value);
}

/** Labels that keys may have. */
export function labelsFilter(field: string, value: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(value);
  list(field, entries, 0, 16);
  for (const [name, labelValue] of entries) {
    if (name === '' || name.length > 63) throw invalidField(`${field} name`, name, '1 to 63 characters');
    text(labelOf(field, name), labelValue, 256);
  }
  return { ...value };
}

function labelOf(field: string, name: string): string {
  return `${field}[${JSON.stringify(name)}]`;
}

/** Models a key may serve: at most 64, each a model's name. */
export function models(field: string, value: readonly string[]): string[] {
  return list(field, value, 0, 64).map((each, index) => {
    const name = model(`${field}[${index}]`, each);
    if (name === '') throw invalidField(`${field}[${index}]`, each, 'the name of a model');
    return name;
  });
}

/** `content` gives everything of the request that its answer depends on; it is asked only when there is a request_id. */
export function idempotency(
  caller: string,
  method: string,
  requestId: string,
  content: () => string | Uint8Array,
): Idempotency | undefined {
  if (requestId === '') return undefined;
  if (requestId.length > 64 || !PRINTABLE.test(requestId)) {
    throw invalidField('request_id', requestId, 'at most 64 printable ASCII characters');
  }
  const contentHash = createHash('sha256').update(content()).digest('base64url');
  return { caller, method, requestId, contentHash };
}
