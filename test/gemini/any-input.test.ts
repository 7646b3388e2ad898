import { create } from '@bufbuild/protobuf';
import { DurationSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { classify } from '../../src/gemini/classify.ts';
import { describeThrown } from '../../src/gemini/describe-thrown.ts';
import { explainError } from '../../src/gemini/explain.ts';
import { openBody } from '../../src/gemini/open-body.ts';
import { LONGEST_RETRY_DELAY_MS } from '../../src/gemini/retry-delay.ts';
import { ErrorClass, type ProviderError, type TransportFailure } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { SAMPLES, textOf } from './error-samples.ts';
import { judged, providerError, restBody } from './provider-errors.ts';

const CLASSES = new Set<number>(Object.values(ErrorClass));
const SCOPES = new Set(['none', 'key', 'project', 'project-model']);

function expectFinding(error: ProviderError): void {
  const finding = classify(error);
  expect(CLASSES.has(finding.errorClass) && finding.errorClass !== ErrorClass.UNSPECIFIED).toBe(true);
  expect(SCOPES.has(finding.scope)).toBe(true);
  const delay = finding.retryDelayMs ?? 0;
  expect(Number.isInteger(delay) && delay >= 0 && delay <= LONGEST_RETRY_DELAY_MS).toBe(true);
  expect(finding.rule).not.toBe('');
  expect(finding.project === undefined || /^[1-9]\d{3,18}$/.test(finding.project)).toBe(true);
  expect(finding.limits.length).toBeLessThanOrEqual(16);
  for (const { value, quotaId, model } of finding.limits) {
    expect(value >= 1 && value <= 1e12 && quotaId.length <= 128 && model.length <= 128).toBe(true);
  }
  expect(finding.errorClass === ErrorClass.UNKNOWN && finding.scope !== 'none').toBe(false);
  expect(classify(error)).toEqual(finding);
}

/** JSON in the shape of an error, each part of which may be anything. */
const anything = fc.jsonValue({ maxDepth: 3 });
const errorLike = fc.record(
  {
    code: fc.oneof(
      anything,
      fc.integer({ min: -1, max: 600 }),
      fc.double(),
      fc.constantFrom('quota_exceeded', 'cancelled'),
    ),
    status: fc.oneof(anything, fc.constantFrom('RESOURCE_EXHAUSTED', 'INTERNAL')),
    message: fc.oneof(
      anything,
      fc.constantFrom('Please retry in -5s', 'Please retry in 9999999999999999999h', 'limit: 0', '{', '['),
    ),
    details: fc.oneof(
      anything,
      fc.array(
        fc.record(
          {
            reason: fc.oneof(anything, fc.constantFrom('CONSUMER_SUSPENDED', 'RATE_LIMIT_EXCEEDED')),
            metadata: fc.oneof(
              anything,
              fc.record({ quota_limit: anything, quota_unit: anything, containerInfo: anything }),
            ),
            violations: fc.oneof(
              anything,
              fc.array(fc.record({ quotaId: anything, quotaValue: anything, quotaDimensions: anything })),
            ),
            retryDelay: fc.oneof(
              anything,
              fc.constantFrom('-1s', 'NaN', '1e309s'),
              fc.record({ seconds: anything, nanos: anything }),
            ),
          },
          { requiredKeys: [] },
        ),
      ),
    ),
  },
  { requiredKeys: [] },
);
const bodies = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.json(),
  errorLike.map((error) => JSON.stringify({ error })),
  errorLike.map((error) => JSON.stringify([{ error: { message: JSON.stringify({ error }) } }])),
  fc.tuple(fc.constantFrom(...SAMPLES), fc.nat(3000), fc.string()).map(([sample, at, junk]) => {
    const text = textOf(sample);
    return text.slice(0, at % text.length) + junk + text.slice(at % text.length);
  }),
  fc.tuple(fc.constantFrom(...SAMPLES), fc.nat(3000)).map(([sample, at]) => textOf(sample).slice(0, at)),
  // Bytes that are wrong, and so often no UTF-8, as a client may decode them.
  fc
    .tuple(fc.constantFrom(...SAMPLES), fc.array(fc.tuple(fc.nat(3000), fc.nat(255)), { minLength: 1, maxLength: 8 }))
    .map(([sample, changes]) => {
      const bytes = new TextEncoder().encode(textOf(sample));
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
      return new TextDecoder().decode(bytes);
    }),
);

test('any report gives a class, a scope and a delay that make sense, and never throws', () => {
  const violation = fc.record({
    quotaMetric: fc.string(),
    quotaId: fc.string(),
    quotaValue: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    quotaDimensions: fc.dictionary(fc.string(), fc.string()),
  });
  const report = fc.record({
    body: bodies,
    httpStatus: fc.oneof(fc.integer({ min: 0, max: 600 }), fc.integer()),
    status: fc.string(),
    reason: fc.string(),
    message: fc.oneof(bodies, fc.constant('')),
    retryDelay: fc.option(
      fc.record({ seconds: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), nanos: fc.integer() }),
      { nil: undefined },
    ),
    quotaViolations: fc.array(violation, { maxLength: 3 }),
    // A newer client may know more of them.
    transportFailure: fc.integer({ min: 0, max: 9 }).map((failure) => failure as TransportFailure),
    closeCode: fc.oneof(fc.integer({ min: 0, max: 5000 }), fc.integer()),
    consumerProject: fc.oneof(fc.string(), fc.constantFrom('projects/123456', '1', 'projects/demo')),
  });
  fc.assert(
    fc.property(report, ({ retryDelay, ...fields }) => {
      expectFinding({ ...providerError(fields), retryDelay: retryDelay && create(DurationSchema, retryDelay) });
    }),
    { numRuns: 3000 },
  );
});

test('any pasted text is explained without throwing', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        bodies,
        fc.array(bodies, { maxLength: 3 }).map((texts) => texts.join('\n')),
      ),
      (text) => {
        const { finding, why } = explainError(text);
        expect(CLASSES.has(finding.errorClass)).toBe(true);
        expect(why).toMatch(/^Rule "[a-z-]+" decided: /);
      },
    ),
    { numRuns: 1000 },
  );
});

test('whatever is thrown is described without throwing', () => {
  fc.assert(
    fc.property(fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true }), (thrown) => {
      describeThrown(thrown);
      describeThrown(
        Object.assign(new Error('x'), { status: thrown, body: thrown, code: thrown, cause: thrown, name: thrown }),
      );
    }),
    { numRuns: 1000 },
  );
});

test('deep nesting neither overflows the stack nor hides what is not deep', () => {
  for (const [open, close] of [
    ['[', ']'],
    ['{"error":', '}'],
    ['{"a":', '}'],
    ['{"error":{"message":', '}}'],
  ] as const) {
    for (const depth of [10, 1000, 100_000]) {
      expectFinding(providerError({ body: open.repeat(depth) + close.repeat(depth), httpStatus: 429 }));
      expectFinding(providerError({ body: `${open.repeat(depth)}1${close.repeat(depth)}` }));
    }
  }
  const deep = '['.repeat(3000) + ']'.repeat(3000);
  const body = `{"error":{"code":403,"message":"Your API key was reported as leaked.","details":${deep}}}`;
  expect(judged({ body })).toBe('KEY_SUSPENDED key');
});

test('JSON within JSON is opened four times and no more', () => {
  let body = restBody(403, 'PERMISSION_DENIED', 'Your API key was reported as leaked.');
  for (let depth = 1; depth <= 8; depth++) {
    expect([depth, judged({ body })]).toEqual([depth, depth <= 4 ? 'KEY_SUSPENDED key' : 'UNKNOWN none']);
    body = JSON.stringify({ error: { message: body } });
  }
});

test('numbers beyond all ranges change nothing', () => {
  for (const code of ['1e999', '-1e999', '99999999999999999999', '-8', '0', '4.29e2', '429.5', '1e-400']) {
    expectFinding(providerError({ body: `{"error":{"code":${code},"message":"x"}}`, httpStatus: 429 }));
  }
  expect(judged({ body: '{"error":{"code":1e999,"message":"x"}}', httpStatus: 404 })).toBe('NOT_FOUND none');
});

test('an object where a number belongs is no number', () => {
  for (const value of ['{"toString":""}', '[]', '{}', '""', 'null', 'true']) {
    const violation = `{"quotaId":"RequestsPerMinute","quotaValue":${value}}`;
    expect(judged({ body: `{"error":{"code":429,"details":[{"violations":[${violation}]}]}}` })).toBe(
      'RATE_LIMITED_MINUTE project-model',
    );
  }
});

test('the last of several members of the same name counts, and none reaches a prototype', () => {
  expect(judged({ body: '{"error":{"code":400,"code":404,"message":"x"}}' })).toBe('NOT_FOUND none');
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    const inner = '{"code":403,"message":"Your API key was reported as leaked."}';
    expect(judged({ body: `{"${name}":{"error":${inner}}}` })).toBe('UNKNOWN none');
    expect(judged({ body: `{"error":{"code":404,"message":"x","${name}":${inner}}}` })).toBe('NOT_FOUND none');
    expectFinding(providerError({ body: `{"error":{"details":[{"metadata":{"${name}":{}}}]}}`, httpStatus: 429 }));
    expectFinding(providerError({ body: `{"error":"x","${name}":${inner}}`, httpStatus: 429 }));
  }
  expect(({} as { code?: unknown }).code).toBeUndefined();
});

test('halves of surrogate pairs and unprintable letters change nothing', () => {
  for (const odd of ['\ud800', '\udc00', '\u0000', '\ufffd', '\u2028']) {
    const body = restBody(403, 'PERMISSION_DENIED', `Your API key was reported as leaked.${odd}`);
    expect(judged({ body: body + odd })).toBe('KEY_SUSPENDED key');
    expect(judged({ body: odd + body })).not.toBe('');
    expectFinding(providerError({ body: odd, httpStatus: 429 }));
  }
});

test('of several errors in an array, the last counts', () => {
  const errors = [restBody(503, 'UNAVAILABLE', 'Busy.'), restBody(404, 'NOT_FOUND', 'No.')];
  expect(judged({ body: `[${errors.join(',')}]` })).toBe('NOT_FOUND none');
  expect(judged({ body: `[${'['.repeat(10)}${errors[0]}${']'.repeat(10)}]` })).toBe('OVERLOADED none');
});

test('only the first 16 KiB are looked at', () => {
  const { text } = openBody('x'.repeat(20_000));
  expect(text).toHaveLength(16 * 1024);
});

const PIECES = [
  'x',
  ' ',
  '\n',
  '"',
  '\\',
  '{"error":',
  '[',
  'data: {}\n',
  '<',
  '<a>',
  'Please retry in ',
  'Quota exceeded for metric: ',
  "Quota exceeded for quota metric '",
  '* Quota exceeded for metric: x, limit: 0',
  'got status: ',
  'Error: ',
  'models/',
  '{"message":"',
  "{'",
  '429 x [violations { quota_id: "',
  ' [reason: "a" metadata { key: ',
  "'",
  'a.b.',
  'received 1008 (policy ',
  '[GoogleGenerativeAI Error]: [403 x] ',
  ' [{"@type":',
  'API key not valid. Please ',
  '* Quota exceeded for metric: x, limit: 1, model: m\n',
  "Quota exceeded for quota metric 'a' and limit 'b' of service 'c' for consumer '",
  'Gemini is ',
  'Permission denied: Consumer ',
  'Request trace id: x: ',
  'Error 429, Message: ',
  ', Status: X, Details: ',
  'googleapi: Error 403: x, badRequest',
  'rpc error: code = Unknown desc = ',
  'This model x is no longer available to new users. ',
  'models/x is no longer available to new users. Please ',
];

test.each(PIECES)('a body of 10 MB of "%s" is judged in a bounded time', (piece) => {
  const body = piece.repeat(Math.ceil(10_000_000 / piece.length));
  const wrapped = JSON.stringify({ error: { code: 429, message: body.slice(0, 15_000) } });
  const start = performance.now();
  for (let run = 0; run < 10; run++) {
    expectFinding(providerError({ body, message: body }));
    expectFinding(providerError({ body, message: body, httpStatus: 429 }));
    expectFinding(providerError({ body: wrapped }));
  }
  // 60 judgements, each well below a millisecond.
  expect(performance.now() - start).toBeLessThan(5000);
});
