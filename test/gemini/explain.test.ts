import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { explainError } from '../../src/gemini/explain.ts';
import { SAMPLES, textOf } from './error-samples.ts';
import { className, errorInfo, quotaFailure, restBody } from './provider-errors.ts';

const KEY = 'AIzaSyFAKE000000000000000000';
const DAY = restBody(
  429,
  'RESOURCE_EXHAUSTED',
  'You exceeded your current quota, please check your plan and billing details.\nPlease retry in 36.4s.',
  quotaFailure({ quotaId: 'GenerateRequestsPerDayPerProjectPerModel-FreeTier', quotaValue: '20' }),
);
const INVALID = restBody(
  400,
  'INVALID_ARGUMENT',
  'API key not valid. Please pass a valid API key.',
  errorInfo('API_KEY_INVALID'),
);
const pretty = (json: string): string => JSON.stringify(JSON.parse(json), null, 2);

function explained(text: string, httpStatus?: number): string {
  const { finding } = explainError(text, httpStatus);
  return `${className(finding.errorClass)} ${finding.scope}`;
}

describe('what a person pastes', () => {
  test.each<[string, string, string]>([
    ['a body', pretty(DAY), 'QUOTA_EXHAUSTED_DAY project-model'],
    ['an error', `ApiError: ${DAY}`, 'QUOTA_EXHAUSTED_DAY project-model'],
    [
      'an error that ended a program',
      `file:///app/node_modules/@google/genai/dist/node/index.mjs:7835\n        throw new ApiError({\n              ^\n\nApiError: ${DAY}\n    at throwErrorIfNotOK (file:///app/x.mjs:1:2) {\n  status: 429\n}\n\nNode.js v24.0.0`,
      'QUOTA_EXHAUSTED_DAY project-model',
    ],
    [
      'an error in a stream',
      `Error: got status: 503 Service Unavailable. ${restBody(503, 'UNAVAILABLE', 'Busy.')}`,
      'OVERLOADED none',
    ],
    ['words', 'TypeError: fetch failed', 'NETWORK none'],
    [
      'words in a log',
      '2026-11-25T10:00:00Z ERROR worker: TypeError: fetch failed\n    at node:internal',
      'NETWORK none',
    ],
    ['words after a level', '[10:00:00] WARN AbortError: This operation was aborted', 'TIMEOUT none'],
    [
      'the answer that curl -i shows',
      `HTTP/2 429 \r\ncontent-type: application/json; charset=UTF-8\r\nvary: Origin\r\n\r\n${pretty(DAY)}`,
      'QUOTA_EXHAUSTED_DAY project-model',
    ],
    [
      'an answer behind a proxy',
      'HTTP/1.1 200 Connection established\n\nHTTP/2 403\nserver: x\n\n<!DOCTYPE html><title>Error 403 (Forbidden)!!1</title>',
      'UNKNOWN none',
    ],
    ['an answer without a body', 'HTTP/1.1 503 Service Unavailable\nDate: x\n\n', 'OVERLOADED none'],
    [
      'the answer that curl -v shows',
      `* Connected to x\n> POST /v1 HTTP/2\n> x-goog-api-key: ${KEY}\n>\n< HTTP/2 400\n< content-type: application/json\n<\n{ [100 bytes data]\n${pretty(INVALID)}\n* Connection #0 to host left intact`,
      'KEY_INVALID key',
    ],
    [
      'a line of a JSON log',
      JSON.stringify({ level: 50, err: { type: 'ApiError', message: DAY, status: 429, stack: 'x' }, msg: 'failed' }),
      'QUOTA_EXHAUSTED_DAY project-model',
    ],
    [
      'a line of a JSON log with an error in a string in a string',
      JSON.stringify({ level: 50, msg: `failed: ${JSON.stringify({ error: { message: INVALID, code: 400 } })}` }),
      'KEY_INVALID key',
    ],
    [
      'lines of a log',
      `10:00 {"event":"start"}\n10:01 call failed ${DAY}\n10:02 done`,
      'QUOTA_EXHAUSTED_DAY project-model',
    ],
    ['what gemini-cli shows', `✕ [API Error: [${pretty(INVALID)}\n]]`, 'KEY_INVALID key'],
    [
      'what Python shows',
      `Traceback (most recent call last):\n  File "x.py", line 1\ngoogle.genai.errors.ClientError: 400 INVALID_ARGUMENT. {'error': {'code': 400, 'message': 'It\\'s \\xe9 "x": API key?', 'status': 'INVALID_ARGUMENT', 'retry': None, 'ok': False, 'details': [{'reason': 'API_KEY_INVALID'}]}}`,
      'KEY_INVALID key',
    ],
    [
      'what another SDK shows of it',
      "openai.NotFoundError: Error code: 404 - [{'error': {'code': 404, 'message': 'models/x is not found', 'status': 'NOT_FOUND'}}]",
      'NOT_FOUND none',
    ],
    [
      'what the older SDK shows',
      'Error: [GoogleGenerativeAI Error]: Error fetching from https://x/v1beta/models/m:generateContent: [429 Too Many Requests] You exceeded your quota. [{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDay"}]}]\n    at x',
      'QUOTA_EXHAUSTED_DAY project-model',
    ],
    ['a sentence', 'Your API key was reported as leaked. Please use another API key.', 'KEY_SUSPENDED key'],
    ['a sentence in a log', 'WARN gemini - 403 Your API key was reported as leaked. Please', 'KEY_SUSPENDED key'],
    ['a closed session', 'ws closed with code 1008: Your project has been denied access.', 'KEY_SUSPENDED project'],
    ['a closed session without a reason', 'websocket close code: 1006', 'NETWORK none'],
    [
      'a status in words',
      'AxiosError: Request failed with status code 429\n    at settle',
      'RATE_LIMITED_MINUTE project-model',
    ],
    ['a number that is no status', 'took 429 ms', 'UNKNOWN none'],
    ['anything else', 'hello world', 'UNKNOWN none'],
    ['nothing', '', 'UNKNOWN none'],
  ])('%s is understood', (_, text, expected) => expect(explained(text)).toBe(expected));

  test('is every recorded failure, also in a log and in a stack trace', () => {
    for (const sample of SAMPLES) {
      const expected = `${className(sample.errorClass)} ${sample.scope}`;
      const text = textOf(sample);
      expect([sample.name, explained(text, sample.httpStatus)]).toEqual([sample.name, expected]);
      if (typeof sample.body === 'string') continue;
      const status = sample.httpStatus;
      expect([sample.name, explained(`10:01 E failed: ${text}\n10:02 next`, status)]).toEqual([sample.name, expected]);
      expect([sample.name, explained(JSON.stringify({ msg: `failed ${text}` }), status)]).toEqual([
        sample.name,
        expected,
      ]);
      expect([sample.name, explained(`HTTP/2 ${status}\nx: y\n\n${text}`)]).toEqual([sample.name, expected]);
    }
  });

  test('may come with a status, which counts where the text has none of its own', () => {
    expect(explained('Resource has been exhausted', 429)).toBe('RATE_LIMITED_MINUTE project-model');
    expect(explained('', 503)).toBe('OVERLOADED none');
    expect(explained(INVALID, 503)).toBe('KEY_INVALID key');
  });

  test('may have a Retry-After in front', () => {
    const { finding, error } = explainError('HTTP/1.1 429 Too Many Requests\nRetry-After: 17\n\n{"error":"slow down"}');
    expect(finding.retryDelayMs).toBe(17_000);
    expect(error.retryDelayMs).toBe(17_000);
  });
});

describe('an explanation', () => {
  test('says what was read', () => {
    expect(explainError(DAY).error).toEqual({
      httpStatus: 429,
      closeCode: 0,
      status: 'RESOURCE_EXHAUSTED',
      code: '',
      reasons: [],
      message: 'You exceeded your current quota, please check your plan and billing details.\nPlease retry in 36.4s.',
      quotaIds: ['GenerateRequestsPerDayPerProjectPerModel-FreeTier'],
      retryDelayMs: 36_400,
    });
    expect(explainError('{"error":{"code":"quota_exceeded","message":"x"}}').error).toMatchObject({
      code: 'quota_exceeded',
      httpStatus: 429,
    });
  });

  test('names the rule, what it goes by, and what was seen of it', () => {
    expect(explainError(INVALID).why).toBe(
      'Rule "api-key-invalid" decided: ErrorInfo reason API_KEY_INVALID (or an ACCESS_TOKEN reason), or a message that is "API key not valid", "not found" or "expired"; here HTTP status 400, status INVALID_ARGUMENT, reason API_KEY_INVALID, message "API key not valid. Please pass a valid API key.".',
    );
    expect(explainError('').why).toBe('Rule "unknown" decided: nothing that was said is known.');
  });

  test('is short, of one line, and tells no key, whatever was pasted', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(...SAMPLES).map(textOf),
      fc.constantFrom(
        KEY,
        `?key=${KEY}`,
        `{"error":{"status":"${KEY}","code":"${KEY}","details":[{"reason":"${KEY}"}]}}`,
      ),
      fc.constantFrom(
        'HTTP/2 429\n',
        'x: y\n',
        '\n',
        '{"error":',
        '{\\"error\\":',
        "{'error': ",
        ': ',
        ' closed 1008 ',
      ),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), fc.integer({ min: 0, max: 600 }), (pieces, status) => {
        const { why, error } = explainError(pieces.join(''), status);
        expect(JSON.stringify([why, error])).not.toContain('FAKE');
        expect(why.length).toBeLessThan(4000);
        expect(why).not.toContain('\n');
      }),
      { numRuns: 1000 },
    );
  });

  test.each([
    '{"error":',
    '{\\"error\\":',
    "{'error':",
    '[{',
    '\\',
    '"',
    ': ',
    'HTTP/2 429\n',
    'closed ',
    'a: b\n',
    'status ',
    '{"message":"',
  ])('of 10 MB of "%s" comes in a bounded time', (part) => {
    const start = performance.now();
    explainError(part.repeat(Math.ceil(10_000_000 / part.length)));
    expect(performance.now() - start).toBeLessThan(5000);
  });
});
