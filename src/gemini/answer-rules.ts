import { ErrorClass } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Evidence } from './evidence.ts';
import type { Scope } from './finding.ts';
import type { BrokenLimit } from './quota-limit.ts';
import { REFUSAL_RULES } from './refusal-rules.ts';
import { GENERATION_CODES } from './rpc-status.ts';
import { begins, both, either, httpStatus, isHtml, leadSays, noStatusBut, type Rule, reason } from './rule.ts';

function limitScope(_: Evidence, limit: BrokenLimit | undefined): Scope {
  return limit?.scope ?? 'project-model';
}

/** In the order in which they are asked: what tells most first, then quotas, then what a status alone says. */
export const ANSWER_RULES: readonly Rule[] = [
  // An answer, not an error: the key did its work.
  {
    name: 'content-blocked',
    because: 'an answer with a blockReason, a finishReason other than STOP, or a code that says the same',
    applies: (e) => e.answer === 'blocked' || GENERATION_CODES.has(e.code),
    errorClass: ErrorClass.CONTENT_BLOCKED,
    scope: 'none',
  },
  {
    name: 'answer-cut',
    because: 'an answer without a finishReason, so the rest of it never came',
    applies: (e) => e.answer === 'cut',
    errorClass: ErrorClass.NETWORK,
    scope: 'none',
  },

  // A page of Google's front end or of a proxy: the API, and so the key, was never asked.
  {
    name: 'host-blocked-page',
    because: 'an HTML page with status 403 or 429: a front end refused the calling host before the API saw the key',
    applies: both(isHtml, httpStatus(403, 429)),
    errorClass: ErrorClass.UNKNOWN,
    scope: 'none',
    beyond: 'calling-host',
  },
  {
    name: 'html-page',
    because: 'an HTML page where the API would have sent JSON: the API never saw the key',
    applies: both(isHtml, httpStatus(0, 200, 401)),
    errorClass: ErrorClass.UNKNOWN,
    scope: 'none',
  },

  ...REFUSAL_RULES,

  // A model that only older projects still have.
  {
    name: 'model-closed-to-new-users',
    because: 'a 404 that says that the model is no longer available to new users',
    applies: both(
      noStatusBut(404),
      either(
        begins(
          /^(?![\s\S]*\bis not (?:found|supported)\b)(?:This|The) model(?: \S{1,200})? is no longer available to new users(?:[.,]|$)/,
        ),
        // Here the message begins with the request's own words, so these must be all that there is. A live session's may be cut.
        both(
          (e) => e.closeCode === 0,
          begins(
            /^models\/[\w.-]{1,128} is no longer available to new users\.?(?: Please (?![^\n]*\bis not\b)[\w ,.-]{1,200})?$/,
          ),
        ),
      ),
    ),
    errorClass: ErrorClass.NOT_FOUND,
    scope: 'project-model',
  },

  // Everybody's trouble, whatever the status says.
  {
    name: 'model-overloaded',
    because: 'reason MODEL_CAPACITY_EXHAUSTED, or a message that the model is overloaded or has no capacity',
    applies: either(
      reason('MODEL_CAPACITY_EXHAUSTED'),
      // The link may stand on a line of its own.
      begins(/^Resource exhausted\. Please try again later\. Please refer to\s{1,9}\S{1,200}error-code-429/),
      leadSays('error-code-429', 'no capacity available', 'overloaded', 'experiencing high demand'),
    ),
    errorClass: ErrorClass.OVERLOADED,
    scope: 'none',
  },

  // Quotas, the worst first.
  {
    name: 'quota-zero',
    because: 'an exhausted quota whose limit is 0, so waiting does not help',
    applies: (_, limit) => limit?.zero === true,
    errorClass: ErrorClass.QUOTA_ZERO,
    scope: limitScope,
  },
  {
    name: 'quota-day',
    because: 'an exhausted quota of a day, by quota id, metric, unit, the code quota_exceeded, or a delay beyond 1 h',
    applies: (_, limit) => limit?.day === true,
    errorClass: ErrorClass.QUOTA_EXHAUSTED_DAY,
    scope: limitScope,
  },
  {
    name: 'quota-tokens',
    because: 'an exhausted quota of a minute whose id or metric counts tokens',
    applies: (_, limit) => limit?.tokens === true,
    errorClass: ErrorClass.RATE_LIMITED_TOKENS,
    scope: limitScope,
  },
  {
    name: 'quota-minute',
    because: 'an exhausted quota, and nothing says that it is one of a day, of tokens or of 0',
    applies: (_, limit) => limit !== undefined,
    errorClass: ErrorClass.RATE_LIMITED_MINUTE,
    scope: limitScope,
  },

  // What the status alone says.
  {
    name: 'unauthenticated',
    because: 'HTTP status 401, or the code "authentication"',
    applies: httpStatus(401),
    errorClass: ErrorClass.KEY_INVALID,
    scope: 'key',
  },
  {
    name: 'no-permission',
    because: 'HTTP status 403 without a reason that says more',
    applies: httpStatus(403),
    errorClass: ErrorClass.PERMISSION,
    scope: 'project-model',
  },
  {
    name: 'not-found',
    because: 'HTTP status 404',
    applies: httpStatus(404),
    errorClass: ErrorClass.NOT_FOUND,
    scope: 'none',
  },
  {
    name: 'timeout',
    because: 'HTTP status 408, 504 or 524',
    applies: httpStatus(408, 504, 524),
    errorClass: ErrorClass.TIMEOUT,
    scope: 'none',
  },
  {
    name: 'cancelled',
    because: 'HTTP status 499: the caller gave up',
    applies: httpStatus(499),
    errorClass: ErrorClass.CANCELLED,
    scope: 'none',
  },
  {
    name: 'conflict',
    because: 'HTTP status 409 of an operation that was aborted',
    applies: both(httpStatus(409), (e) => e.status !== 'ALREADY_EXISTS' && e.code !== 'already_exists'),
    errorClass: ErrorClass.SERVER_ERROR,
    scope: 'none',
  },
  {
    name: 'connection-not-fit',
    because: 'HTTP status 421 or 425: another connection may do',
    applies: httpStatus(421, 425),
    errorClass: ErrorClass.NETWORK,
    scope: 'none',
  },
  {
    name: 'not-implemented',
    because: 'HTTP status 501',
    applies: httpStatus(501),
    errorClass: ErrorClass.BAD_REQUEST,
    scope: 'none',
  },
  {
    name: 'unavailable',
    because: 'HTTP status 503',
    applies: httpStatus(503),
    errorClass: ErrorClass.OVERLOADED,
    scope: 'none',
  },
  {
    name: 'server-error',
    because: 'an HTTP status of 500 or above',
    applies: (e) => e.httpStatus >= 500,
    errorClass: ErrorClass.SERVER_ERROR,
    scope: 'none',
  },
  {
    name: 'bad-request',
    because: 'an HTTP status from 400 to 499 that nothing lays on the key or the project',
    applies: (e) => e.httpStatus >= 400,
    errorClass: ErrorClass.BAD_REQUEST,
    scope: 'none',
  },
];
