import { expect, test } from 'vitest';
import { checksOf, type Evidence, figuresOf, type KeyEvidence } from '../../demo/verdict.ts';

function key(number: number, weight: number, picks: number, changed: Partial<KeyEvidence> = {}): KeyEvidence {
  return {
    number,
    weight,
    blamed: false,
    stayedHealthy: true,
    state: 'AVAILABLE',
    watchedState: 'AVAILABLE',
    acquired: picks,
    succeeded: picks,
    failed: 0,
    unused: 0,
    active: 0,
    answered: picks,
    refused: 0,
    ...changed,
  };
}

const BAD: Partial<KeyEvidence> = {
  blamed: true,
  stayedHealthy: false,
  state: 'COOLING',
  watchedState: 'COOLING',
  succeeded: 0,
  failed: 2,
  answered: 0,
  refused: 2,
};

/** Two good keys, one of which weighs double, and a bad one that took two tries from two calls. */
function evidence(changed: Partial<Evidence> = {}, ofFirst: Partial<KeyEvidence> = {}): Evidence {
  return {
    keys: [key(1, 2, 600, ofFirst), key(2, 1, 300), key(3, 1, 2, BAD)],
    models: 1,
    backends: { calls: 900, succeeded: 900, failed: 0, attempts: 902, retries: 2, failures: {} },
    states: ['AVAILABLE', 'COOLING', 'QUARANTINED'],
    strayRequests: 0,
    serverExit: 0,
    ...changed,
  };
}

function problems(of: Evidence): string[] {
  return checksOf(of).flatMap((check) => check.problems);
}

test('counts that agree bear out every claim', () => {
  expect(problems(evidence())).toEqual([]);
  expect(figuresOf(evidence())).toEqual({
    calls: 900,
    succeeded: 900,
    failed: 0,
    retries: 2,
    lostReports: 0,
    shares: { 2: { wanted: 0.6667, got: 0.6667 }, 1: { wanted: 0.3333, got: 0.3333 } },
    keysByState: { AVAILABLE: 2, COOLING: 1, QUARANTINED: 0 },
  });
});

test('a lease that nobody reported is lost, open or not', () => {
  const lost = evidence({}, { acquired: 601, active: 1 });
  expect(figuresOf(lost).lostReports).toBe(1);
  expect(problems(lost)).toEqual([
    'leases nobody reported: 1, and not 0',
    'key 1: 1 leases still open',
    'tries: 902, and not 903',
  ]);
});

test('a request that the server did not count is named with its key', () => {
  expect(problems(evidence({}, { answered: 601 }))).toEqual(['key 1: leases that succeeded: 600, and not 601']);
  expect(problems(evidence({}, { refused: 1 }))).toEqual(['key 1: leases that failed: 0, and not 1']);
  expect(problems(evidence({ strayRequests: 3 }))).toEqual([
    'requests without a known key or without an answer: 3, and not 0',
  ]);
});

test('calls that are neither succeeded nor failed, and a server that ended badly, are problems', () => {
  const { backends } = evidence();
  expect(problems(evidence({ backends: { ...backends, calls: 901 } }))).toEqual(['calls: 901, and not 900']);
  expect(problems(evidence({ serverExit: 1 }))).toEqual(['its exit code: 1, and not 0']);
});

test('a watcher that heard otherwise, and a key that rested without a reason, are problems', () => {
  expect(problems(evidence({}, { watchedState: 'COOLING' }))).toEqual([
    'key 1: the watcher last heard COOLING, and it is AVAILABLE',
  ]);
  expect(problems(evidence({}, { stayedHealthy: false }))).toEqual(['key 1: rested, though Gemini never refused it']);
  expect(problems(evidence({}, { blamed: true }))).toEqual(['key 1: never rested, though Gemini refused it']);
});

test('shares that are off by more than a few percent are a problem', () => {
  const { backends, keys } = evidence();
  const equal = evidence({
    keys: [key(1, 2, 450), key(2, 1, 450), ...keys.slice(2)],
    backends,
  });
  expect(problems(equal)).toEqual(['weight 1 got 50.0 % in place of 33.3 %', 'weight 2 got 50.0 % in place of 66.7 %']);
});

test('where picks are few, a share may be off by what one turn of each key makes, and no more', () => {
  const { keys } = evidence();
  const after = (first: number, second: number): string[] =>
    problems(evidence({ keys: [key(1, 2, first), key(2, 1, second), ...keys.slice(2)] })).filter((problem) =>
      problem.startsWith('weight'),
    );
  expect(after(1, 1)).toEqual([]);
  expect(after(5, 3)).toEqual([]);
  expect(after(5, 5)).toHaveLength(2);
});
