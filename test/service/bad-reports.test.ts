import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import {
  ErrorClass,
  GetStatsRequestSchema,
  KeyState,
  Outcome,
  type ProviderErrorSchema,
  ReportResultRequestSchema,
  type ReportResultResponse,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { getStats } from '../../src/server/service/get-stats.ts';
import { reportResult } from '../../src/server/service/report-result.ts';
import type { CooldownView } from '../../src/store/store.ts';
import { acquireOrder, createKeyOrder } from '../support/orders.ts';
import { callOf, movedClock, openService, refusalOf, START_TIME } from '../support/service.ts';
import { tempDir } from '../support/temp-dir.ts';

type Told = MessageInitShape<typeof ProviderErrorSchema>;

const MODEL = 'gemini-2.5-flash';
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const QUOTA = 'You exceeded your current quota, please check your plan and billing details.';

/** A service with one key, and the way to report an error of its next call. */
async function opened() {
  const clock = movedClock();
  const service = await openService({ clock, random: () => 0 });
  const { store } = service.context;
  const { keyId } = await store.createKey(createKeyOrder('AQ.test-key-bad', { project: 'p' }));
  const report = async (error: Told, caller = 'odd'): Promise<ReportResultResponse> => {
    const { leaseId } = await store.acquire(acquireOrder({ model: MODEL, caller }));
    const request = create(ReportResultRequestSchema, { leaseId, outcome: Outcome.FAILURE, error });
    return reportResult(service.context, request, callOf({ caller }));
  };
  const distrusted = async (): Promise<Record<string, bigint>> => {
    const { callers } = await getStats(service.context, create(GetStatsRequestSchema), service.call);
    return Object.fromEntries(callers.map(({ caller, delaysDistrusted }) => [caller, delaysDistrusted]));
  };
  return { service, store, clock, keyId, report, distrusted, now: () => clock.now() + START_TIME };
}

function inField(retryDelay: Told['retryDelay']): Told {
  return { httpStatus: 429, message: QUOTA, retryDelay };
}

function body(retryDelay: unknown): string {
  const details = [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay }];
  return JSON.stringify({ error: { code: 429, status: 'RESOURCE_EXHAUSTED', message: QUOTA, details } });
}

describe('a delay that cannot be', () => {
  test.each<[string, Told, restMs: number]>([
    // One beyond a day is believed in nothing, not in that it speaks of a day either.
    ['of 10^9 s', { body: body('1000000000s') }, MINUTE_MS],
    ['of 10^9 s in a field', inField({ seconds: 1_000_000_000n }), MINUTE_MS],
    ['beyond every number', inField({ seconds: 2n ** 63n - 1n, nanos: -1 }), MINUTE_MS],
    ['that is too large for a number', { body: body({ seconds: '9'.repeat(400) }) }, MINUTE_MS],
    ['that is negative', { body: body('-5s') }, MINUTE_MS],
    ['that is negative in a field', inField({ seconds: -5n }), MINUTE_MS],
    ['that is no number', { body: body('soon') }, MINUTE_MS],
  ])('%s rests the key no longer than without one, and is counted for its caller', async (_, error, restMs) => {
    const { store, clock, keyId, report, distrusted, now } = await opened();
    expect((await report(error)).retryAdvice?.retry).toBe(true);
    const { cooldowns } = await store.getKey(keyId);
    expect(cooldowns).toHaveLength(1);
    const [{ probeTime, untilTime }] = cooldowns as [CooldownView];
    expect((probeTime ?? untilTime) - now()).toBeCloseTo(restMs, 1);
    expect(await distrusted()).toEqual({ odd: 1n });
    clock.move(restMs + 1);
    expect((await store.acquire(acquireOrder({ model: MODEL }))).keyId).toBe(keyId);
  });

  test('and one that can be is obeyed, and counted for nobody', async () => {
    const { store, keyId, report, distrusted, now } = await opened();
    await report({ body: body('34.5s') });
    const { cooldowns } = await store.getKey(keyId);
    expect(cooldowns[0]!.untilTime - now()).toBeCloseTo(34_500, 1);
    expect(await distrusted()).toEqual({});
  });
});

describe('what a client in a broken language sends', () => {
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  test.each<[string, Told]>([
    ['nothing', {}],
    ['a status that is none', { httpStatus: -1 }],
    ['a status beyond range', { httpStatus: 2 ** 31 - 1, closeCode: -(2 ** 31) }],
    ['a close code beyond range', { closeCode: 2 ** 31 - 1 }],
    ['a failure that is none', { transportFailure: 99 as 0 }],
    ['a body of 10 MB', { httpStatus: 500, body: 'x'.repeat(10_000_000) }],
    ['a body of 10 MB of JSON', { body: JSON.stringify({ error: { message: '\\"'.repeat(5_000_000) } }) }],
    ['deeply nested JSON', { body: deep }],
    ['half a character', { body: '\ud800{"error":\udfff', message: '\udc00' }],
    ['zero bytes', { body: '\0'.repeat(20_000), status: '\0', reason: '\0' }],
    ['a reason of 10 MB', { httpStatus: 403, reason: 'R'.repeat(10_000_000) }],
    [
      'a million violations',
      { httpStatus: 429, quotaViolations: Array.from({ length: 10_000 }, () => ({ quotaId: 'x' })) },
    ],
    ['a limit below 0', { httpStatus: 429, quotaViolations: [{ quotaId: 'GenerateRequestsPerDay', quotaValue: -5n }] }],
    ['a project that is none', { httpStatus: 403, consumerProject: 'projects/../../etc' }],
  ])('%s: is taken, counted as a failure and disables nothing', async (_, error) => {
    const { service, store, keyId, report } = await opened();
    const { errorClass, keyHealth } = await report(error);
    expect(errorClass).toBeGreaterThan(ErrorClass.UNSPECIFIED);
    expect(keyHealth?.keyId).toBe(keyId);
    const key = await store.getKey(keyId);
    expect(key.usage).toMatchObject({ failed: 1, calls: 1 });
    expect([KeyState.AVAILABLE, KeyState.COOLING]).toContain(key.state);
    for (const { untilTime } of key.cooldowns) expect(untilTime).toBeLessThan(START_TIME + 2 * DAY_MS);
    expect((await store.listQuotas({ project: '', after: '', limit: 10 })).items).toEqual([]);
    expect(key.quotaProject).toBe('p');
    await service.close();
  });

  test.each<[string, MessageInitShape<typeof ReportResultRequestSchema>, string]>([
    ['a latency below 0', { latency: { seconds: -1n } }, 'latency'],
    ['tokens below 0', { usage: { inputTokens: -1n } }, 'usage.input_tokens'],
    ['more tokens than there are', { usage: { outputTokens: 2n ** 62n } }, 'usage.output_tokens'],
    ['an outcome that is none', { outcome: 77 as 0 }, 'outcome'],
  ])('%s: is refused by name, and the lease stays', async (_, request, field) => {
    const { service, store, keyId } = await opened();
    const { leaseId } = await store.acquire(acquireOrder());
    const full = create(ReportResultRequestSchema, { leaseId, outcome: Outcome.SUCCESS, ...request });
    expect(await refusalOf(reportResult(service.context, full, service.call))).toMatchObject({
      reason: 'INVALID_FIELD',
      field,
    });
    expect((await store.getKey(keyId)).activeLeases).toBe(1);
  });
});

test('1,000 bad prompts in a row leave health and cooldowns of every key as they were, also over a restart', async () => {
  const dataDir = tempDir();
  const clock = movedClock();
  const service = await openService({ dataDir, clock });
  const { store } = service.context;
  for (const name of ['a', 'b', 'c']) await store.createKey(createKeyOrder(`AQ.test-key-${name}`, { project: name }));
  const picture = async (from = store) => {
    const query = { pool: '', states: [], project: '', source: '', labels: {}, after: '', limit: 10 };
    const { items } = await from.listKeys(query);
    return items.map(({ usage: _, lastAcquireTime: __, activeLeases: ___, ...key }) => key);
  };
  const before = await picture();
  const bad = [
    { httpStatus: 400, body: '{"error":{"code":400,"message":"Invalid JSON payload","status":"INVALID_ARGUMENT"}}' },
    { httpStatus: 413, body: '' },
    { httpStatus: 400, message: 'Unable to process input image.' },
  ];
  for (let call = 0; call < 1_000; call++) {
    const { leaseId } = await store.acquire(acquireOrder({ model: MODEL }));
    const error = bad[call % bad.length]!;
    const request = create(ReportResultRequestSchema, { leaseId, outcome: Outcome.FAILURE, error });
    expect((await reportResult(service.context, request, service.call)).retryAdvice?.retry).toBe(false);
  }
  expect(await picture()).toEqual(before);
  await service.close();
  const again = await openService({ dataDir, clock });
  expect(await picture(again.context.store)).toEqual(before);
});
