import { describe, expect, test } from 'vitest';
import { explainError } from '../../src/gemini/explain.ts';
import { className, judged, restBody } from './provider-errors.ts';

const QUOTA = 'You exceeded your current quota, please check your plan and billing details.';
const LEAKED = 'Your API key was reported as leaked. Please use another API key.';
const BAD_KEY = 'API key not valid. Please pass a valid API key.';
const DETAILS =
  '[\n  {\n    "@type": "type.googleapis.com/google.rpc.ErrorInfo",\n    "reason": "CONSUMER_SUSPENDED"\n  }\n]';

const genai = (code: number, status: string, message: string, details = '[]'): string =>
  `Error ${code}, Message: ${message}, Status: ${status}, Details: ${details}`;

describe('an error that a library wrote as text is judged by it, as a body, as a message and as pasted', () => {
  test.each<[string, string]>([
    [genai(429, 'RESOURCE_EXHAUSTED', QUOTA), 'RATE_LIMITED_MINUTE project-model'],
    [genai(429, 'RESOURCE_EXHAUSTED', `${QUOTA}\nPlease retry in 2s.`), 'RATE_LIMITED_MINUTE project-model'],
    [genai(403, 'PERMISSION_DENIED', LEAKED), 'KEY_SUSPENDED key'],
    [genai(400, 'INVALID_ARGUMENT', BAD_KEY, '[map[reason:API_KEY_INVALID]]'), 'KEY_INVALID key'],
    [genai(400, 'FAILED_PRECONDITION', 'Billing must be enabled.'), 'BILLING project'],
    [`Error 503, Message: Busy`, 'OVERLOADED none'],
    [`googleapi: Error 429: ${QUOTA}, rateLimitExceeded`, 'RATE_LIMITED_MINUTE project-model'],
    [`googleapi: Error 403: ${LEAKED}`, 'KEY_SUSPENDED key'],
    [`googleapi: Error 400: ${BAD_KEY}, badRequest`, 'KEY_INVALID key'],
    [`googleapi: Error 403: Suspended.\nDetails:\n${DETAILS}`, 'KEY_SUSPENDED key'],
    [`rpc error: code = ResourceExhausted desc = ${QUOTA}`, 'RATE_LIMITED_MINUTE project-model'],
    [`rpc error: code = PermissionDenied desc = ${LEAKED}`, 'KEY_SUSPENDED key'],
    [`rpc error: code = InvalidArgument desc = ${BAD_KEY}`, 'KEY_INVALID key'],
    ['rpc error: code = Unavailable desc = The model is overloaded.', 'OVERLOADED none'],
    ['rpc error: code = Internal desc = Internal error encountered.', 'SERVER_ERROR none'],
    ['rpc error: code = Canceled desc = context canceled', 'CANCELLED none'],
    ['rpc error: code = DeadlineExceeded desc = context deadline exceeded', 'TIMEOUT none'],
    ['429 RESOURCE_EXHAUSTED. {...}', 'RATE_LIMITED_MINUTE project-model'],
    ['google.genai.errors.ServerError: 503 UNAVAILABLE. {...}', 'OVERLOADED none'],
    ['openai.RateLimitError: Error code: 429 - {...}', 'RATE_LIMITED_MINUTE project-model'],
    [`403 PERMISSION_DENIED. ${LEAKED}`, 'KEY_SUSPENDED key'],
    [`400 INVALID_ARGUMENT. ${BAD_KEY}`, 'KEY_INVALID key'],
  ])('%s', (text, expected) => {
    expect(judged({ body: text })).toBe(expected);
    expect(judged({ message: text })).toBe(expected);
    const { finding } = explainError(text);
    expect(`${className(finding.errorClass)} ${finding.scope}`).toBe(expected);
  });
});

describe('such a text rests nothing', () => {
  test.each<[string, string, string]>([
    [
      'where its code is that of a call without an answer',
      'rpc error: code = Unauthenticated desc = transport: x',
      'UNKNOWN none',
    ],
    ['where nothing listened', 'rpc error: code = Unavailable desc = connection error: desc = "x"', 'UNKNOWN none'],
    ['of an unknown code', `rpc error: code = Leaked desc = ${LEAKED}`, 'UNKNOWN none'],
    ['where the text only has it further on', `He said: ${genai(403, 'PERMISSION_DENIED', LEAKED)}`, 'UNKNOWN none'],
    ['of a bad request that quotes one', genai(400, 'INVALID_ARGUMENT', `Unsupported: ${BAD_KEY}`), 'BAD_REQUEST none'],
    [
      'of a bad request whose details quote one',
      `googleapi: Error 400: Invalid value\nDetails:\n${DETAILS}`,
      'BAD_REQUEST none',
    ],
    [
      'of a bad request that quotes the end of one',
      genai(400, 'INVALID_ARGUMENT', `Unsupported: x, Status: PERMISSION_DENIED, Details: []`),
      'BAD_REQUEST none',
    ],
  ])('%s', (_, text, expected) => {
    expect(judged({ body: text })).toBe(expected);
    expect(judged({ message: text })).toBe(expected);
  });

  test('where the error around it has a status', () => {
    const text = genai(403, 'PERMISSION_DENIED', LEAKED);
    expect(judged({ body: restBody(400, 'INVALID_ARGUMENT', text) })).toBe('BAD_REQUEST none');
    expect(judged({ body: restBody(503, 'UNAVAILABLE', 'Busy.'), message: text })).toBe('OVERLOADED none');
    expect(judged({ body: genai(403, 'PERMISSION_DENIED', 'No.'), httpStatus: 503 })).toBe('OVERLOADED none');
  });
});
