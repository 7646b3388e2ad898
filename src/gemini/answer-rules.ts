import { ErrorClass } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Evidence } from './evidence.ts';
import type { Scope } from './finding.ts';
import type { BrokenLimit } from './quota-limit.ts';
import { begins, both, either, httpStatus, isHtml, leadSays, type Rule, reason } from './rule.ts';

/** A key of the pool, or the whole project behind it. */
function suspendedScope({ message, metadata }: Evidence): Scope {
  const named = /^Permission denied: Consumer '([a-z_]+):/.exec(message)?.[1];
  if (named !== undefined) return named === 'api_key' ? 'key' : 'project';
  const container = metadata.containerInfo;
  return typeof container === 'string' && !container.startsWith('api_key:') ? 'project' : 'key';
}

function limitScope(_: Evidence, limit: BrokenLimit | undefined): Scope {
  return limit?.scope ?? 'project-model';
}

/** In the order in which they are asked: ErrorInfo reasons and telling messages, then quotas, then what a status alone says. */
export const ANSWER_RULES: readonly Rule[] = [
  // An answer, not an error: the key did its work.
  {
    name: 'content-blocked',
    applies: (e) => e.answer === 'blocked',
    errorClass: ErrorClass.CONTENT_BLOCKED,
    scope: 'none',
  },
  { name: 'answer-cut', applies: (e) => e.answer === 'cut', errorClass: ErrorClass.NETWORK, scope: 'none' },

  // A page of Google's front end or of a proxy: the API, and so the key, was never asked.
  {
    name: 'html-page',
    applies: both(isHtml, httpStatus(0, 200, 401, 403, 429)),
    errorClass: ErrorClass.UNKNOWN,
    scope: 'none',
  },

  // Sent without the key, or with two: the caller's own doing.
  {
    name: 'no-api-key-sent',
    applies: either(
      reason('CREDENTIALS_MISSING', 'ACCESS_TOKEN_SCOPE_INSUFFICIENT', 'OVERLOADED_CREDENTIALS'),
      begins(
        /^(?:API keys are not supported|Method doesn't allow unregistered callers|Multiple authentication credentials|Request is missing required authentication|The request is missing a valid API key)/,
      ),
    ),
    errorClass: ErrorClass.BAD_REQUEST,
    scope: 'none',
  },

  // Dead and suspended.
  {
    name: 'api-key-invalid',
    applies: either(
      reason('API_KEY_INVALID', 'ACCESS_TOKEN_TYPE_UNSUPPORTED', 'ACCESS_TOKEN_EXPIRED', 'ACCOUNT_STATE_INVALID'),
      begins(/^API key (?:not valid|not found|expired|invalid)/i),
    ),
    errorClass: ErrorClass.KEY_INVALID,
    scope: 'key',
  },
  {
    name: 'api-key-leaked',
    applies: begins(/^Your API key was reported as leaked/),
    errorClass: ErrorClass.KEY_SUSPENDED,
    scope: 'key',
  },
  {
    name: 'consumer-suspended',
    applies: either(
      reason('CONSUMER_SUSPENDED'),
      begins(/^Permission denied: Consumer '[^'\n]{1,200}' has been suspended/),
    ),
    errorClass: ErrorClass.KEY_SUSPENDED,
    scope: suspendedScope,
  },
  {
    name: 'project-denied',
    applies: either(reason('GCP_SUSPENDED'), begins(/^Your project has been denied access/)),
    errorClass: ErrorClass.KEY_SUSPENDED,
    scope: 'project',
  },

  // A resource of another project: every key of the right project would do.
  {
    name: 'resource-of-another-project',
    applies: both(
      httpStatus(0, 403),
      begins(/^(?:You do not have permission to access |Cached ?Content not found \(or permission denied\))/i),
    ),
    errorClass: ErrorClass.RESOURCE_MISMATCH,
    scope: 'none',
  },

  // Money.
  {
    name: 'spend-rate',
    applies: leadSays('spend-based rate limit'),
    errorClass: ErrorClass.SPEND_RATE_LIMITED,
    scope: 'project',
  },
  {
    name: 'money-gone',
    applies: leadSays('prepayment credits are depleted', 'monthly spending cap', 'monthly spending limit'),
    errorClass: ErrorClass.BILLING,
    scope: 'project',
  },
  {
    name: 'billing-disabled',
    applies: either(
      reason('BILLING_DISABLED'),
      httpStatus(402),
      begins(/^This API method requires billing to be enabled/),
    ),
    errorClass: ErrorClass.BILLING,
    scope: 'project',
  },
  {
    name: 'billed-users-only',
    applies: begins(/^[\w .-]{1,80} is only accessible to billed users/),
    errorClass: ErrorClass.BILLING,
    scope: 'project-model',
  },

  // Where the call came from.
  {
    name: 'location-unsupported',
    applies: begins(/^User location is not supported/),
    errorClass: ErrorClass.LOCATION,
    scope: 'none',
  },
  {
    name: 'no-free-tier-in-country',
    applies: begins(/^[\w .-]{0,80}free tier is not available in your country/i),
    errorClass: ErrorClass.LOCATION,
    scope: 'project',
  },

  // A precondition of money; after the free tier's, which also speaks of billing.
  {
    name: 'billing-precondition',
    applies: (e) =>
      (e.code === 'failed_precondition' || e.status === 'FAILED_PRECONDITION') && /\bbilling\b/.test(e.lead),
    errorClass: ErrorClass.BILLING,
    scope: 'project',
  },

  // What key and project may do.
  {
    name: 'api-blocked-for-key',
    applies: either(
      reason('API_KEY_SERVICE_BLOCKED'),
      begins(/^Requests to this API \S{1,200} method \S{1,200} are blocked/),
    ),
    errorClass: ErrorClass.PERMISSION,
    scope: 'key',
  },
  {
    name: 'host-blocked-for-key',
    applies: either(
      ({ reasons }) => reasons.some((found) => /^API_KEY_[A-Z_]{1,60}_BLOCKED$/.test(found)),
      begins(
        /^(?:Requests from (?:referer|this (?:Android|iOS) client)|The provided API key has an IP address restriction)/,
      ),
    ),
    errorClass: ErrorClass.PERMISSION,
    scope: 'key',
  },
  {
    name: 'api-off-for-project',
    applies: either(
      reason(
        'SERVICE_DISABLED',
        'CONSUMER_INVALID',
        'SERVICE_NOT_VISIBLE',
        'USER_PROJECT_DENIED',
        'RESOURCE_PROJECT_INVALID',
      ),
      begins(/^[\w .-]{1,80} has not been used in project /),
    ),
    errorClass: ErrorClass.PERMISSION,
    scope: 'project',
  },

  // A model that only older projects still have.
  {
    name: 'model-closed-to-new-users',
    applies: both(httpStatus(0, 404), ({ lead }) => lead.includes('no longer available to new users')),
    errorClass: ErrorClass.NOT_FOUND,
    scope: 'project-model',
  },

  // Everybody's trouble, whatever the status says.
  {
    name: 'model-overloaded',
    applies: either(
      reason('MODEL_CAPACITY_EXHAUSTED'),
      leadSays('error-code-429', 'no capacity available', 'model is overloaded', 'experiencing high demand'),
    ),
    errorClass: ErrorClass.OVERLOADED,
    scope: 'none',
  },

  // Quotas, the worst first.
  {
    name: 'quota-zero',
    applies: (_, limit) => limit?.zero === true,
    errorClass: ErrorClass.QUOTA_ZERO,
    scope: limitScope,
  },
  {
    name: 'quota-day',
    applies: (_, limit) => limit?.day === true,
    errorClass: ErrorClass.QUOTA_EXHAUSTED_DAY,
    scope: limitScope,
  },
  {
    name: 'quota-tokens',
    applies: (_, limit) => limit?.tokens === true,
    errorClass: ErrorClass.RATE_LIMITED_TOKENS,
    scope: limitScope,
  },
  {
    name: 'quota-minute',
    applies: (_, limit) => limit !== undefined,
    errorClass: ErrorClass.RATE_LIMITED_MINUTE,
    scope: limitScope,
  },

  // What the status alone says.
  { name: 'unauthenticated', applies: httpStatus(401), errorClass: ErrorClass.KEY_INVALID, scope: 'key' },
  { name: 'no-permission', applies: httpStatus(403), errorClass: ErrorClass.PERMISSION, scope: 'project-model' },
  { name: 'not-found', applies: httpStatus(404), errorClass: ErrorClass.NOT_FOUND, scope: 'none' },
  { name: 'timeout', applies: httpStatus(408, 504), errorClass: ErrorClass.TIMEOUT, scope: 'none' },
  { name: 'cancelled', applies: httpStatus(499), errorClass: ErrorClass.CANCELLED, scope: 'none' },
  {
    name: 'conflict',
    applies: both(httpStatus(409), (e) => e.status !== 'ALREADY_EXISTS'),
    errorClass: ErrorClass.SERVER_ERROR,
    scope: 'none',
  },
  { name: 'not-implemented', applies: httpStatus(501), errorClass: ErrorClass.BAD_REQUEST, scope: 'none' },
  { name: 'unavailable', applies: httpStatus(503), errorClass: ErrorClass.OVERLOADED, scope: 'none' },
  { name: 'server-error', applies: (e) => e.httpStatus >= 500, errorClass: ErrorClass.SERVER_ERROR, scope: 'none' },
  { name: 'bad-request', applies: (e) => e.httpStatus >= 400, errorClass: ErrorClass.BAD_REQUEST, scope: 'none' },
];
