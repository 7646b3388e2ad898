import { createHash } from 'node:crypto';
import * as fields from './fields.ts';

const DEFAULT_PAGE = 50;
const LARGEST_PAGE = 1000;
/** Bytes of the checksum before the position in a token. */
const CHECK = 9;

/** Absent: 50. Above 1000: 1000. */
export function pageSize(value: number): number {
  if (value < 0) throw fields.refused('page_size', value, '0 (that is 50) to 1000, more counts as 1000');
  return value === 0 ? DEFAULT_PAGE : Math.min(value, LARGEST_PAGE);
}

/**
 * Where a list goes on: the store's position and a checksum over it and the request's filters, so that a token of another list,
 * or one that lost a character, is refused and not taken for a place that it is not. It is no signature: it guards no right.
 */
export function pageToken(list: string, filters: unknown, next: string): string {
  if (next === '') return '';
  return Buffer.concat([check(list, filters, next), Buffer.from(next)]).toString('base64url');
}

/** The store's position in a token that pageToken() made for the same list and filters; "" for the first page. */
export function readPageToken(list: string, filters: unknown, token: string): string {
  if (token === '') return '';
  const bytes = Buffer.from(token, 'base64url');
  const next = bytes.subarray(CHECK).toString();
  // Comparing whole tokens refuses also what a lenient base64 decoder would have let pass.
  if (next !== '' && pageToken(list, filters, next) === token) return next;
  throw fields.refused(
    'page_token',
    token,
    'next_page_token of an answer to the same request, all other fields but page_size as they were',
  );
}

function check(list: string, filters: unknown, next: string): Buffer {
  const content = JSON.stringify([list, filters, next]);
  return createHash('sha256').update(content).digest().subarray(0, CHECK);
}
