import { ErrorClass } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { begins, beginsRefusal, both, either, httpStatus, leadSays, noStatusBut, type Rule, reason } from './rule.ts';
import { suspendedScope } from './suspended-scope.ts';

/** Why key or project were refused: by ErrorInfo reasons and telling messages, whatever the status. In the order in which they are asked. */
export const REFUSAL_RULES: readonly Rule[] = [
  // Sent without the key, with two, or with what the API does not take: the caller's own doing.
  {
    name: 'no-api-key-sent',
    because: 'the request came without an API key, with two credentials or with one that this API does not take',
    applies: either(
      reason(
        'CREDENTIALS_MISSING',
        'ACCESS_TOKEN_SCOPE_INSUFFICIENT',
        'OVERLOADED_CREDENTIALS',
        'MISSING_ORIGIN',
        'SESSION_COOKIE_INVALID',
        'SYSTEM_PARAMETER_UNSUPPORTED',
        'ORG_RESTRICTION_HEADER_INVALID',
      ),
      begins(
        /^(?:API keys are not supported|Method doesn't allow unregistered callers|Multiple authentication credentials|Request is missing required authentication|Request had insufficient authentication scopes|The request is missing a valid API key)/,
      ),
    ),
    errorClass: ErrorClass.BAD_REQUEST,
    scope: 'none',
  },

  // Dead and suspended.
  {
    name: 'api-key-invalid',
    because:
      'ErrorInfo reason API_KEY_INVALID (or an ACCESS_TOKEN reason), or a message that is "API key not valid", "not found" or "expired"',
    applies: either(
      reason('API_KEY_INVALID', 'ACCESS_TOKEN_TYPE_UNSUPPORTED', 'ACCESS_TOKEN_EXPIRED', 'ACCOUNT_STATE_INVALID'),
      beginsRefusal(/^API key (?:not valid|not found|expired|invalid)\b/i),
      // In a 400 all there is in the message: where it repeats a request, something else comes before or behind.
      begins(
        /^API key (?:not valid|not found|expired|invalid)(?:\.|\. (?:Please|Make sure|See|Learn) [^"'`{\n.]{1,100}\.?)?$/i,
      ),
    ),
    errorClass: ErrorClass.KEY_INVALID,
    scope: 'key',
  },
  {
    name: 'api-key-leaked',
    because: 'the message begins "Your API key was reported as leaked"',
    applies: beginsRefusal(/^Your API key was reported as leaked/),
    errorClass: ErrorClass.KEY_SUSPENDED,
    scope: 'key',
  },
  {
    name: 'consumer-suspended',
    because:
      'ErrorInfo reason CONSUMER_SUSPENDED, or a message "Consumer ... has been suspended", which names the key or the project',
    applies: either(
      reason('CONSUMER_SUSPENDED'),
      beginsRefusal(/^Permission denied: Consumer '[^'\n]{1,200}' has been suspended/),
    ),
    errorClass: ErrorClass.KEY_SUSPENDED,
    scope: suspendedScope,
  },
  {
    name: 'project-denied',
    because:
      'ErrorInfo reason GCP_SUSPENDED or TOS_VIOLATION, or a message that begins "Your project has been denied access"',
    applies: either(
      reason('GCP_SUSPENDED', 'TOS_VIOLATION'),
      beginsRefusal(
        /^(?:Your project has been denied access|This service has been disabled in this account for violation)/,
      ),
    ),
    errorClass: ErrorClass.KEY_SUSPENDED,
    scope: 'project',
  },

  // A resource of another project: every key of the right project would do.
  {
    name: 'resource-of-another-project',
    because: 'a 403 that begins "You do not have permission to access" a file, cache or tuned model',
    applies: both(
      noStatusBut(403),
      begins(
        /^(?:You do not have permission to access (?!(?:this|the) (?:API|project|service)\b)|Cached ?Content not found \(or permission denied\))/i,
      ),
    ),
    errorClass: ErrorClass.RESOURCE_MISMATCH,
    scope: 'none',
  },

  // Money.
  {
    name: 'spend-rate',
    because: 'the message speaks of the spend-based rate limit, which the billing account has',
    applies: leadSays('spend-based rate limit'),
    errorClass: ErrorClass.SPEND_RATE_LIMITED,
    scope: 'project',
    beyond: 'billing-account',
  },
  {
    name: 'money-gone',
    because:
      'the message says that prepaid credits or the monthly spending cap are used up, which the billing account has',
    applies: either(
      leadSays(
        'prepayment credit',
        'prepaid credit',
        'credits are depleted',
        'spending cap',
        'spending limit',
        'spend cap',
      ),
      httpStatus(402),
    ),
    errorClass: ErrorClass.BILLING,
    scope: 'project',
    beyond: 'billing-account',
  },
  {
    name: 'billing-disabled',
    because: 'ErrorInfo reason BILLING_DISABLED, or a 403 that says that billing is not enabled',
    applies: either(
      reason('BILLING_DISABLED'),
      both(noStatusBut(403), ({ lead }) =>
        /\b(?:enable|requires?|without) billing\b|\bbilling (?:account )?(?:is|has|must|to be|not)\b/.test(lead),
      ),
    ),
    errorClass: ErrorClass.BILLING,
    scope: 'project',
  },
  {
    name: 'billed-users-only',
    because: 'the message says that the model is only accessible to billed users',
    applies: begins(
      /^(?:Imagen|Veo|Lyria|Gemini|(?:This|The) (?:model|API|feature))\b[\w .-]{0,60} is only accessible to billed users/,
    ),
    errorClass: ErrorClass.BILLING,
    scope: 'project-model',
  },

  // Where the call came from.
  {
    name: 'location-needs-billing',
    because: 'the message says that in this country only projects with billing may call',
    applies: begins(
      /^(?:(?:The )?(?:Gemini|Google)[\w .-]{0,60} free tier is not available in your country|User location is not supported for the API use without a billing account)/i,
    ),
    errorClass: ErrorClass.LOCATION,
    scope: 'project',
  },
  {
    name: 'location-unsupported',
    because: 'the message says that the place of the calling host is not supported',
    applies: either(
      begins(
        /^(?:User location is not supported|(?!The File|Invalid|Unsupported|Unknown)[\w .-]{1,80} (?:is|are) not (?:available|supported) in your (?:country|region|location))/,
      ),
      httpStatus(451),
    ),
    errorClass: ErrorClass.LOCATION,
    scope: 'none',
    beyond: 'calling-host',
  },
  {
    name: 'location-policy',
    because: 'ErrorInfo reason LOCATION_POLICY_VIOLATED or LOCATION_TAX_POLICY_VIOLATED',
    applies: reason('LOCATION_POLICY_VIOLATED', 'LOCATION_TAX_POLICY_VIOLATED', 'LOCATION_ORG_POLICY_VIOLATED'),
    errorClass: ErrorClass.LOCATION,
    scope: 'project',
  },

  // A precondition of money; after the country's, which also speaks of billing. A file's name may do so, too.
  {
    name: 'billing-precondition',
    because: 'a failed precondition whose message speaks of billing',
    applies: ({ code, status, lead }) =>
      (code === 'failed_precondition' || status === 'FAILED_PRECONDITION') &&
      /\bbilling\b/.test(lead) &&
      !/^the (?:file|cached)/.test(lead),
    errorClass: ErrorClass.BILLING,
    scope: 'project',
  },

  // What key and project may do.
  {
    name: 'api-blocked-for-key',
    because: 'ErrorInfo reason API_KEY_SERVICE_BLOCKED, or a message that requests to this API are blocked',
    applies: either(
      reason('API_KEY_SERVICE_BLOCKED', 'USER_BLOCKED_BY_ADMIN'),
      beginsRefusal(/^Requests to this API \S{1,200} method \S{1,200} are blocked/),
    ),
    errorClass: ErrorClass.PERMISSION,
    scope: 'key',
  },
  {
    name: 'host-blocked-for-key',
    because:
      'ErrorInfo reason API_KEY_..._BLOCKED, or a message that the key is restricted to other websites, addresses or apps',
    applies: either(
      ({ reasons }) => reasons.some((found) => /^API_KEY_[A-Z_]{1,60}_BLOCKED$/.test(found)),
      beginsRefusal(
        /^(?:Requests from (?:referer|this (?:Android|iOS) client)|The provided API key has an IP address restriction)/,
      ),
    ),
    errorClass: ErrorClass.PERMISSION,
    scope: 'key',
  },
  {
    name: 'api-off-for-project',
    because:
      'ErrorInfo reason SERVICE_DISABLED, CONSUMER_INVALID or the like, or a message that the API "has not been used in project ..."',
    applies: either(
      reason(
        'SERVICE_DISABLED',
        'CONSUMER_INVALID',
        'SERVICE_NOT_VISIBLE',
        'USER_PROJECT_DENIED',
        'RESOURCE_PROJECT_INVALID',
      ),
      beginsRefusal(/^(?:[\w .-]{1,80} has not been used in project |Permission denied on resource project )/),
    ),
    errorClass: ErrorClass.PERMISSION,
    scope: 'project',
  },
  {
    name: 'organization-policy',
    because:
      'ErrorInfo reason SECURITY_POLICY_VIOLATED or ORG_RESTRICTION_VIOLATION, or a message that the organization’s policy prohibits the request',
    applies: either(
      reason('SECURITY_POLICY_VIOLATED', 'ORG_RESTRICTION_VIOLATION', 'RESOURCE_USAGE_RESTRICTION_VIOLATED'),
      beginsRefusal(/^Request is prohibited by organization['’]s policy/),
    ),
    errorClass: ErrorClass.PERMISSION,
    scope: 'project',
  },
];
