import { describe, expect, test } from 'vitest';
import { classify } from '../../src/gemini/classify.ts';
import { errorInfo, judged, providerError, quotaFailure, restBody } from './provider-errors.ts';

/** Failures beside the recorded ones, with where they were published. Numbers and names of people's projects are replaced. */
interface Published {
  name: string;
  source: string;
  httpStatus: number;
  body: string;
  expected: string;
  rule: string;
}

const ERROR_REASONS = 'https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto';
const API_ERRORS = 'https://ai.google.dev/gemini-api/docs/api-errors';
const TROUBLESHOOTING = 'https://ai.google.dev/gemini-api/docs/troubleshooting';

const interaction = (code: string, message: string): string => JSON.stringify({ error: { code, message } });
const BOILERPLATE =
  'You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.';

const PUBLISHED: readonly Published[] = [
  // What the Interactions API documents.
  ...(
    [
      [400, 'invalid_request', 'BAD_REQUEST none', 'bad-request'],
      [400, 'parameter_unknown', 'BAD_REQUEST none', 'bad-request'],
      [400, 'failed_precondition', 'BAD_REQUEST none', 'bad-request'],
      [416, 'out_of_range', 'BAD_REQUEST none', 'bad-request'],
      [401, 'authentication', 'KEY_INVALID key', 'unauthenticated'],
      [402, 'payment_required', 'BILLING project', 'money-gone'],
      [403, 'permission_denied', 'PERMISSION project-model', 'no-permission'],
      [404, 'not_found', 'NOT_FOUND none', 'not-found'],
      [404, 'model_not_found', 'NOT_FOUND none', 'not-found'],
      [409, 'already_exists', 'BAD_REQUEST none', 'bad-request'],
      [409, 'aborted', 'SERVER_ERROR none', 'conflict'],
      [429, 'rate_limit_exceeded', 'RATE_LIMITED_MINUTE project-model', 'quota-minute'],
      [429, 'quota_exceeded', 'QUOTA_EXHAUSTED_DAY project-model', 'quota-day'],
      [429, 'too_many_requests', 'RATE_LIMITED_MINUTE project-model', 'quota-minute'],
      [499, 'cancelled', 'CANCELLED none', 'cancelled'],
      [500, 'api_error', 'SERVER_ERROR none', 'server-error'],
      [501, 'unimplemented', 'BAD_REQUEST none', 'not-implemented'],
      [503, 'service_unavailable', 'OVERLOADED none', 'unavailable'],
      [504, 'deadline_exceeded', 'TIMEOUT none', 'timeout'],
    ] as const
  ).map(([httpStatus, code, expected, rule]) => ({
    name: `interactions code ${code}`,
    source: API_ERRORS,
    httpStatus,
    body: interaction(code, 'Something went wrong.'),
    expected,
    rule,
  })),

  ...[
    'safety',
    'recitation',
    'language',
    'prohibited_content',
    'spii',
    'blocklist',
    'image_safety',
    'image_prohibited_content',
    'image_recitation',
    'image_other',
    'content_blocked',
    'malformed_function_call',
    'malformed_tool_call',
    'unexpected_tool_call',
    'too_many_tool_calls',
    'missing_thought_signature',
    'no_image',
  ].map((code) => ({
    name: `interactions code ${code}`,
    source: API_ERRORS,
    httpStatus: 400,
    body: interaction(code, 'The request was blocked.'),
    expected: 'CONTENT_BLOCKED none',
    rule: 'content-blocked',
  })),

  // The reasons of google.api.ErrorReason.
  ...(
    [
      [403, 'SECURITY_POLICY_VIOLATED', 'PERMISSION project', 'organization-policy'],
      [403, 'ORG_RESTRICTION_VIOLATION', 'PERMISSION project', 'organization-policy'],
      [403, 'RESOURCE_USAGE_RESTRICTION_VIOLATED', 'PERMISSION project', 'organization-policy'],
      [400, 'ORG_RESTRICTION_HEADER_INVALID', 'BAD_REQUEST none', 'no-api-key-sent'],
      [400, 'SYSTEM_PARAMETER_UNSUPPORTED', 'BAD_REQUEST none', 'no-api-key-sent'],
      [401, 'SESSION_COOKIE_INVALID', 'BAD_REQUEST none', 'no-api-key-sent'],
      [403, 'ACCESS_TOKEN_SCOPE_INSUFFICIENT', 'BAD_REQUEST none', 'no-api-key-sent'],
      [401, 'ACCESS_TOKEN_EXPIRED', 'KEY_INVALID key', 'api-key-invalid'],
      [403, 'ACCOUNT_STATE_INVALID', 'KEY_INVALID key', 'api-key-invalid'],
      [403, 'USER_BLOCKED_BY_ADMIN', 'PERMISSION key', 'api-blocked-for-key'],
      [403, 'LOCATION_POLICY_VIOLATED', 'LOCATION project', 'location-policy'],
      [403, 'LOCATION_TAX_POLICY_VIOLATED', 'LOCATION project', 'location-policy'],
      [403, 'SERVICE_NOT_VISIBLE', 'PERMISSION project', 'api-off-for-project'],
      [403, 'USER_PROJECT_DENIED', 'PERMISSION project', 'api-off-for-project'],
      [403, 'GCP_SUSPENDED', 'KEY_SUSPENDED project', 'project-denied'],
    ] as const
  ).map(([httpStatus, reason, expected, rule]) => ({
    name: `reason ${reason}`,
    source: ERROR_REASONS,
    httpStatus,
    body: restBody(httpStatus, 'PERMISSION_DENIED', 'The request is denied.', errorInfo(reason)),
    expected,
    rule,
  })),

  {
    name: 'a service perimeter',
    source: 'https://github.com/cloudquery/cloudquery/issues/1062',
    httpStatus: 403,
    body: restBody(
      403,
      'PERMISSION_DENIED',
      "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: eYhDkfYCu",
      {
        '@type': 'type.googleapis.com/google.rpc.PreconditionFailure',
        violations: [{ type: 'VPC_SERVICE_CONTROLS', description: 'eYhDkfYCu' }],
      },
    ),
    expected: 'PERMISSION project',
    rule: 'organization-policy',
  },
  {
    name: 'a key for another Android app',
    source: 'https://github.com/leonboe1/GoogleFindMyTools/issues/90',
    httpStatus: 403,
    body: restBody(403, 'PERMISSION_DENIED', 'Requests from this Android client application <empty> are blocked.'),
    expected: 'PERMISSION key',
    rule: 'host-blocked-for-key',
  },
  {
    name: 'a project that is not there, without details',
    source: 'https://github.com/Kilo-Org/kilocode/issues/2838',
    httpStatus: 403,
    body: restBody(403, 'PERMISSION_DENIED', 'Permission denied on resource project default.'),
    expected: 'PERMISSION project',
    rule: 'api-off-for-project',
  },
  {
    name: 'a violation of the terms',
    source: 'https://github.com/google-gemini/gemini-cli/issues/19501',
    httpStatus: 403,
    body: restBody(
      403,
      'PERMISSION_DENIED',
      'This service has been disabled in this account for violation of Terms of\n\t\tService.',
    ),
    expected: 'KEY_SUSPENDED project',
    rule: 'project-denied',
  },
  {
    name: 'a role that lacks a permission',
    source: 'https://github.com/google-gemini/gemini-cli/issues/17002',
    httpStatus: 403,
    body: restBody(
      403,
      'PERMISSION_DENIED',
      "Permission 'x.y.generateChat' denied on resource '//x.googleapis.com/projects/p/locations/global' (or it may not exist).",
      errorInfo('IAM_PERMISSION_DENIED', { resource: 'projects/p/locations/global' }),
    ),
    expected: 'PERMISSION project-model',
    rule: 'no-permission',
  },
  {
    name: 'a file of another key, in the words of the older SDK',
    source: 'https://github.com/google-gemini/deprecated-generative-ai-js/issues/236',
    httpStatus: 0,
    body: '[GoogleGenerativeAI Error]: Error fetching from https://generativelanguage.googleapis.com/v1beta/files/x: [403 Forbidden] You do not have permission to access the File x or it may not exist.',
    expected: 'RESOURCE_MISMATCH none',
    rule: 'resource-of-another-project',
  },
  {
    name: 'a tuned model of another project',
    source: TROUBLESHOOTING,
    httpStatus: 403,
    body: restBody(403, 'PERMISSION_DENIED', 'You do not have permission to access tuned model tunedModels/mine.'),
    expected: 'RESOURCE_MISMATCH none',
    rule: 'resource-of-another-project',
  },
  {
    name: 'a file that is not ready',
    source: 'https://github.com/expectedparrot/edsl/issues/1907',
    httpStatus: 400,
    body: restBody(
      400,
      'FAILED_PRECONDITION',
      'The File 4d21d8wxg1pe is not in an ACTIVE state and usage is not allowed.',
    ),
    expected: 'BAD_REQUEST none',
    rule: 'bad-request',
  },
  {
    name: 'a file that someone called billing',
    source: 'https://github.com/expectedparrot/edsl/issues/1907',
    httpStatus: 400,
    body: restBody(400, 'FAILED_PRECONDITION', 'The File billing is not in an ACTIVE state and usage is not allowed.'),
    expected: 'BAD_REQUEST none',
    rule: 'bad-request',
  },
  {
    name: 'too many tokens',
    source: 'https://github.com/google-gemini/gemini-cli/issues/15184',
    httpStatus: 400,
    body: restBody(
      400,
      'INVALID_ARGUMENT',
      'The input token count exceeds the maximum number of tokens allowed 1048576.',
    ),
    expected: 'BAD_REQUEST none',
    rule: 'bad-request',
  },
  {
    name: 'a field that is missing',
    source: 'https://github.com/boldsoftware/sketch/issues/68',
    httpStatus: 400,
    body: restBody(
      400,
      'INVALID_ARGUMENT',
      "* GenerateContentRequest.contents[33].parts[0].data: required oneof field 'data' must have one initialized field\n",
    ),
    expected: 'BAD_REQUEST none',
    rule: 'bad-request',
  },
  {
    name: 'a bad request that a gateway wrapped',
    source: 'https://github.com/lbjlaq/Antigravity-Manager/issues/1942',
    httpStatus: 400,
    body: JSON.stringify({
      error: {
        code: 400,
        message: restBody(400, 'INVALID_ARGUMENT', 'Request contains an invalid argument.'),
        status: 'UPSTREAM_ERROR',
      },
    }),
    expected: 'BAD_REQUEST none',
    rule: 'bad-request',
  },
  {
    name: 'no quota of three kinds, by violations without values',
    source: 'https://github.com/google-gemini/gemini-cli/issues/8437',
    httpStatus: 0,
    body: `429 RESOURCE_EXHAUSTED. {'error': {'code': 429, 'message': '${BOILERPLATE}', 'status': 'RESOURCE_EXHAUSTED', 'details': [{'@type': 'type.googleapis.com/google.rpc.QuotaFailure', 'violations': [{'quotaMetric': 'generativelanguage.googleapis.com/generate_content_free_tier_input_token_count', 'quotaId': 'GenerateContentInputTokensPerModelPerMinute-FreeTier', 'quotaDimensions': {'location': 'global', 'model': 'gemini-2.5-flash-preview-image'}}, {'quotaMetric': 'generativelanguage.googleapis.com/generate_content_free_tier_requests', 'quotaId': 'GenerateRequestsPerMinutePerProjectPerModel-FreeTier', 'quotaDimensions': {'location': 'global', 'model': 'gemini-2.5-flash-preview-image'}}]}]}}`,
    expected: 'QUOTA_ZERO project-model',
    rule: 'quota-zero',
  },
  {
    name: 'no quota, by a gateway with its own status and code',
    source: 'https://github.com/hcfyapp/crx-selection-translate/issues/2336',
    httpStatus: 500,
    body: JSON.stringify({
      error: {
        message: `${BOILERPLATE}\n* Quota exceeded for metric: x.y.com/generate_content_free_tier_requests, limit: 0\nPlease retry in 53.630111629s.`,
        type: 'upstream_error',
        param: '',
        code: 429,
      },
    }),
    expected: 'QUOTA_ZERO project-model',
    rule: 'quota-zero',
  },
  {
    name: 'no quota in a region, in the text format of Protocol Buffers',
    source: 'https://github.com/home-assistant/core/issues/132832',
    httpStatus: 0,
    body: `429 Quota exceeded for quota metric 'Generate Content API requests per minute' and limit 'GenerateContent request limit per minute for a region' of service 'generativelanguage.googleapis.com' for consumer 'project_number:100000000012'. [reason: "RATE_LIMIT_EXCEEDED" domain: "googleapis.com" metadata { key: "service" value: "generativelanguage.googleapis.com" } metadata { key: "quota_metric" value: "generativelanguage.googleapis.com/generate_content_requests" } metadata { key: "quota_limit" value: "GenerateContentRequestsPerMinutePerProjectPerRegion" } metadata { key: "quota_limit_value" value: "0" } metadata { key: "consumer" value: "projects/100000000012" } ]`,
    expected: 'QUOTA_ZERO project',
    rule: 'quota-zero',
  },
  {
    name: 'a spent day in the text format of Protocol Buffers',
    source: 'https://github.com/google/generative-ai-docs/issues/438',
    httpStatus: 0,
    body: `google.api_core.exceptions.ResourceExhausted: 429 ${BOILERPLATE} [violations {\n  quota_metric: "generativelanguage.googleapis.com/generate_content_free_tier_requests"\n  quota_id: "GenerateRequestsPerDayPerProjectPerModel-FreeTier"\n  quota_dimensions {\n    key: "model"\n    value: "gemini-2.0-flash"\n  }\n  quota_value: 200\n}\n, links {\n  description: "Learn more"\n  url: "https://ai.google.dev"\n}\n, retry_delay {\n  seconds: 19\n}\n]`,
    expected: 'QUOTA_EXHAUSTED_DAY project-model',
    rule: 'quota-day',
  },
  {
    name: 'a bad key in the text format of Protocol Buffers',
    source: 'https://github.com/google/generative-ai-docs/issues/438',
    httpStatus: 0,
    body: 'google.api_core.exceptions.InvalidArgument: 400 API key not valid. Please pass a valid API key. [reason: "API_KEY_INVALID"\ndomain: "googleapis.com"\n]',
    expected: 'KEY_INVALID key',
    rule: 'api-key-invalid',
  },
  {
    name: 'billing that is off, without details',
    source: ERROR_REASONS,
    httpStatus: 403,
    body: restBody(403, 'PERMISSION_DENIED', 'This API method requires billing to be enabled. Please enable billing.'),
    expected: 'BILLING project',
    rule: 'billing-disabled',
  },
  {
    name: 'a day of a user, by the words of the older form',
    source: 'https://github.com/google-gemini/gemini-cli/issues/2336',
    httpStatus: 429,
    body: restBody(
      429,
      'RESOURCE_EXHAUSTED',
      "Quota exceeded for quota metric 'Gemini 2.5 Pro Requests' and limit 'Gemini 2.5 Pro Requests per day per user per tier' of service 'cloudcode-pa.googleapis.com' for consumer 'project_number:100000000011'.",
    ),
    expected: 'QUOTA_EXHAUSTED_DAY project-model',
    rule: 'quota-day',
  },
  {
    name: 'a minute of a base model',
    source: 'https://github.com/langchain-ai/langchain-google/issues/355',
    httpStatus: 429,
    body: '429 Quota exceeded for aiplatform.googleapis.com/generate_content_requests_per_minute_per_project_per_base_model with base model: text-unicorn. Please submit a quota increase request.',
    expected: 'RATE_LIMITED_MINUTE project-model',
    rule: 'quota-minute',
  },
  {
    name: 'shared capacity, with the older list of errors',
    source: 'https://github.com/google-gemini/gemini-cli/issues/14831',
    httpStatus: 429,
    body: JSON.stringify([
      {
        error: {
          code: 429,
          message:
            'Resource exhausted. Please try again later. Please refer to\n  https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.',
          errors: [{ message: 'Resource exhausted.', domain: 'global', reason: 'rateLimitExceeded' }],
          status: 'RESOURCE_EXHAUSTED',
        },
      },
    ]),
    expected: 'OVERLOADED none',
    rule: 'model-overloaded',
  },
  {
    name: 'a quota that only links to help',
    source: 'https://github.com/googleapis/python-genai/issues/1427',
    httpStatus: 429,
    body: restBody(429, 'RESOURCE_EXHAUSTED', BOILERPLATE, {
      '@type': 'type.googleapis.com/google.rpc.Help',
      links: [{ description: 'Learn more about Gemini API quotas' }],
    }),
    expected: 'RATE_LIMITED_MINUTE project-model',
    rule: 'quota-minute',
  },
  {
    name: 'a location where only billing helps',
    source: TROUBLESHOOTING,
    httpStatus: 400,
    body: restBody(
      400,
      'FAILED_PRECONDITION',
      'User location is not supported for the API use without a billing account linked.',
    ),
    expected: 'LOCATION project',
    rule: 'location-needs-billing',
  },
  {
    name: 'a country without image generation',
    source: TROUBLESHOOTING,
    httpStatus: 400,
    body: restBody(400, 'FAILED_PRECONDITION', 'Image generation is not available in your country.'),
    expected: 'LOCATION none',
    rule: 'location-unsupported',
  },
  {
    name: 'a page of Google’s front end',
    source: 'https://github.com/Taewan-P/gpt_mobile/issues/203',
    httpStatus: 403,
    body: '<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n  <meta name=viewport content="initial-scale=1">\n  <title>Error 403 (Forbidden)!!1</title>',
    expected: 'UNKNOWN none',
    rule: 'host-blocked-page',
  },
  {
    name: 'a page of a bad request',
    source: 'https://github.com/NousResearch/hermes-agent/issues/26161',
    httpStatus: 0,
    body: '<html><title>Error 400 (Bad Request)!!1</title></html>',
    expected: 'BAD_REQUEST none',
    rule: 'bad-request',
  },
  {
    name: 'a live session that was sent something odd',
    source: 'https://github.com/googleapis/python-genai/issues/182',
    httpStatus: 0,
    body: "received 1008 (policy violation) Request trace id: 5abe86...: application/json isn't supported; then sent 1008 (policy violation)",
    expected: 'BAD_REQUEST none',
    rule: 'live-refused',
  },
  {
    name: 'a live session that broke',
    source: 'https://github.com/livekit/agents/issues/2274',
    httpStatus: 0,
    body: 'websockets.exceptions.ConnectionClosedError: received 1011 (internal error) Internal error occurred.; then sent 1011 (internal error) Internal error occurred.',
    expected: 'SERVER_ERROR none',
    rule: 'live-internal',
  },
  {
    name: 'a live session with an expired key',
    source: 'https://github.com/yagudaev/voiceclaw/pull/155',
    httpStatus: 0,
    body: 'Live connection closed before setup completed (code 1007): Request trace id: ab12: API key expired. Please renew the API key.',
    expected: 'KEY_INVALID key',
    rule: 'api-key-invalid',
  },
];

describe('a published failure', () => {
  test.each(PUBLISHED)('$name is $expected', ({ httpStatus, body, expected, rule }) => {
    expect(judged({ httpStatus, body })).toBe(expected);
    expect(classify(providerError({ httpStatus, body })).rule).toBe(rule);
  });

  test.each(PUBLISHED.filter(({ body }) => body.startsWith('{"error":{"code":"')))(
    '$name is known by its code alone',
    ({ body, expected }) => expect(judged({ body, httpStatus: 200 })).toBe(expected),
  );

  test.each(PUBLISHED.filter(({ body }) => body.startsWith('{')))(
    '$name is the same within what @google/genai makes of an answer that is no JSON',
    ({ httpStatus, body, expected }) => {
      const wrapped = JSON.stringify({ error: { message: body, code: httpStatus, status: 'Too Many Requests' } });
      // A gateway's status is not that of the error.
      if (httpStatus !== 500 && httpStatus !== 416) expect(judged({ httpStatus, body: wrapped })).toBe(expected);
    },
  );
});

test('the text format of Protocol Buffers tells limits, delay and project', () => {
  const [zero, day] = PUBLISHED.filter(({ name }) => name.endsWith('text format of Protocol Buffers'));
  expect(classify(providerError({ body: zero!.body })).project).toBe('100000000012');
  expect(classify(providerError({ body: day!.body }))).toMatchObject({
    retryDelayMs: 19_000,
    limits: [{ name: 'requestsPerDay', value: 200, model: 'gemini-2.0-flash' }],
  });
});

/** What proxies and front ends say in the place of Gemini: nothing that blames a key. */
describe('an answer that is not Gemini’s', () => {
  const page = (title: string): string => `<html>\r\n<head><title>${title}</title></head>\r\n<body>nginx</body></html>`;
  test.each([
    [400, page('400 Request Header Or Cookie Too Large'), 'BAD_REQUEST none'],
    [401, page('401 Authorization Required'), 'UNKNOWN none'],
    [403, page('403 Forbidden'), 'UNKNOWN none'],
    [404, page('404 Not Found'), 'NOT_FOUND none'],
    [405, page('405 Not Allowed'), 'BAD_REQUEST none'],
    [407, '', 'BAD_REQUEST none'],
    [413, page('413 Request Entity Too Large'), 'BAD_REQUEST none'],
    [414, page('414 Request-URI Too Large'), 'BAD_REQUEST none'],
    [417, '', 'BAD_REQUEST none'],
    [421, page('421 Misdirected Request'), 'NETWORK none'],
    [425, '', 'NETWORK none'],
    [429, page('429 Too Many Requests'), 'UNKNOWN none'],
    [451, '', 'LOCATION none'],
    [499, '', 'CANCELLED none'],
    [502, page('502 Bad Gateway'), 'SERVER_ERROR none'],
    [503, page('503 Service Temporarily Unavailable'), 'OVERLOADED none'],
    [504, page('504 Gateway Time-out'), 'TIMEOUT none'],
    [520, page('520: Web server is returning an unknown error'), 'SERVER_ERROR none'],
    [524, page('524: A timeout occurred'), 'TIMEOUT none'],
    [502, '{"detail":"Bad Gateway"}', 'SERVER_ERROR none'],
    [429, '{"error":"rate limited"}', 'RATE_LIMITED_MINUTE project-model'],
    [503, 'upstream connect error or disconnect/reset before headers. reset reason: overflow', 'OVERLOADED none'],
    [500, 'Internal Server Error', 'SERVER_ERROR none'],
    [400, '{"detail":[{"loc":["body"],"msg":"field required","type":"value_error.missing"}]}', 'BAD_REQUEST none'],
    [0, page('504 Gateway Time-out'), 'TIMEOUT none'],
  ])('%i %s', (httpStatus, body, expected) => expect(judged({ httpStatus, body })).toBe(expected));
});

describe('what lies behind the scope', () => {
  test.each([
    ['billing-account', 429, restBody(429, 'RESOURCE_EXHAUSTED', 'You exceeded your spend-based rate limit.')],
    ['billing-account', 429, restBody(429, 'RESOURCE_EXHAUSTED', 'Your prepayment credits are depleted.')],
    ['billing-account', 402, interaction('payment_required', 'Prepaid balance used up.')],
    ['calling-host', 400, restBody(400, 'FAILED_PRECONDITION', 'User location is not supported for the API use.')],
    ['calling-host', 429, "<html><head><title>Sorry...</title></head><body>We're sorry...</body></html>"],
    [undefined, 403, restBody(403, 'PERMISSION_DENIED', 'Billing is off.', errorInfo('BILLING_DISABLED'))],
    [undefined, 429, restBody(429, 'RESOURCE_EXHAUSTED', BOILERPLATE, quotaFailure({ quotaId: 'XPerDay' }))],
    [undefined, 401, '<html><title>401</title></html>'],
  ])('is %s for %i %s', (beyond, httpStatus, body) => {
    expect(classify(providerError({ httpStatus, body })).beyond).toBe(beyond);
  });
});
