import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { TELEMETRY, withMetrics } from '../../scripts/metrics-reference.ts';
import { plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { openDoor, serviceContext } from '../http/door.ts';
import { parsePrometheus } from '../http/prometheus.ts';
import { acquireOrder, createKeyOrder, report } from '../support/orders.ts';

const text = readFileSync(TELEMETRY, 'utf8');

test('the tables of metrics are what npm run metrics-reference would write', () => {
  expect(text).toBe(withMetrics(text));
});

test('the tables have every metric that a scrape shows, and no other, with its kind, labels and meaning', async () => {
  const context = await serviceContext();
  const { store } = context;
  await store.createKey(createKeyOrder('AQ.test-key-000001', { project: 'p' }));
  await store.setQuota({ project: 'p', model: 'm', limits: { requestsPerDay: 9 } });
  const [one, two] = [await store.acquire(acquireOrder({ model: 'm' })), await store.acquire(acquireOrder())];
  await store.report(report(one.leaseId, { latencyMs: 1_000 }));
  const finding = plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', 9_000);
  await store.report(report(two.leaseId, { outcome: Outcome.FAILURE, finding }));
  await store.acquire(acquireOrder({ requireProject: 'nobody' })).catch(() => {});
  const door = await openDoor({}, { context, metricsPerKey: () => true });
  let scrape!: ReturnType<typeof parsePrometheus>;
  const hasLooked = async (): Promise<boolean> => {
    scrape = parsePrometheus(await (await fetch(`${door.url}/metrics`)).text());
    return scrape.families.has('keybalancer_event_loop_delay_seconds');
  };
  await expect.poll(hasLooked, { interval: 100 }).toBe(true);
  const shown = Array.from(scrape.families, ([name, { type, help }]) => [name, type, labelsOf(name), help]);
  const rows = text.split('\n').filter((line) => line.startsWith('| `keybalancer_'));
  const told = rows.map((row) => {
    const [, name, , kind, , labels, help] = row.split('|').map((cell) => cell.trim());
    return [name!.replaceAll('`', ''), kind, labels!.replaceAll('`', ''), help];
  });
  expect(told.sort()).toEqual(shown.sort());

  function labelsOf(name: string): string {
    const labels = new RegExp(`^${name}(?:\\{(.*)\\})? `, 'm').exec(scrape.text)?.[1] ?? '';
    return Array.from(labels.matchAll(/(\w+)="/g), ([, label]) => label).join(', ');
  }
});
