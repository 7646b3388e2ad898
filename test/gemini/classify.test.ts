import { describe, expect, test } from 'vitest';
import { classify } from '../../src/gemini/classify.ts';
import { plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, TransportFailure } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { SAMPLES, textOf } from './error-samples.ts';
import { className, errorInfo, judged, providerError, quotaFailure, restBody, retryInfo } from './provider-errors.ts';

const nested = (text: string, code = 0): string =>
  JSON.stringify({ error: { message: text, code, status: 'Whatever' } });
const event = (text: string): string => `event: message\ndata: {"candidates":[]}\n\ndata: ${text}\n\n`;

/** How a body may arrive. Those that only a JSON body can have say so. */
const WRAPPINGS: readonly { name: string; jsonOnly: boolean; wrap(text: string): string }[] = [
  { name: 'as it is', jsonOnly: false, wrap: (text) => text },
  { name: 'after blanks', jsonOnly: false, wrap: (text) => `\n  ${text}\n` },
  { name: 'in an array', jsonOnly: true, wrap: (text) => `[${text}]` },
  { name: 'in the message of an error', jsonOnly: false, wrap: (text) => nested(text) },
  { name: 'in messages, two deep', jsonOnly: false, wrap: (text) => nested(nested(text)) },
  { name: 'in an array in a message', jsonOnly: true, wrap: (text) => nested(`[${text}]`) },
  { name: 'as a JSON string', jsonOnly: false, wrap: (text) => JSON.stringify(text) },
  { name: 'in an event stream', jsonOnly: true, wrap: event },
  { name: 'in an array in an event stream', jsonOnly: true, wrap: (text) => event(`[${text}]`) },
  { name: 'in an event stream in a message', jsonOnly: true, wrap: (text) => nested(event(text)) },
  { name: 'after "got status"', jsonOnly: true, wrap: (text) => `got status: UNAVAILABLE. ${text}` },
  { name: 'after the name of an error', jsonOnly: true, wrap: (text) => `ApiError: ${text}` },
  { name: 'after status and code', jsonOnly: true, wrap: (text) => `429 RESOURCE_EXHAUSTED. ${text}` },
  { name: 'followed by more', jsonOnly: true, wrap: (text) => `${text}\n    at somewhere` },
];

describe('a recorded failure', () => {
  test('is there 48 times', () => expect(SAMPLES).toHaveLength(48));

  for (const sample of SAMPLES) {
    test(`${sample.name} is ${className(sample.errorClass)} of ${sample.scope}, however it is wrapped`, () => {
      const isJson = typeof sample.body !== 'string';
      for (const { name, jsonOnly, wrap } of WRAPPINGS) {
        if (jsonOnly && !isJson) continue;
        const found = judged({ body: wrap(textOf(sample)), httpStatus: sample.httpStatus });
        expect(`${name}: ${found}`).toBe(`${name}: ${className(sample.errorClass)} ${sample.scope}`);
      }
    });

    test(`${sample.name} is judged alike without its HTTP status, where the body says it`, () => {
      if (sample.httpStatus === 0 || typeof sample.body === 'string') return;
      const found = judged({ body: textOf(sample) });
      expect(found).toBe(`${className(sample.errorClass)} ${sample.scope}`);
    });
  }
});

interface RestError {
  code: unknown;
  message: string;
  status: string;
  details?: { reason?: string; violations?: RestViolation[] }[];
}

interface RestViolation {
  quotaMetric: string;
  quotaId: string;
  quotaValue?: string;
  quotaDimensions?: string | Record<string, string>;
}

function errorIn(body: unknown): RestError | undefined {
  return typeof body === 'object' ? (body as { error?: RestError }).error : undefined;
}

describe('a failure that a client states in fields alone', () => {
  for (const sample of SAMPLES) {
    const error = errorIn(sample.body);
    if (typeof error?.code !== 'number' || error.message.startsWith('{')) continue;
    test(`${sample.name} is judged as with its body`, () => {
      const details = error.details ?? [];
      const init = {
        httpStatus: sample.httpStatus,
        status: error.status,
        message: error.message,
        reason: details.find((detail) => detail.reason !== undefined)?.reason ?? '',
        quotaViolations: details
          .flatMap((detail) => detail.violations ?? [])
          .map(({ quotaMetric, quotaId, quotaValue, quotaDimensions }) => ({
            quotaMetric,
            quotaId,
            quotaValue: BigInt(quotaValue ?? 0),
            quotaDimensions: typeof quotaDimensions === 'object' ? quotaDimensions : {},
          })),
      };
      // ErrorInfo's metadata has no field: whether a limit is one of a region, or is 0, is not known without the body.
      const expected = sample.name.endsWith('_region_errorinfo')
        ? 'RATE_LIMITED_MINUTE project-model'
        : `${className(sample.errorClass)} ${sample.scope}`;
      expect(judged(init)).toBe(expected);
    });
  }

  test('is judged by the body of an error that was put where the message belongs', () => {
    expect(judged({ message: restBody(403, 'PERMISSION_DENIED', 'Your API key was reported as leaked.') })).toBe(
      'KEY_SUSPENDED key',
    );
  });

  test.each([
    [TransportFailure.TIMEOUT, 'TIMEOUT none'],
    [TransportFailure.CONNECT, 'NETWORK none'],
    [TransportFailure.RESET, 'NETWORK none'],
    [TransportFailure.CUT, 'NETWORK none'],
    [TransportFailure.CANCELLED, 'CANCELLED none'],
  ])('is known by transport failure %i alone', (transportFailure, expected) => {
    expect(judged({ transportFailure })).toBe(expected);
    expect(judged({ transportFailure, message: 'AbortError: This operation was aborted' })).toBe(expected);
    expect(judged({ transportFailure, httpStatus: 200 })).toBe(expected);
  });

  test.each([
    [1000, 'UNKNOWN none'],
    [1001, 'NETWORK none'],
    [1006, 'NETWORK none'],
    [1007, 'BAD_REQUEST none'],
    [1008, 'PERMISSION project-model'],
    [1009, 'BAD_REQUEST none'],
    [1011, 'SERVER_ERROR none'],
    [1013, 'OVERLOADED none'],
    [4000, 'UNKNOWN none'],
  ])('is known by close code %i alone', (closeCode, expected) => expect(judged({ closeCode })).toBe(expected));

  test.each([
    [400, 'BAD_REQUEST none'],
    [401, 'KEY_INVALID key'],
    [402, 'BILLING project'],
    [403, 'PERMISSION project-model'],
    [404, 'NOT_FOUND none'],
    [408, 'TIMEOUT none'],
    [409, 'SERVER_ERROR none'],
    [413, 'BAD_REQUEST none'],
    [416, 'BAD_REQUEST none'],
    [429, 'RATE_LIMITED_MINUTE project-model'],
    [499, 'CANCELLED none'],
    [500, 'SERVER_ERROR none'],
    [501, 'BAD_REQUEST none'],
    [502, 'SERVER_ERROR none'],
    [503, 'OVERLOADED none'],
    [504, 'TIMEOUT none'],
    [599, 'SERVER_ERROR none'],
    [200, 'UNKNOWN none'],
    [-1, 'UNKNOWN none'],
    [2_147_483_647, 'UNKNOWN none'],
  ])('is known by HTTP status %i alone', (httpStatus, expected) => expect(judged({ httpStatus })).toBe(expected));

  test('is UNKNOWN when nothing is known, or nothing was reported', () => {
    expect(judged({})).toBe('UNKNOWN none');
    expect(classify(undefined)).toEqual(plainFinding(ErrorClass.UNKNOWN));
  });
});

describe('the reason of a closed live session', () => {
  test.each([
    [1008, 'Your API key was reported as leaked. Please use another API key.', 'KEY_SUSPENDED key'],
    [1008, 'Your project has been denied access. Please contact support.', 'KEY_SUSPENDED project'],
    [1007, 'API key expired. Please renew the API key.', 'KEY_INVALID key'],
    [
      1008,
      'API key not valid: it was removed. Please pass a valid API key. See https://ai.google.dev',
      'KEY_INVALID key',
    ],
    [1008, 'The requested combination of response modalities is not supported.', 'BAD_REQUEST none'],
    [1008, 'The caller does not have permission', 'PERMISSION project-model'],
    [1007, 'User location is not supported for the API use.', 'LOCATION none'],
    [1007, 'Request contains an invalid argument.', 'BAD_REQUEST none'],
    [
      1008,
      'models/gemini-9 is not found for API version v1beta, or is not supported for bidiGenerateContent.',
      'NOT_FOUND none',
    ],
    [1008, 'Operation is not implemented, or supported, or enabled.', 'BAD_REQUEST none'],
    [
      1011,
      'You exceeded your current quota, please check your plan and billing details.',
      'RATE_LIMITED_MINUTE project-model',
    ],
    [1008, 'This model is no longer available to new users.', 'NOT_FOUND project-model'],
    [1008, 'You do not have permission to access the File abc or it may not exist.', 'RESOURCE_MISMATCH none'],
    [1008, 'This API method requires billing to be enabled.', 'BILLING project'],
    [1011, 'Your prepayment credits are depleted. Please go to AI Studio', 'BILLING project'],
    [1011, 'The service is currently unavailable.', 'OVERLOADED none'],
    [1011, 'Deadline expired before operation could complete.', 'TIMEOUT none'],
    [1011, 'Internal error encountered.', 'SERVER_ERROR none'],
    [1006, 'Abnormal closure.', 'NETWORK none'],
  ])('%i %s', (closeCode, reason, expected) => {
    expect(judged({ closeCode, message: reason })).toBe(expected);
    expect(judged({ closeCode, body: reason })).toBe(expected);
    // The status of the opening handshake, or of nothing at all.
    for (const httpStatus of [101, 200]) {
      expect(judged({ closeCode, message: reason, httpStatus })).toBe(expected);
      expect(judged({ closeCode, body: reason, httpStatus })).toBe(expected);
    }
    expect(judged({ body: `Live connection closed before setup completed (code ${closeCode}): ${reason}` })).toBe(
      expected,
    );
  });
});

describe('failures beside the recorded ones', () => {
  test.each([
    [
      'an auth key that is refused',
      401,
      restBody(
        401,
        'UNAUTHENTICATED',
        'Request had invalid authentication credentials.',
        errorInfo('ACCESS_TOKEN_TYPE_UNSUPPORTED'),
      ),
      'KEY_INVALID key',
    ],
    [
      'an expired key',
      400,
      restBody(400, 'INVALID_ARGUMENT', 'API key expired. Please renew the API key.', errorInfo('API_KEY_INVALID')),
      'KEY_INVALID key',
    ],
    [
      'two credentials',
      400,
      restBody(400, 'INVALID_ARGUMENT', 'Multiple authentication credentials received. Please pass only one.'),
      'BAD_REQUEST none',
    ],
    [
      'a suspended project',
      403,
      restBody(
        403,
        'PERMISSION_DENIED',
        "Permission denied: Consumer 'project_number:100000000002' has been suspended.",
        errorInfo('CONSUMER_SUSPENDED'),
      ),
      'KEY_SUSPENDED project',
    ],
    [
      'a suspended project named as a resource',
      403,
      restBody(403, 'PERMISSION_DENIED', "Permission denied: Consumer 'projects/123456789012' has been suspended."),
      'KEY_SUSPENDED project',
    ],
    [
      'a suspended project that the details alone name',
      403,
      restBody(
        403,
        'PERMISSION_DENIED',
        'Suspended.',
        errorInfo('CONSUMER_SUSPENDED', { consumer: 'projects/123456789012' }),
      ),
      'KEY_SUSPENDED project',
    ],
    [
      'a suspended container that is a project',
      403,
      restBody(
        403,
        'PERMISSION_DENIED',
        'Suspended.',
        errorInfo('CONSUMER_SUSPENDED', { consumer: 'projects/123456789012', containerInfo: 'my-project' }),
      ),
      'KEY_SUSPENDED project',
    ],
    [
      'a suspended key that the container names beside its project',
      403,
      restBody(
        403,
        'PERMISSION_DENIED',
        'Suspended.',
        errorInfo('CONSUMER_SUSPENDED', { consumer: 'projects/123456789012', containerInfo: 'api_key:[redacted]' }),
      ),
      'KEY_SUSPENDED key',
    ],
    [
      'a suspended container that was masked as a whole',
      403,
      restBody(
        403,
        'PERMISSION_DENIED',
        'Suspended.',
        errorInfo('CONSUMER_SUSPENDED', { consumer: 'projects/123456789012', containerInfo: '[redacted]' }),
      ),
      'KEY_SUSPENDED key',
    ],
    [
      'a suspended key that another detail names',
      403,
      restBody(
        403,
        'PERMISSION_DENIED',
        'Suspended.',
        errorInfo('CONSUMER_SUSPENDED', { consumer: 'projects/123456789012' }),
        { message: "Permission denied: Consumer 'api_key:[redacted]' has been suspended." },
      ),
      'KEY_SUSPENDED key',
    ],
    [
      'a suspended key that a second consumer names',
      403,
      restBody(
        403,
        'PERMISSION_DENIED',
        'Suspended.',
        errorInfo('CONSUMER_SUSPENDED', { consumer: 'projects/123456789012' }),
        errorInfo('CONSUMER_SUSPENDED', { consumer: 'api_key:[redacted]' }),
      ),
      'KEY_SUSPENDED key',
    ],
    [
      'a suspended key that the container of a second detail names',
      403,
      restBody(
        403,
        'PERMISSION_DENIED',
        'Suspended.',
        errorInfo('CONSUMER_SUSPENDED', { consumer: 'projects/123456789012' }),
        errorInfo('CONSUMER_SUSPENDED', { containerInfo: 'api_key:[redacted]' }),
      ),
      'KEY_SUSPENDED key',
    ],
    [
      'a suspended consumer that nothing names',
      403,
      restBody(403, 'PERMISSION_DENIED', 'Suspended.', errorInfo('CONSUMER_SUSPENDED')),
      'KEY_SUSPENDED key',
    ],
    [
      'a suspended key without details, masked',
      403,
      restBody(403, 'PERMISSION_DENIED', "Permission denied: Consumer 'api_key:[redacted]' has been suspended."),
      'KEY_SUSPENDED key',
    ],
    [
      'a cache of another project',
      403,
      restBody(403, 'PERMISSION_DENIED', 'CachedContent not found (or permission denied)'),
      'RESOURCE_MISMATCH none',
    ],
    [
      'a key blocked for the API',
      403,
      restBody(
        403,
        'PERMISSION_DENIED',
        'Requests to this API generativelanguage.googleapis.com method google.ai.generativelanguage.v1.GenerativeService.GenerateContent are blocked.',
        errorInfo('API_KEY_SERVICE_BLOCKED'),
      ),
      'PERMISSION key',
    ],
    [
      'a key blocked for the API, without details',
      403,
      restBody(
        403,
        'PERMISSION_DENIED',
        'Requests to this API generativelanguage.googleapis.com method x.Y are blocked.',
      ),
      'PERMISSION key',
    ],
    [
      'something that is there already',
      409,
      restBody(409, 'ALREADY_EXISTS', 'Requested entity already exists'),
      'BAD_REQUEST none',
    ],
    [
      'a key blocked for the host',
      403,
      restBody(
        403,
        'PERMISSION_DENIED',
        'The provided API key has an IP address restriction.',
        errorInfo('API_KEY_IP_ADDRESS_BLOCKED'),
      ),
      'PERMISSION key',
    ],
    [
      'billing off',
      403,
      restBody(
        403,
        'PERMISSION_DENIED',
        'This API method requires billing to be enabled.',
        errorInfo('BILLING_DISABLED'),
      ),
      'BILLING project',
    ],
    [
      'payment required of interactions',
      402,
      '{"error":{"code":"payment_required","message":"Prepaid credits are used up."}}',
      'BILLING project',
    ],
    [
      'a precondition of billing',
      400,
      '{"error":{"code":"failed_precondition","message":"Billing must be enabled for this project."}}',
      'BILLING project',
    ],
    [
      'another precondition',
      400,
      '{"error":{"code":"failed_precondition","message":"The interaction is still running."}}',
      'BAD_REQUEST none',
    ],
    [
      'no free tier in the country',
      400,
      restBody(
        400,
        'FAILED_PRECONDITION',
        'Gemini API free tier is not available in your country. Please enable billing on your project in Google AI Studio.',
      ),
      'LOCATION project',
    ],
    [
      'a model closed to new users',
      404,
      restBody(
        404,
        'NOT_FOUND',
        'This model models/gemini-2.5-flash is no longer available to new users. Please update your code.',
      ),
      'NOT_FOUND project-model',
    ],
    [
      'a model closed to new users, by its name',
      404,
      restBody(404, 'NOT_FOUND', 'models/gemini-2.5-flash is no longer available to new users.'),
      'NOT_FOUND project-model',
    ],
    [
      'a model closed to new users, by its name, with advice',
      404,
      restBody(
        404,
        'NOT_FOUND',
        'models/gemini-2.5-flash is no longer available to new users. Please update your code to use a newer model for the latest features and improvements.',
      ),
      'NOT_FOUND project-model',
    ],
    [
      'a model closed to new users, without its name',
      404,
      restBody(404, 'NOT_FOUND', 'This model is no longer available to new users.'),
      'NOT_FOUND project-model',
    ],
    [
      'a day limit of interactions',
      429,
      '{"error":{"code":"quota_exceeded","message":"Daily quota exceeded."}}',
      'QUOTA_EXHAUSTED_DAY project-model',
    ],
    [
      'a minute limit of interactions',
      429,
      '[{"error":{"code":"rate_limit_exceeded","message":"Too many requests."}}]',
      'RATE_LIMITED_MINUTE project-model',
    ],
    [
      'a long delay without a limit',
      429,
      restBody(429, 'RESOURCE_EXHAUSTED', 'Resource has been exhausted (e.g. check quota).', retryInfo('39043s')),
      'QUOTA_EXHAUSTED_DAY project-model',
    ],
    [
      'tokens a day',
      429,
      restBody(
        429,
        'RESOURCE_EXHAUSTED',
        'You exceeded your current quota.',
        quotaFailure({ quotaId: 'GenerateContentInputTokensPerModelPerDay-FreeTier', quotaValue: '1000000' }),
      ),
      'QUOTA_EXHAUSTED_DAY project-model',
    ],
    [
      'a limit of 0 in one violation',
      429,
      restBody(
        429,
        'RESOURCE_EXHAUSTED',
        'You exceeded your current quota.',
        quotaFailure({ quotaId: 'GenerateRequestsPerMinutePerProjectPerModel', quotaValue: '0' }),
      ),
      'QUOTA_ZERO project-model',
    ],
    [
      'one violation without a value',
      429,
      restBody(
        429,
        'RESOURCE_EXHAUSTED',
        'You exceeded your current quota.',
        quotaFailure({ quotaId: 'GenerateRequestsPerMinutePerProjectPerModel', quotaDimensions: { model: 'm' } }),
      ),
      'RATE_LIMITED_MINUTE project-model',
    ],
    [
      'two violations without values',
      429,
      restBody(
        429,
        'RESOURCE_EXHAUSTED',
        'You exceeded your current quota.',
        quotaFailure(
          { quotaId: 'GenerateRequestsPerMinutePerProjectPerModel', quotaDimensions: { model: 'm' } },
          { quotaId: 'GenerateRequestsPerDayPerProjectPerModel', quotaDimensions: { model: 'm' } },
        ),
      ),
      'QUOTA_ZERO project-model',
    ],
    [
      'a limit of 0.5 or 05, which is not 0',
      429,
      restBody(
        429,
        'RESOURCE_EXHAUSTED',
        '* Quota exceeded for metric: x, limit: 0.5\n* Quota exceeded for metric: y, limit: 05',
      ),
      'RATE_LIMITED_MINUTE project-model',
    ],
    [
      'shared capacity',
      429,
      restBody(
        429,
        'RESOURCE_EXHAUSTED',
        'Resource exhausted. Please try again later. Please refer to https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.',
      ),
      'OVERLOADED none',
    ],
    [
      'a failed operation with a number of google.rpc.Code',
      200,
      '{"error":{"code":8,"message":"Resource has been exhausted."}}',
      'RATE_LIMITED_MINUTE project-model',
    ],
    [
      'a bare status, not wrapped',
      403,
      '{"code":403,"message":"Your API key was reported as leaked.","status":"PERMISSION_DENIED"}',
      'KEY_SUSPENDED key',
    ],
    [
      'an event of the interactions stream',
      200,
      'event: error\ndata: {"event_type":"error","error":{"code":"not_found","message":"Result not found."}}\n\n',
      'NOT_FOUND none',
    ],
    ['a blocked prompt', 200, '{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}}', 'CONTENT_BLOCKED none'],
    [
      'a blocked answer in a stream',
      200,
      'data: {"candidates":[{"content":{}}]}\n\ndata: {"candidates":[{"finishReason":"SAFETY"}]}\n\n',
      'CONTENT_BLOCKED none',
    ],
    ['an answer that ran out of tokens', 200, '{"candidates":[{"finishReason":"MAX_TOKENS"}]}', 'CONTENT_BLOCKED none'],
    ['an answer that does not end', 200, '{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}', 'NETWORK none'],
    ['a page of 403', 403, '<!DOCTYPE html><html lang=en><title>Error 403 (Forbidden)!!1</title>', 'UNKNOWN none'],
    [
      'a page of 502 without its status',
      0,
      '<!DOCTYPE html><html lang=en><title>Error 502 (Server Error)!!1</title>',
      'SERVER_ERROR none',
    ],
    ['an empty body', 503, '', 'OVERLOADED none'],
    ['an OAuth error', 401, '{"error":"invalid_grant","error_description":"Token expired"}', 'KEY_INVALID key'],
  ])('%s', (_, httpStatus, body, expected) => expect(judged({ body, httpStatus })).toBe(expected));
});

describe('words of the request that an error repeats', () => {
  const ECHOES = [
    'API key not valid. Please pass a valid API key.',
    'Your API key was reported as leaked. Please use another API key.',
    "Permission denied: Consumer 'api_key:x' has been suspended.",
    'Your project has been denied access.',
    'User location is not supported for the API use.',
    'Imagen API is only accessible to billed users at this time.',
    'Your prepayment credits are depleted.',
    'Your project has exceeded its monthly spending cap.',
    'You exceeded your spend-based rate limit.',
    'Please enable billing',
    'limit: 0',
    '{"error":{"code":401,"message":"x","details":[{"reason":"API_KEY_INVALID"}]}}',
    'Please retry in 99h',
  ];
  test.each(ECHOES)('do not make a bad request another failure: %s', (echo) => {
    for (const message of [`Invalid value at 'contents[0].parts[0].text': "${echo}"`, `Unsupported text: ${echo}`]) {
      expect(judged({ body: restBody(400, 'INVALID_ARGUMENT', message), httpStatus: 400 })).toBe('BAD_REQUEST none');
    }
  });
});

describe('a body that was cut at 16 KiB', () => {
  const details = [errorInfo('API_KEY_INVALID')];
  const long = 'x'.repeat(20_000);

  test('still tells what came before the cut', () => {
    expect(judged({ body: JSON.stringify({ error: { code: 400, details, message: long } }) })).toBe('KEY_INVALID key');
    expect(
      judged({
        body: JSON.stringify({ error: { code: 403, message: `Your API key was reported as leaked. ${long}` } }),
      }),
    ).toBe('KEY_SUSPENDED key');
  });

  test('gives the same whatever the place of the cut, once it has said enough', () => {
    const body = nested(
      restBody(403, 'PERMISSION_DENIED', 'Your API key was reported as leaked. "Use" \\ another é \n one.', ...details),
    );
    const enough = body.indexOf('leaked') + 'leaked'.length;
    for (let end = enough; end <= body.length; end++) {
      // Either rule may be reached, by whether the details are still there.
      expect(['KEY_SUSPENDED key', 'KEY_INVALID key']).toContain(judged({ body: body.slice(0, end) }));
    }
  });
});

describe('the stated delay', () => {
  const delayOf = (message: string, ...details: object[]): number | undefined =>
    classify(providerError({ body: restBody(429, 'RESOURCE_EXHAUSTED', message, ...details), httpStatus: 429 }))
      .retryDelayMs;

  test('is read from the message, which is more exact, then from RetryInfo, then from the field', () => {
    expect(delayOf('Quota.\nPlease retry in 34.429760048s.', retryInfo('34s'))).toBe(34_430);
    expect(delayOf('Quota.', retryInfo('34s'))).toBe(34_000);
    expect(delayOf('Quota.\nPlease retry in a moment.', retryInfo('34s'))).toBe(34_000);
    const error = providerError({ httpStatus: 429, retryDelay: { seconds: 7n, nanos: 500_000_000 } });
    expect(classify(error).retryDelayMs).toBe(7500);
  });

  test('is undefined where none or none that makes sense is stated', () => {
    expect(delayOf('Quota.')).toBeUndefined();
    expect(delayOf('Quota.', retryInfo('-5s'))).toBeUndefined();
    expect(delayOf('Quota.', retryInfo(null))).toBeUndefined();
    const negative = providerError({ httpStatus: 429, retryDelay: { seconds: -7n, nanos: 0 } });
    expect(classify(negative).retryDelayMs).toBeUndefined();
  });
});
