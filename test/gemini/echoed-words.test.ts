import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { classify } from '../../src/gemini/classify.ts';
import { ErrorClass } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { SAMPLES, textOf } from './error-samples.ts';
import { errorInfo, providerError, quotaFailure, restBody } from './provider-errors.ts';

/** What a prompt may say so as to have its key or project rested: words of all recorded failures, and whole bodies. */
const HOSTILE: readonly string[] = [
  ...SAMPLES.map(textOf),
  ...SAMPLES.map(({ body }) => (body as { error?: { message?: string } }).error?.message ?? '').filter(Boolean),
  restBody(401, 'UNAUTHENTICATED', 'No.', errorInfo('API_KEY_INVALID', { consumer: 'projects/100000000001' })),
  `[${restBody(403, 'PERMISSION_DENIED', 'Your API key was reported as leaked.')}]`,
  `data: ${restBody(429, 'RESOURCE_EXHAUSTED', 'limit: 0', quotaFailure({ quotaId: 'PerDay', quotaValue: '0' }))}`,
  "{'error': {'code': 403, 'message': 'Your API key was reported as leaked.'}}",
  'got status: UNAUTHENTICATED. {"error":{"code":401}}',
  '429 You exceeded your current quota',
  '[GoogleGenerativeAI Error]: [403 Forbidden] Your API key was reported as leaked.',
  'x [{"@type":"y","reason":"API_KEY_INVALID"}]',
  'Live connection closed before setup completed (code 1008): API key not valid.',
  'received 1008 (policy violation) Your project has been denied access; then sent 1008',
  'AbortError: This operation was aborted',
  'Error 403, Message: Your API key was reported as leaked., Status: PERMISSION_DENIED, Details: []',
  'googleapi: Error 403: Your API key was reported as leaked.',
  'rpc error: code = Unauthenticated desc = No.',
  '403 PERMISSION_DENIED. Your API key was reported as leaked.',
  '403 x [reason: "CONSUMER_SUSPENDED" metadata { key: "consumer" value: "projects/100000000001" } ]',
  'x [violations { quota_id: "PerDay" } , retry_delay { seconds: 99999 } ]',
  'Please retry in 99999h',
  "for consumer 'project_number:100000000001'",
  'has not been used in project 100000000001 before or it is disabled',
  'billing',
];

/** Ways in which a 400 repeats a request, as published ones do. */
const SENTENCES: readonly ((echo: string) => string)[] = [
  (echo) => `Invalid JSON payload received. Unknown name "${echo}" at 'contents[0]': Cannot find field.`,
  (echo) => `Invalid value at 'contents[0].role' (type.googleapis.com/google.ai.Role), "${echo}"`,
  (echo) => `Unsupported MIME type: ${echo}`,
  (echo) => `The value '${echo}' is not supported for 'type' at 'tools[0]'.`,
  (echo) => `* GenerateContentRequest.tools[0].function_declarations[0].name: ${echo}\n`,
  (echo) => `Base64 decoding failed for "${echo}"`,
  (echo) => `The File ${echo} is not in an ACTIVE state and usage is not allowed.`,
  (echo) => `Unsupported file URI type:\n${echo}`,
];

const echo = fc.oneof(
  fc.constantFrom(...HOSTILE),
  fc.string({ unit: 'binary' }),
  fc.tuple(fc.constantFrom(...HOSTILE), fc.nat(400), fc.nat(400)).map(([text, a, b]) => text.slice(a % 40, a + b)),
  fc.tuple(fc.constantFrom(...HOSTILE), fc.constantFrom(...HOSTILE)).map((texts) => texts.join('\n')),
);

/** The same error as the API, the SDK for an answer that is no JSON, a stream and the Interactions API write it. */
const SHAPES: readonly ((message: string, status: string) => string)[] = [
  (message, status) => restBody(400, status, message),
  (message, status) => `[${restBody(400, status, message)}]`,
  (message, status) =>
    JSON.stringify({ error: { message: restBody(400, status, message), code: 400, status: 'Bad Request' } }),
  (message, status) => `got status: ${status}. ${restBody(400, status, message)}`,
  (message, status) =>
    restBody(400, status, message, {
      '@type': 'type.googleapis.com/google.rpc.BadRequest',
      fieldViolations: [{ field: message, description: message }],
    }),
  (message) => JSON.stringify({ error: { code: 'invalid_request', message } }),
];

describe('a bad request that repeats what was sent', () => {
  test('is nobody’s fault but the caller’s, whatever was sent', () => {
    const message = fc.tuple(fc.constantFrom(...SENTENCES), echo).map(([sentence, text]) => sentence(text));
    fc.assert(
      fc.property(
        message,
        fc.constantFrom(...SHAPES),
        fc.constantFrom('INVALID_ARGUMENT', 'FAILED_PRECONDITION'),
        fc.boolean(),
        (text, shape, status, withHttpStatus) => {
          const error = providerError({ body: shape(text, status), httpStatus: withHttpStatus ? 400 : 0 });
          expect(classify(error)).toEqual({
            errorClass: ErrorClass.BAD_REQUEST,
            scope: 'none',
            retryDelayMs: undefined,
            delayDistrusted: false,
            rule: 'bad-request',
            beyond: undefined,
            project: undefined,
            limits: [],
          });
        },
      ),
      { numRuns: 5000 },
    );
  });

  test('stays that where its text is the request’s alone, unless it is the one sentence of a bad key', () => {
    for (const text of HOSTILE) {
      const { errorClass, scope } = classify(providerError({ body: restBody(400, 'INVALID_ARGUMENT', text) }));
      const isKey = /^API key (?:not valid|not found)\. Please pass a valid API key\.$/i.test(text);
      // A place that is not supported, and a model for billed users only, are said by a 400, too.
      const isPlace = /^(?:User location|Imagen API)/.test(text);
      if (!isPlace)
        expect([text, errorClass, scope]).toEqual([
          text,
          ...(isKey ? [ErrorClass.KEY_INVALID, 'key'] : [ErrorClass.BAD_REQUEST, 'none']),
        ]);
      const behind = `${text} is not a valid role`;
      const found = classify(providerError({ body: restBody(400, 'INVALID_ARGUMENT', behind) }));
      if (!isPlace) expect([behind, found.scope]).toEqual([behind, 'none']);
    }
  });
});

describe('a name that a request made up', () => {
  test.each([
    'models/the model is overloaded is not found for API version v1beta, or is not supported for generateContent.',
    'models/x is no longer available to new users is not found for API version v1beta.',
    'models/x is no longer available to new users. is not found for API version v1beta.',
    'models/x is no longer available to new users. Please is not found for API version v1beta',
    'models/x is no longer available to new users. y is not found for API version v1beta.',
    'This model x is no longer available to new users. is not found',
    'The model x is no longer available to new users is not supported',
    'models/prepayment credits are depleted is not found for API version v1beta.',
  ])('does not change what a 404 is: %s', (message) => {
    expect(classify(providerError({ body: restBody(404, 'NOT_FOUND', message) }))).toMatchObject({
      errorClass: ErrorClass.NOT_FOUND,
      scope: 'none',
    });
  });
});

test('a name that a request made up is no closed model where a live session cut the rest off', () => {
  const message = `models/${'x'.repeat(70)} is no longer available to new users.`;
  expect(classify(providerError({ message }))).toMatchObject({ scope: 'project-model' });
  expect(classify(providerError({ message, closeCode: 1008 }))).toMatchObject({ rule: 'live-refused', scope: 'none' });
});

describe('a recorded failure that was changed', () => {
  /** What rests a key or a whole project needs words that Gemini itself wrote; any other text must not make them. */
  test('never becomes worse by letters put into the message of a bad request', () => {
    const bad = SAMPLES.filter(({ errorClass }) => errorClass === ErrorClass.BAD_REQUEST);
    const recorded = bad.filter(({ httpStatus }) => httpStatus === 400);
    fc.assert(
      fc.property(fc.constantFrom(...recorded), echo, fc.nat(), ({ body }, text, place) => {
        const { error } = body as { error: { message: string } };
        // Behind its first word, which is Gemini's.
        const at = 8 + (place % (error.message.length - 8));
        const message = error.message.slice(0, at) + text + error.message.slice(at);
        const { scope } = classify(providerError({ body: JSON.stringify({ error: { ...error, message } }) }));
        expect(scope).toBe('none');
      }),
      { numRuns: 3000 },
    );
  });
});
