import type { Evidence } from './evidence.ts';
import type { Scope } from './finding.ts';
import { isObject } from './json.ts';

/** "project_number:123", "projects/123", "123" or "my-project"; what names a key is none. */
const PROJECT = /^(?!api_?key)(?:[a-z_]{1,40}[:/]|\d{1,20}$|[a-z][a-z0-9-]{5,29}$)/;
const CONSUMER_IN_MESSAGE = /^Permission denied: Consumer '([^'\n]{1,200})/;
const API_KEY = /\bapi[_ ]?key\b/i;

/**
 * What was suspended: a key, or the whole project behind it. A key's project is named beside it, so a project that is named counts
 * only where no key is.
 */
export function suspendedScope(evidence: Evidence): Scope {
  const { message, metadata } = evidence;
  const consumer = CONSUMER_IN_MESSAGE.exec(message)?.[1] ?? '';
  if (PROJECT.test(consumer)) return 'project';
  if (namesKey(evidence)) return 'key';
  const holder = metadata.containerInfo ?? metadata.consumer;
  return typeof holder === 'string' && PROJECT.test(holder) ? 'project' : 'key';
}

/** Looks at texts one and two deep: deeper ones are none of Gemini's. */
function namesKey({ message, details, consumers }: Evidence): boolean {
  const texts = details.flatMap((detail) => [
    ...Object.values(detail),
    ...(isObject(detail.metadata) ? Object.values(detail.metadata) : []),
  ]);
  return [message, ...consumers, ...texts].some((text) => typeof text === 'string' && API_KEY.test(text));
}
