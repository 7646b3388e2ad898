import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { classify } from '../../src/gemini/classify.ts';
import { type Finding, plainFinding, type StatedLimit } from '../../src/gemini/finding.ts';
import { ErrorClass } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { SAMPLES, textOf } from './error-samples.ts';
import {
  errorInfo,
  judged,
  type ProviderErrorInit,
  providerError,
  quotaFailure,
  restBody,
  retryInfo,
} from './provider-errors.ts';

const find = (init: ProviderErrorInit): Finding => classify(providerError(init));
const quota = (message: string, ...details: object[]): Finding =>
  find({ httpStatus: 429, body: restBody(429, 'RESOURCE_EXHAUSTED', message, ...details) });
const sample = (name: string): Finding => {
  const found = SAMPLES.find((candidate) => candidate.name === name)!;
  return find({ httpStatus: found.httpStatus, body: textOf(found) });
};

test('a plain finding knows its class, scope and delay, and nothing else', () => {
  expect(plainFinding(ErrorClass.NETWORK)).toEqual({
    errorClass: ErrorClass.NETWORK,
    scope: 'none',
    retryDelayMs: undefined,
    delayDistrusted: false,
    rule: 'plain',
    beyond: undefined,
    project: undefined,
    limits: [],
  });
  expect(plainFinding(ErrorClass.BILLING, 'project', 5)).toMatchObject({ scope: 'project', retryDelayMs: 5 });
});

describe('the project', () => {
  test.each([
    ['consumer_suspended_2026', '100000000002'],
    ['service_disabled', '100000000004'],
    ['key_referrer_blocked', '100000000006'],
    ['rpm_region_errorinfo', '100000000009'],
    ['quota_zero_region_errorinfo', '100000000009'],
    // A name is no number.
    ['consumer_invalid', undefined],
    ['key_invalid_json', undefined],
  ])('of %s is %s', (name, project) => expect(sample(name).project).toBe(project));

  test.each([
    [403, "Permission denied: Consumer 'project_number:100000000002' has been suspended.", '100000000002'],
    [403, "Permission denied: Consumer 'projects/100000000002' has been suspended.", '100000000002'],
    [
      403,
      'Generative Language API has not been used in project 100000000004 before or it is disabled.',
      '100000000004',
    ],
    [
      429,
      "Quota exceeded for quota metric 'm' and limit 'l' of service 's' for consumer 'project_number:100000000009'.",
      '100000000009',
    ],
    // Words of a request.
    [400, "Invalid value at 'x': \"for consumer 'project_number:100000000009'\"", undefined],
    [403, "You do not have permission to access the File x for consumer 'project_number:100000000009'", undefined],
    [404, 'models/x has not been used in project 100000000004 before or it is disabled', undefined],
  ])('is read from the words of a %i: %s', (code, message, project) => {
    expect(find({ body: restBody(code, 'X', message) }).project).toBe(project);
  });

  const consumer = (said: string, consumerProject = ''): string | undefined =>
    find({ body: restBody(403, 'X', 'No.', errorInfo('CONSUMER_SUSPENDED', { consumer: said })), consumerProject })
      .project;

  test('is a number of 4 to 19 digits, however it is written', () => {
    expect(consumer('projects/1234')).toBe('1234');
    expect(consumer('project_number:1234567890123456789')).toBe('1234567890123456789');
    for (const bad of ['projects/1', 'projects/123', 'projects/012345', 'projects/12345678901234567890', 'projects/']) {
      expect([bad, consumer(bad)]).toEqual([bad, undefined]);
    }
    for (const bad of ['projects/12345x', 'projects/-12345', 'projects/12345/x', 'folders/12345', 'projects/١٢٣٤٥']) {
      expect([bad, consumer(bad)]).toEqual([bad, undefined]);
    }
  });

  test('is taken from a field of the report, too', () => {
    for (const consumerProject of ['100000000001', 'projects/100000000001', 'project_number:100000000001']) {
      expect(find({ httpStatus: 429, consumerProject }).project).toBe('100000000001');
    }
    expect(find({ httpStatus: 429, consumerProject: 'demo' }).project).toBeUndefined();
  });

  test('is unknown when two are named, and not when one is named twice', () => {
    expect(consumer('projects/100000000001', '100000000002')).toBeUndefined();
    expect(consumer('projects/100000000001', '100000000001')).toBe('100000000001');
    expect(consumer('projects/100000000001', '1')).toBe('100000000001');
  });

  test('is not the one that the request itself named', () => {
    const details = errorInfo('USER_PROJECT_DENIED', { consumer: 'projects/100000000001' });
    expect(find({ body: restBody(403, 'X', 'No.', details) }).project).toBeUndefined();
  });
});

describe('the limits', () => {
  const DAY = 'GenerateRequestsPerDayPerProjectPerModel-FreeTier';
  const MINUTE = 'GenerateRequestsPerMinutePerProjectPerModel-FreeTier';

  test.each<[string, StatedLimit[]]>([
    ['rpd_free_short_retry', [{ name: 'requestsPerDay', value: 20, quotaId: DAY, model: '' }]],
    [
      'minute_and_day_together',
      [
        { name: 'requestsPerDay', value: 250, quotaId: DAY, model: 'gemini-2.5-flash' },
        { name: 'requestsPerMinute', value: 10, quotaId: MINUTE, model: 'gemini-2.5-flash' },
      ],
    ],
    [
      'rpd_embed',
      [
        {
          name: 'requestsPerDay',
          value: 1000,
          quotaId: 'EmbedContentRequestsPerDayPerUserPerProjectPerModel-FreeTier',
          model: 'gemini-embedding-1.0',
        },
      ],
    ],
    [
      'rpm_region_errorinfo',
      [
        {
          name: 'requestsPerMinute',
          value: 15,
          quotaId: 'GenerateContentRequestsPerMinutePerProjectPerRegion',
          model: '',
        },
      ],
    ],
    ['quota_zero_message', []],
    ['quota_zero_region_errorinfo', []],
    ['rpd_old_metric_no_dims', []],
    ['exhausted_sdk_nested', []],
    ['key_invalid_json', []],
  ])('of %s are %j', (name, limits) => expect(sample(name).limits).toEqual(limits));

  test.each<[string, StatedLimit['name'] | undefined]>([
    ['GenerateRequestsPerMinutePerProjectPerModel', 'requestsPerMinute'],
    ['GenerateRequestsPerDayPerProjectPerModel-PaidTier', 'requestsPerDay'],
    ['GenerateContentInputTokensPerModelPerMinute-FreeTier', 'inputTokensPerMinute'],
    ['GenerateContentPaidTierInputTokensPerModelPerMinute', 'inputTokensPerMinute'],
    ['GenerateContentInputTokensPerModelPerDay', 'tokensPerDay'],
    ['EmbedContentRequestsPerDayPerProject', 'requestsPerDay'],
    ['GenerateImagesPerMinutePerProjectPerModel', undefined],
    ['GenerateImageRequestsPerDay', undefined],
    ['BatchEnqueuedTokensPerDay', undefined],
    ['GroundingRequestsPerDayPerProject', undefined],
    ['BidiConcurrentSessionsPerProject', undefined],
    ['GenerateContentOutputTokensPerMinute', undefined],
    ['GenerateRequestsPerHour', undefined],
    ['ThingsPerDay', undefined],
  ])('name %s %s', (quotaId, name) => {
    const { limits } = quota('Quota.', quotaFailure({ quotaId, quotaValue: '7' }));
    expect(limits).toEqual(name === undefined ? [] : [{ name, value: 7, quotaId, model: '' }]);
  });

  test('have a value that makes sense', () => {
    const readValue = (quotaValue: unknown): number | undefined =>
      quota('Quota.', quotaFailure({ quotaId: DAY, quotaValue })).limits[0]?.value;
    for (const [said, value] of [
      ['1', 1],
      [1e12, 1e12],
      ['1000000000000', 1e12],
      ['1000000000001', undefined],
      [1e308, undefined],
      ['-1', undefined],
      [0.5, undefined],
      ['9223372036854775807', undefined],
      ['x', undefined],
      [{}, undefined],
      [null, undefined],
    ] as const) {
      expect([said, readValue(said)]).toEqual([said, value]);
    }
  });

  test('take from the message what a violation lacks, unless it says two things', () => {
    const violation = { quotaMetric: 'g/requests', quotaId: DAY, quotaDimensions: { model: 'models/m' } };
    const line = (limit: number): string => `\n* Quota exceeded for metric: g/requests, limit: ${limit}, model: m`;
    expect(quota(`Quota.${line(20)}`, quotaFailure(violation)).limits).toEqual([
      { name: 'requestsPerDay', value: 20, quotaId: DAY, model: 'm' },
    ]);
    expect(quota(`Quota.${line(20)}${line(30)}`, quotaFailure(violation)).limits).toEqual([]);
  });

  test('are read from the message alone where the metric says the period', () => {
    const message = 'Quota.\n* Quota exceeded for metric: g/generate_requests_per_model_per_day, limit: 250, model: m';
    expect(quota(message).limits).toEqual([{ name: 'requestsPerDay', value: 250, quotaId: '', model: 'm' }]);
    expect(quota('Quota.\n* Quota exceeded for metric: g/requests, limit: 250').limits).toEqual([]);
  });

  test('are few, each once, with the smaller value, and without a key in their texts', () => {
    const many = Array.from({ length: 200 }, (_, index) => ({ quotaId: `Requests${index}PerDay`, quotaValue: '5' }));
    expect(quota('Quota.', quotaFailure(...many)).limits).toHaveLength(16);
    const twice = [9, 4, 6].map((quotaValue) => ({ quotaId: DAY, quotaValue }));
    expect(quota('Quota.', quotaFailure(...twice)).limits).toEqual([
      { name: 'requestsPerDay', value: 4, quotaId: DAY, model: '' },
    ]);
    const key = 'AIzaSyFAKE000000000000000000';
    const hostile = { quotaId: `RequestsPerDay-${key}`, quotaValue: '5', quotaDimensions: { model: key } };
    expect(JSON.stringify(quota('Quota.', quotaFailure(hostile)))).not.toContain('FAKE');
  });

  test('are none where no quota is exhausted', () => {
    const details = quotaFailure({ quotaId: DAY, quotaValue: '20' });
    expect(find({ body: restBody(400, 'INVALID_ARGUMENT', 'Bad.', details) }).limits).toEqual([]);
  });

  test('come from fields as well', () => {
    const quotaViolations = [
      { quotaMetric: 'm', quotaId: DAY, quotaValue: 20n, quotaDimensions: { model: 'models/gemini-2.5-flash' } },
    ];
    expect(find({ httpStatus: 429, quotaViolations }).limits).toEqual([
      { name: 'requestsPerDay', value: 20, quotaId: DAY, model: 'gemini-2.5-flash' },
    ]);
  });
});

describe('fields that leave out the values of violations', () => {
  const violation = (quotaId: string, quotaValue = 0n): object => ({
    quotaId,
    quotaValue,
    quotaDimensions: { model: 'm' },
  });
  const expectJudged = (violations: object[], expected: string, message = ''): void =>
    expect(judged({ httpStatus: 429, quotaViolations: violations as never, message })).toBe(expected);

  test('do not say that the limit is 0, as a client may not fill them', () => {
    expectJudged(
      [violation('RequestsPerMinutePerProject'), violation('RequestsPerDayPerProject')],
      'QUOTA_EXHAUSTED_DAY project-model',
    );
    expectJudged([violation('TokensPerMinute'), violation('RequestsPerMinute')], 'RATE_LIMITED_TOKENS project-model');
  });

  test('say so where another is filled, or the message says it', () => {
    expectJudged(
      [violation('RequestsPerMinute'), violation('RequestsPerDay'), violation('TokensPerMinute', 250_000n)],
      'QUOTA_ZERO project-model',
    );
    expectJudged(
      [violation('RequestsPerDay')],
      'QUOTA_ZERO project-model',
      '* Quota exceeded for metric: x, limit: 0, model: m',
    );
  });
});

describe('a delay that cannot be trusted', () => {
  test('is cut or dropped, and told', () => {
    expect(quota('Quota.', retryInfo('34s'))).toMatchObject({ retryDelayMs: 34_000, delayDistrusted: false });
    expect(quota('Quota.', retryInfo('1000000000s'))).toMatchObject({
      retryDelayMs: 86_400_000,
      delayDistrusted: true,
    });
    expect(quota('Quota.', retryInfo('9999999999999999999s'))).toMatchObject({ delayDistrusted: true });
    expect(quota('Quota.', retryInfo('-5s'))).toMatchObject({ retryDelayMs: undefined, delayDistrusted: true });
    expect(quota('Quota.', retryInfo('NaNs'))).toMatchObject({ retryDelayMs: undefined, delayDistrusted: true });
    expect(quota('Quota.\nPlease retry in -5s.', retryInfo('7s'))).toMatchObject({
      retryDelayMs: 7000,
      delayDistrusted: true,
    });
    expect(quota('Quota.')).toMatchObject({ retryDelayMs: undefined, delayDistrusted: false });
    expect(find({ httpStatus: 429, retryDelay: { seconds: 10n ** 9n } })).toMatchObject({ delayDistrusted: true });
  });

  test('is not taken from the words of a bad request', () => {
    const body = restBody(400, 'INVALID_ARGUMENT', 'Unsupported text: Please retry in 99h');
    expect(find({ body })).toMatchObject({ retryDelayMs: undefined, delayDistrusted: false });
  });
});

test('a finding holds no text of the error but quota ids and models', () => {
  fc.assert(
    fc.property(fc.constantFrom(...SAMPLES), fc.string({ minLength: 8 }), ({ httpStatus, body }, secret) => {
      const text = JSON.stringify({ error: { ...(body as { error?: object }).error, message: secret } });
      expect(JSON.stringify(find({ httpStatus, body: text, message: secret }))).not.toContain(secret);
    }),
  );
});
