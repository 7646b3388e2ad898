import { beforeAll, describe, expect, test } from 'vitest';
import { asked } from '../../simulation/asked.ts';
import { plotOf } from '../../simulation/plot.ts';
import { type Run, reportsOf, run } from '../../simulation/run.ts';
import { tableOf } from '../../simulation/table.ts';
import { DEFAULT_SEED } from '../../simulation/world.ts';

let day: Run;

beforeAll(() => {
  day = run(DEFAULT_SEED, 'sliding', () => {});
});

describe('the day', () => {
  test('has at least 500,000 calls, about 70 % of what all projects admit, and a Pacific midnight in it', () => {
    const { load, world } = day;
    expect(load.count).toBeGreaterThan(500_000);
    expect(load.count / load.capacity).toBeCloseTo(0.7, 2);
    expect(load.times.subarray(0, load.count)).toSatisfy(isSorted);
    expect(world.midnight).toBe(Date.UTC(2026, 5, 16, 7));
    expect(world.start).toBeLessThan(world.midnight);
    expect(world.end).toBe(world.start + 24 * 3_600_000);
  });

  test('has bursts: of the busiest minute five times the mean is asked', () => {
    const { load, world } = day;
    const minutes = new Float64Array((world.end - world.start) / 60_000);
    load.times.subarray(0, load.count).forEach((time, call) => {
      if (load.models[call] === 0) minutes[Math.floor((time - world.start) / 60_000)]!++;
    });
    const mean = minutes.reduce((a, b) => a + b) / minutes.length;
    expect(Math.max(...minutes) / mean).toBeGreaterThan(5);
  });

  test('is accounted for to the last call, whoever schedules', () => {
    for (const report of reportsOf(day)) {
      expect(report.answered + report.failed + report.unserved, report.name).toBe(day.load.count);
      expect(sum(report.answeredByTime), report.name).toBe(report.answered);
      expect(sum(report.tooManyByTime), report.name).toBe(report.tooMany);
      // Two limits of each of 500 (project, model).
      expect(report.lessons, report.name).toBeLessThanOrEqual(1_000);
    }
  });
});

test('the oracle never calls in vain but for server errors, which nobody foresees', () => {
  const { oracle } = day;
  expect(oracle).toMatchObject({ tooMany: 0, overloaded: 0, deadPicks: 0 });
  expect(oracle.serverErrors / oracle.attempts).toBeCloseTo(0.02, 3);
  expect(oracle.answered / day.load.count).toBeGreaterThan(0.98);
});

test('round robin with a flat cooldown meets limits, dead keys and the overload again and again', () => {
  const { roundRobin, oracle } = day;
  expect(roundRobin.tooManyShare).toBeGreaterThan(0.05);
  expect(roundRobin.deadPicks).toBeGreaterThan(1_000);
  expect(roundRobin.answered).toBeLessThan(oracle.answered);
});

test('KeyBalancer reaches what is asked of it', () => {
  const { keyBalancer, oracle } = day;
  expect(asked(keyBalancer, oracle).filter(({ holds }) => !holds)).toEqual([]);
  // All that died, by the key or with their project.
  expect(keyBalancer.deadKeysKnown).toBe(9);
});

test('table and plot show every scheduler', () => {
  const reports = reportsOf(day);
  const plot = plotOf(day.world, reports);
  for (const { name, answered } of reports) {
    expect(tableOf(reports)).toContain(name);
    expect(plot).toContain(`>${name}</text>`);
    expect(plot).toContain(`${answered.toLocaleString('en-US')} answered`);
  }
  expect(plot.match(/<path class="series style-\d" d="M[\d. ]+(?:L[\d. ]+){143}"\/>/g)).toHaveLength(
    2 * reports.length,
  );
  expect(plot).not.toMatch(/NaN|undefined|Infinity/);
});

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

function isSorted(times: Float64Array): boolean {
  return times.every((time, index) => index === 0 || time >= times[index - 1]!);
}
