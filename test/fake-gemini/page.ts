import type { Answer } from './answer.ts';
import { badRequest } from './refusals.ts';

/** One page of a listing by `pageSize` and `pageToken`. A page size above `maxSize` is taken as that. */
export function page(field: string, items: readonly unknown[], query: URLSearchParams, maxSize: number): Answer {
  const size = Number(query.get('pageSize') ?? 0);
  if (!Number.isInteger(size) || size < 0)
    return badRequest(`Invalid value at 'page_size' (TYPE_INT32), "${query.get('pageSize')}"`);
  const token = query.get('pageToken') ?? '';
  const start = token === '' ? 0 : Number(/^from-(\d+)$/.exec(token)?.[1] ?? NaN);
  if (Number.isNaN(start)) return badRequest('Page token is not valid.');
  const end = start + (size === 0 ? DEFAULT_SIZE : Math.min(size, maxSize));
  const body = {
    ...(start < items.length ? { [field]: items.slice(start, end) } : {}),
    ...(end < items.length ? { nextPageToken: `from-${end}` } : {}),
  };
  return { kind: 'json', body };
}

const DEFAULT_SIZE = 50;
