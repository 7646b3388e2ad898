import { expect, test } from 'vitest';
import { plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { openStore } from '../../src/store/open-store.ts';
import type { Store } from '../../src/store/store.ts';
import { acquireOrder, createKeyOrder, report } from '../support/orders.ts';
import { movedClock } from '../support/service.ts';
import { tempDir } from '../support/temp-dir.ts';
import { openDoor, serviceContext } from './door.ts';
import { parsePrometheus } from './prometheus.ts';

/** Each counter at /metrics by its line up to the value. */
async function counters(url: string): Promise<Map<string, number>> {
  const { text, families } = parsePrometheus(await (await fetch(`${url}/metrics`)).text());
  const found = new Map<string, number>();
  for (const [, series = '', name = '', value] of text.matchAll(/^((\w+)\S*) (\S+)$/gm)) {
    if (families.get(name)?.type === 'counter') found.set(series, Number(value));
  }
  return found;
}

const of = (name: string, labels = ''): string => `keybalancer_${name}_total{pool="default"${labels}}`;
const failed = { outcome: Outcome.FAILURE, finding: plainFinding(ErrorClass.SERVER_ERROR) };

type Lives = [what: string, live: (store: Store, clock: { move(ms: number): void }) => Promise<void>];
const lives: Lives[] = [
  [
    'expire, and one is reported late',
    async (store, clock) => {
      const leases = [];
      for (let each = 0; each < 3; each++) leases.push(await store.acquire(acquireOrder({ leaseTtlMs: 1_000 })));
      clock.move(1_000);
      await store.stats({ pools: [], includeModels: false });
      await store.report(report(leases[0]!.leaseId));
    },
  ],
  [
    'count as a success once they expire, and one is reported late as a failure',
    async (store, clock) => {
      await store.updatePool({ pool: 'default', etag: '', change: { autoSuccess: true } });
      const { leaseId } = await store.acquire(acquireOrder({ leaseTtlMs: 1_000 }));
      clock.move(1_000);
      await store.stats({ pools: [], includeModels: false });
      await store.report(report(leaseId, failed));
    },
  ],
];

test.each(lives)('no counter falls where leases %s', async (_, live) => {
  const clock = movedClock();
  const context = await serviceContext({ clock });
  const { store } = context;
  await store.createKey(createKeyOrder('AQ.test-key-000001'));
  const door = await openDoor({}, { context });
  let before = await counters(door.url);
  // Looked at before and after each thing that is done.
  const watched = new Proxy(store, {
    get: (target, name) => {
      const method = Reflect.get(target, name, target) as (...args: unknown[]) => Promise<unknown>;
      return async (...args: unknown[]) => {
        const answer = await method.apply(target, args);
        const now = await counters(door.url);
        for (const [series, value] of before) expect([series, now.get(series)! >= value]).toEqual([series, true]);
        before = now;
        return answer;
      };
    },
  });
  await live(watched, clock);
  expect(before.get(of('leases_late'))).toBe(1);
});

test('a lease that expired and is reported late is counted as both', async () => {
  const clock = movedClock();
  const context = await serviceContext({ clock });
  await context.store.createKey(createKeyOrder('AQ.test-key-000001'));
  const { leaseId } = await context.store.acquire(acquireOrder({ leaseTtlMs: 1_000 }));
  clock.move(1_000);
  await context.store.report(report(leaseId));
  const door = await openDoor({}, { context });
  const now = await counters(door.url);
  const told = ['acquired', 'expired', 'succeeded', 'late', 'failed'].map((end) => now.get(of(`leases_${end}`)));
  expect(told).toEqual([1, 1, 1, 1, 0]);
});

test('each class of failure and each reason of a refusal is told as 0 before the first', async () => {
  const context = await serviceContext();
  const { store } = context;
  const door = await openDoor({}, { context });
  const before = await counters(door.url);
  await expect(store.acquire(acquireOrder())).rejects.toMatchObject({ reason: 'POOL_EMPTY' });
  await store.createKey(createKeyOrder('AQ.test-key-000001'));
  for (const errorClass of Object.values(ErrorClass).filter((each) => each !== ErrorClass.UNSPECIFIED)) {
    await store.resetKey('key-00000001');
    const { leaseId } = await store.acquire(acquireOrder());
    await store.report(report(leaseId, { outcome: Outcome.FAILURE, finding: plainFinding(errorClass) }));
  }
  const now = await counters(door.url);
  expect([...now.keys()]).toEqual([...before.keys()]);
  const failures = [...now.keys()].filter((series) => series.startsWith('keybalancer_failures_total'));
  expect(failures).toHaveLength(20);
  for (const series of [...failures, of('acquire_refusals', ',reason="pool_empty"')]) {
    expect([series, before.get(series), now.get(series)]).toEqual([series, 0, 1]);
  }
});

test('counters begin at 0 with each run, as the start time that OTLP sends with them says', async () => {
  const dataDir = tempDir();
  const earlier = await openStore({ dataDir, durability: 'normal', masterKey: {} });
  await earlier.createKey(createKeyOrder('AQ.test-key-000001'));
  const { leaseId } = await earlier.acquire(acquireOrder());
  await earlier.report(report(leaseId, { ...failed, inputTokens: 7 }));
  await earlier.close();
  const context = await serviceContext({ dataDir });
  const { pools } = await context.store.stats({ pools: [], includeModels: false });
  expect(pools[0]!.usage).toMatchObject({ acquired: 1, failed: 1, inputTokens: 7 });
  const door = await openDoor({}, { context });
  const ofPools = [...(await counters(door.url))].filter(([series]) => series.includes('pool="'));
  expect(ofPools.length).toBeGreaterThan(30);
  expect(ofPools.filter(([, value]) => value !== 0)).toEqual([]);
});
