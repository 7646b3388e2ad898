import { describe, expect, test } from 'vitest';
import { failed, HEALTHY, succeeded } from '../../src/engine/health.ts';
import { judge } from '../../src/engine/judgement.ts';
import { ErrorClass } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';

type Row = readonly [
  name: keyof typeof ErrorClass,
  counts: 'failed' | 'succeeded',
  fault: 'key' | 'caller' | 'nobody',
  rests: 'key' | 'project-model' | 'nothing',
  retry: 'other key' | 'other project' | 'after a second' | 'no',
];

/** Of errors whose scope is the key. */
const TABLE: readonly Row[] = [
  ['KEY_INVALID', 'failed', 'key', 'key', 'other key'],
  ['KEY_SUSPENDED', 'failed', 'key', 'key', 'other key'],
  ['PERMISSION', 'failed', 'key', 'key', 'other key'],
  ['RATE_LIMITED_MINUTE', 'failed', 'nobody', 'project-model', 'other project'],
  ['RATE_LIMITED_TOKENS', 'failed', 'nobody', 'project-model', 'other project'],
  ['SPEND_RATE_LIMITED', 'failed', 'nobody', 'project-model', 'other project'],
  ['QUOTA_EXHAUSTED_DAY', 'failed', 'nobody', 'project-model', 'other project'],
  ['QUOTA_ZERO', 'failed', 'nobody', 'project-model', 'other project'],
  ['BILLING', 'failed', 'nobody', 'project-model', 'other project'],
  ['OVERLOADED', 'failed', 'nobody', 'nothing', 'after a second'],
  ['SERVER_ERROR', 'failed', 'nobody', 'nothing', 'after a second'],
  ['TIMEOUT', 'failed', 'nobody', 'nothing', 'after a second'],
  ['NETWORK', 'failed', 'nobody', 'nothing', 'after a second'],
  ['UNKNOWN', 'failed', 'nobody', 'nothing', 'after a second'],
  ['BAD_REQUEST', 'failed', 'caller', 'nothing', 'no'],
  ['NOT_FOUND', 'failed', 'caller', 'nothing', 'no'],
  ['RESOURCE_MISMATCH', 'failed', 'caller', 'nothing', 'no'],
  ['LOCATION', 'failed', 'caller', 'nothing', 'no'],
  ['CANCELLED', 'failed', 'caller', 'nothing', 'no'],
  ['CONTENT_BLOCKED', 'succeeded', 'nobody', 'nothing', 'no'],
];

describe('what a class of error leads to', () => {
  test.each(TABLE)('%s counts as %s, is the fault of %s, rests %s; retry: %s', (name, counts, fault, rests, retry) => {
    const { advice, rest, ...verdict } = judge({ errorClass: ErrorClass[name], scope: 'key', retryDelayMs: undefined });
    expect(verdict).toEqual({
      failed: counts === 'failed',
      ownFault: fault === 'key',
      callersFault: fault === 'caller',
    });
    expect(rest).toEqual(rests === 'nothing' ? undefined : { of: rests, forMs: 60_000 });
    expect(advice).toEqual({
      retry: retry !== 'no',
      sameKey: false,
      delayMs: retry === 'after a second' ? 1_000 : 0,
      excludeKey: retry === 'other key' || retry === 'other project',
      excludeProject: retry === 'other project',
    });
  });

  test('every class has its row', () => {
    const classes = Object.keys(ErrorClass).filter((name) => Number.isNaN(Number(name)) && name !== 'UNSPECIFIED');
    expect(TABLE.map(([name]) => name).toSorted()).toEqual(classes.toSorted());
  });

  test('a permission that the whole project lacks is not the fault of the key', () => {
    const verdict = judge({ errorClass: ErrorClass.PERMISSION, scope: 'project', retryDelayMs: undefined });
    expect(verdict).toMatchObject({ ownFault: false, rest: { of: 'project-model', forMs: 60_000 } });
  });

  test('a limit rests for the stated delay, at most a day; overload is retried after it, at most a minute', () => {
    const forMs = (retryDelayMs: number): number =>
      judge({ errorClass: ErrorClass.RATE_LIMITED_MINUTE, scope: 'project-model', retryDelayMs }).rest!.forMs;
    expect(forMs(7_500)).toBe(7_500);
    expect(forMs(10 ** 10)).toBe(86_400_000);
    const overloaded = { errorClass: ErrorClass.OVERLOADED, scope: 'none' as const };
    expect(judge({ ...overloaded, retryDelayMs: 5_000 }).advice.delayMs).toBe(5_000);
    expect(judge({ ...overloaded, retryDelayMs: 10 ** 7 }).advice.delayMs).toBe(60_000);
  });
});

describe('the health factor', () => {
  test('falls by a fifth with a failure of the key’s own, to 0.1 at least, and grows by a tenth with a success, to 1 at most', () => {
    let health = failed(HEALTHY, ErrorClass.KEY_INVALID, true, 5);
    expect(health).toMatchObject({
      factor: 0.8,
      consecutiveFailures: 1,
      lastFailure: 5,
      lastErrorClass: ErrorClass.KEY_INVALID,
    });
    for (let i = 0; i < 50; i++) health = failed(health, ErrorClass.KEY_INVALID, true, 6);
    expect(health).toMatchObject({ factor: 0.1, consecutiveFailures: 51 });
    health = succeeded(health, 7);
    expect(health.factor).toBeCloseTo(0.11, 12);
    expect(health).toMatchObject({ consecutiveFailures: 0, lastSuccess: 7, lastFailure: 6 });
    for (let i = 0; i < 50; i++) health = succeeded(health, 8);
    expect(health.factor).toBe(1);
  });

  test('does not fall with a failure that is not the key’s own', () => {
    expect(failed(HEALTHY, ErrorClass.RATE_LIMITED_MINUTE, false, 5)).toMatchObject({
      factor: 1,
      consecutiveFailures: 0,
    });
  });
});
