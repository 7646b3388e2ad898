import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describePolicy } from '../../src/engine/describe-policy.ts';
import { failed, HEALTHY, succeeded } from '../../src/engine/health.ts';
import { cooldownMs, overloadDelayMs, policyFor } from '../../src/engine/policy.ts';
import { plainFinding, type Scope } from '../../src/gemini/finding.ts';
import { ErrorClass } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const SCOPES: readonly Scope[] = ['none', 'key', 'project', 'project-model'];
const CLASSES = Object.values(ErrorClass).filter((value) => typeof value === 'number');

const LIMIT = [MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 15 * MINUTE, 15 * MINUTE];
const PERMISSION = [HOUR, 6 * HOUR, DAY, DAY];

interface Row {
  name: keyof typeof ErrorClass;
  scope: Scope;
  counts: 'failed' | 'succeeded';
  fault: 'key' | 'caller' | 'nobody';
  rests: 'nothing' | 'scope' | 'model' | 'quarantine';
  /** Milliseconds by strikes, where Gemini stated no delay. */
  steps?: readonly number[];
  ends?: 'over' | 'half-open';
  retry: 'other key' | 'other project' | 'later' | 'later, same key' | 'no';
}

function row(
  name: Row['name'],
  scope: Scope,
  counts: Row['counts'],
  fault: Row['fault'],
  rests: Row['rests'],
  retry: Row['retry'],
  steps?: Row['steps'],
  ends?: Row['ends'],
): Row {
  return { name, scope, counts, fault, rests, retry, ...(steps && { steps }), ...(ends && { ends }) };
}

const BREAKER = [1, 2, 4, 8, 16, 30, 30].map((seconds) => seconds * SECOND);
const PAYMENT = [HOUR, 2 * HOUR, 4 * HOUR, 6 * HOUR, 6 * HOUR];

const TABLE: readonly Row[] = [
  row('KEY_INVALID', 'key', 'failed', 'key', 'quarantine', 'other key'),
  row('KEY_SUSPENDED', 'key', 'failed', 'nobody', 'quarantine', 'other key'),
  row('KEY_SUSPENDED', 'project', 'failed', 'nobody', 'quarantine', 'other project'),
  row('PERMISSION', 'key', 'failed', 'key', 'scope', 'other key', PERMISSION, 'half-open'),
  row('PERMISSION', 'project', 'failed', 'nobody', 'scope', 'other project', PERMISSION, 'half-open'),
  row('RATE_LIMITED_MINUTE', 'project-model', 'failed', 'nobody', 'scope', 'other project', LIMIT, 'over'),
  row('RATE_LIMITED_TOKENS', 'project-model', 'failed', 'nobody', 'scope', 'other project', LIMIT, 'over'),
  row(
    'SPEND_RATE_LIMITED',
    'project',
    'failed',
    'nobody',
    'scope',
    'other project',
    [10, 20, 40, 60, 60].map((minutes) => minutes * MINUTE),
    'over',
  ),
  row(
    'QUOTA_EXHAUSTED_DAY',
    'project-model',
    'failed',
    'nobody',
    'scope',
    'other project',
    [15 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 4 * HOUR],
    'over',
  ),
  row('QUOTA_ZERO', 'project-model', 'failed', 'nobody', 'scope', 'other project', [DAY, DAY], 'half-open'),
  row('BILLING', 'project', 'failed', 'nobody', 'scope', 'other project', PAYMENT, 'half-open'),
  row('BILLING', 'project-model', 'failed', 'nobody', 'scope', 'other project', [DAY, DAY], 'half-open'),
  row('LOCATION', 'project', 'failed', 'nobody', 'scope', 'other project', PERMISSION, 'half-open'),
  row('LOCATION', 'none', 'failed', 'caller', 'nothing', 'no'),
  row('NOT_FOUND', 'project-model', 'failed', 'nobody', 'scope', 'other project', [DAY, DAY], 'half-open'),
  row('NOT_FOUND', 'none', 'failed', 'caller', 'nothing', 'no'),
  row('OVERLOADED', 'none', 'failed', 'nobody', 'model', 'later, same key', BREAKER, 'half-open'),
  row('SERVER_ERROR', 'none', 'failed', 'nobody', 'nothing', 'later'),
  row('TIMEOUT', 'none', 'failed', 'nobody', 'nothing', 'later'),
  row('NETWORK', 'none', 'failed', 'nobody', 'nothing', 'later'),
  row('UNKNOWN', 'none', 'failed', 'nobody', 'nothing', 'later'),
  row('BAD_REQUEST', 'none', 'failed', 'caller', 'nothing', 'no'),
  row('RESOURCE_MISMATCH', 'none', 'failed', 'caller', 'nothing', 'no'),
  row('CANCELLED', 'none', 'failed', 'caller', 'nothing', 'no'),
  row('CONTENT_BLOCKED', 'none', 'succeeded', 'nobody', 'nothing', 'no'),
];

const finding = fc.record({
  errorClass: fc.constantFrom(...CLASSES, 99 as ErrorClass),
  scope: fc.constantFrom(...SCOPES),
  retryDelayMs: fc.option(fc.oneof(fc.integer({ min: 0, max: DAY }), fc.double({ min: 0, max: DAY, noNaN: true })), {
    nil: undefined,
  }),
  delayDistrusted: fc.boolean(),
});

describe('what a class of error leads to', () => {
  test.each(TABLE)(
    '$name of scope $scope: counts as $counts, fault of $fault, rests $rests, retry $retry',
    (wanted) => {
      const policy = policyFor({ errorClass: ErrorClass[wanted.name], scope: wanted.scope });
      expect(policy).toMatchObject({
        failed: wanted.counts === 'failed',
        fault: wanted.fault,
        rests: wanted.rests,
        advice: {
          retry: wanted.retry !== 'no',
          sameKey: wanted.retry === 'later, same key',
          delayMs: wanted.retry.startsWith('later') ? SECOND : 0,
          excludeKey: wanted.retry === 'other key' || wanted.retry === 'other project',
          excludeProject: wanted.retry === 'other project',
        },
      });
      const { cooldown } = policy;
      const unstated = { retryDelayMs: undefined, delayDistrusted: false };
      expect(wanted.steps?.map((_, strikes) => cooldownMs(cooldown!, unstated, strikes))).toEqual(wanted.steps);
      expect(cooldown?.afterEnd).toBe(wanted.ends);
    },
  );

  test('every class has its row', () => {
    const classes = Object.keys(ErrorClass).filter((name) => Number.isNaN(Number(name)) && name !== 'UNSPECIFIED');
    expect([...new Set(TABLE.map(({ name }) => name))].toSorted()).toEqual(classes.toSorted());
  });

  test('every class, also one that is not known yet, leads to something for every scope; nobody rests whom nobody named', () => {
    for (const errorClass of [...CLASSES, 99 as ErrorClass]) {
      for (const scope of SCOPES) {
        const { rests, cooldown, advice, failed: counts } = policyFor({ errorClass, scope });
        expect(rests === 'scope' || rests === 'model').toBe(cooldown !== undefined);
        if (scope === 'none') expect(rests).not.toBe('scope');
        if (!advice.retry) expect(advice).toMatchObject({ sameKey: false, excludeKey: false, excludeProject: false });
        expect(counts).toBe(errorClass !== ErrorClass.CONTENT_BLOCKED);
      }
    }
  });

  test('whatever was stated, a cooldown lasts at least its least, at most its longest, and no shorter the more it strikes', () => {
    fc.assert(
      fc.property(finding, (found) => {
        const { cooldown } = policyFor(found);
        if (cooldown === undefined) return;
        let before = 0;
        for (let strikes = 0; strikes < 8; strikes++) {
          const ms = cooldownMs(cooldown, found, strikes);
          expect(ms).toBeGreaterThanOrEqual(cooldown.least);
          expect(ms).toBeLessThanOrEqual(Math.max(cooldown.longest, ...cooldown.steps));
          // What a day states says nothing of the steps after it.
          if (!cooldown.untilMidnight || strikes > 1) expect(ms).toBeGreaterThanOrEqual(before);
          before = ms;
        }
      }),
    );
  });

  test('a limit rests for the stated delay, 2 s at the least, and grows from it to 15 minutes at most', () => {
    const { cooldown } = policyFor({ errorClass: ErrorClass.RATE_LIMITED_MINUTE, scope: 'project-model' });
    const ms = (retryDelayMs: number | undefined, strikes = 0, delayDistrusted = false): number =>
      cooldownMs(cooldown!, { retryDelayMs, delayDistrusted }, strikes);
    expect([ms(7_500), ms(7_500, 1), ms(7_500, 3)]).toEqual([7_500, 15_000, 60_000]);
    expect([ms(0), ms(-5), ms(1_999)]).toEqual([2_000, 2_000, 2_000]);
    expect([ms(10 ** 12), ms(DAY, 0), ms(40_000, 4)]).toEqual([15 * MINUTE, 15 * MINUTE, 10 * MINUTE]);
    expect(ms(DAY, 0, true)).toBe(MINUTE);
  });

  test('a spent day is tried at the stated delay, a minute at the least, then after 15 min, 1 h and every 4 h', () => {
    const { cooldown } = policyFor({ errorClass: ErrorClass.QUOTA_EXHAUSTED_DAY, scope: 'project-model' });
    const tries = (retryDelayMs: number | undefined): number[] =>
      [0, 1, 2, 3, 4].map((strikes) => cooldownMs(cooldown!, { retryDelayMs, delayDistrusted: false }, strikes));
    const later = [15 * MINUTE, HOUR, 4 * HOUR, 4 * HOUR];
    expect(tries(0)).toEqual([MINUTE, ...later]);
    expect(tries(5 * HOUR)).toEqual([5 * HOUR, ...later]);
    expect(tries(undefined)).toEqual([15 * MINUTE, ...later]);
  });

  test('an overloaded model is asked again after 1, 2, 4 .. 30 s', () => {
    expect([0, 1, 2, 3, 4, 5, 6, 100].map(overloadDelayMs)).toEqual([...BREAKER, 30 * SECOND]);
  });
});

describe('the policy in words', () => {
  test('is never empty, for whatever error', () => {
    fc.assert(
      fc.property(finding, (found) => {
        for (const words of Object.values(describePolicy({ ...plainFinding(found.errorClass), ...found }))) {
          expect(words).toMatch(/\S/);
          expect(words).not.toMatch(/undefined|NaN|Infinity|null/);
        }
      }),
    );
  });

  test.each([
    [plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', 7_500), /this model.*7\.5 s, growing to 1\.9 min/],
    [plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', HOUR), /15 min \(stated were 1 h\)/],
    [
      { ...plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', DAY), delayDistrusted: true },
      /1 min.*absurd and not obeyed/,
    ],
    [plainFinding(ErrorClass.QUOTA_EXHAUSTED_DAY, 'project-model', 0), /until midnight Pacific time; from 1 min on/],
    [plainFinding(ErrorClass.KEY_INVALID, 'key'), /the key, in quarantine.*after 1 min and again 10 min later/],
    [plainFinding(ErrorClass.KEY_SUSPENDED, 'project'), /each key of the project, in quarantine.*at once/],
    [plainFinding(ErrorClass.OVERLOADED), /for everyone: a breaker.*1 s, growing to 30 s.*with any key/],
    [plainFinding(ErrorClass.BILLING, 'project'), /1 h, growing to 6 h.*one call that works.*still unpaid/],
    [plainFinding(ErrorClass.PERMISSION, 'key'), /the key, for every model.*a fifth of the key's health/],
    [plainFinding(ErrorClass.BAD_REQUEST), /nothing -.*it would fail again/],
    [plainFinding(ErrorClass.CONTENT_BLOCKED), /the key did its work/],
  ])('%# says what the table does', (found, wanted) => {
    const { rests, forHow, ends, costs, retry } = describePolicy(found);
    expect([rests, forHow, ends, costs, retry].join(' ')).toMatch(wanted);
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
