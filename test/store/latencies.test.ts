import { expect, test } from 'vitest';
import { Latencies } from '../../src/store/sqlite/latencies.ts';
import { latencyView } from '../../src/store/sqlite/views.ts';
import { Rig } from '../engine/rig.ts';

const DAY_MS = 24 * 3_600_000;

test('a pool in which nothing was recorded has no histograms, however often it is read', () => {
  const latencies = new Latencies();
  const { pool } = new Rig();
  expect(latencies.of(pool)).toEqual({});
  expect(latencyView(latencies.of(pool).acquire)).toMatchObject({ count: 0, p50Ms: 0, maxMs: 0 });
  latencies.record(pool, 'acquire', 5);
  expect(latencies.of(pool).provider).toBeUndefined();
  expect(latencies.of(new Rig().pool)).toEqual({});
});

test.each([1e9, 2 ** 53, 1e300, Number.POSITIVE_INFINITY])('a latency of %d ms counts as a day', (ms) => {
  const latencies = new Latencies();
  const { pool } = new Rig();
  latencies.record(pool, 'provider', ms);
  for (const { provider } of [latencies.of(pool), latencies.total]) {
    const { count, maxMs } = latencyView(provider);
    expect(count).toBe(1);
    expect(maxMs / DAY_MS).toBeCloseTo(1, 2);
  }
});
