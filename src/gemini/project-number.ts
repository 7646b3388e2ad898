import type { Evidence } from './evidence.ts';

/**
 * Google gives out project numbers as int64, so none has more than 19 digits, and none begins with 0. Those seen have 11 to 13;
 * a lower bound keeps out examples such as the "projects/123" of Google's own documentation.
 */
const NUMBER = /^[1-9]\d{3,18}$/;
const CONSUMER = /^(?:projects\/|project_number:|project:)?(\d{1,20})$/;

/** Statuses of messages that repeat the request. */
const REPEATS_REQUEST = new Set([400, 404]);
/** The sentences in which Google names the project. */
const SENTENCES: readonly RegExp[] = [
  /^(?:\* )?Quota exceeded for quota metric '[^'\n]{0,200}' and limit '[^'\n]{0,200}' of service '[^'\n]{0,200}' for consumer '(?:project_number:|projects\/)(\d{1,20})'/,
  /^Permission denied: Consumer '(?:project_number:|projects\/)(\d{1,20})' has been suspended/,
  /^[\w .-]{1,80} has not been used in project (\d{1,20}) before or it is disabled/,
];

/** Reasons that speak of the project which the request named in x-goog-user-project, and not of the key's. */
const NAMED_BY_REQUEST = new Set(['USER_PROJECT_DENIED', 'RESOURCE_PROJECT_INVALID']);

/** The number of the project behind the key; undefined: not said, not plausible, or several that contradict each other. */
export function projectNumber({ consumers, reasons, message, httpStatus }: Evidence): string | undefined {
  if (reasons.some((reason) => NAMED_BY_REQUEST.has(reason))) return undefined;
  const said = consumers.map((consumer) => CONSUMER.exec(consumer)?.[1] ?? '');
  if (!REPEATS_REQUEST.has(httpStatus)) for (const sentence of SENTENCES) said.push(sentence.exec(message)?.[1] ?? '');
  const numbers = new Set(said.filter((number) => NUMBER.test(number)));
  return numbers.size === 1 ? [...numbers][0] : undefined;
}
