import { expect, test } from 'vitest';
import { type Finding, plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { acquireOrder, apiKeys, createKeyOrder, importOrder, report } from '../support/orders.ts';
import { openDoor, serviceContext } from './door.ts';
import { parsePrometheus } from './prometheus.ts';

async function scrape(url: string) {
  const answer = await fetch(`${url}/metrics`);
  expect(answer.status).toBe(200);
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  return parsePrometheus(await answer.text());
}

test('what the store counts can be scraped as Prometheus text', async () => {
  const context = await serviceContext();
  const { store } = context;
  for (const each of [1, 2, 3]) await store.createKey(createKeyOrder(`AQ.test-key-00000${each}`));
  await store.createKey(createKeyOrder('AQ.test-key-000004', { disabled: true }));
  const leases = [];
  for (let i = 0; i < 3; i++) leases.push(await store.acquire(acquireOrder()));
  await store.report(report(leases[0]!.leaseId, { inputTokens: 7, outputTokens: 5, latencyMs: 1500 }));
  await store.report(report(leases[1]!.leaseId, { outcome: Outcome.UNUSED }));
  context.open.watchers = 2;
  const door = await openDoor({}, { context });

  const { value, families } = await scrape(door.url);
  const pool = { pool: 'default' };
  expect(value('keybalancer_keys', { ...pool, state: 'available' })).toBe(3);
  expect(value('keybalancer_keys', { ...pool, state: 'disabled' })).toBe(1);
  expect(value('keybalancer_keys', { ...pool, state: 'cooling' })).toBe(0);
  expect(value('keybalancer_active_leases', pool)).toBe(1);
  expect(value('keybalancer_waiting_acquires', pool)).toBe(0);
  expect(value('keybalancer_leases_acquired_total', pool)).toBe(3);
  expect(value('keybalancer_leases_succeeded_total', pool)).toBe(1);
  expect(value('keybalancer_leases_unused_total', pool)).toBe(1);
  for (const name of ['failed', 'expired', 'released', 'late']) {
    expect(value(`keybalancer_leases_${name}_total`, pool)).toBe(0);
  }
  expect(value('keybalancer_tokens_total', { ...pool, kind: 'input' })).toBe(7);
  expect(value('keybalancer_acquire_latency_samples_total', pool)).toBe(3);
  expect(value('keybalancer_acquire_latency_seconds', { ...pool, quantile: '0.99' })).toBeLessThan(1);
  expect(value('keybalancer_provider_latency_seconds', { ...pool, quantile: '1' })).toBeCloseTo(1.5, 1);
  expect(value('keybalancer_store_commits_total')).toBeGreaterThan(0);
  expect(value('keybalancer_store_commit_operations_total')).toBeGreaterThanOrEqual(6);
  expect(value('keybalancer_store_commit_failures_total')).toBe(0);
  expect(value('keybalancer_store_commit_latency_seconds', { quantile: '0.5' })).toBeGreaterThan(0);
  expect(value('keybalancer_store_database_bytes')).toBeGreaterThan(0);
  expect(value('keybalancer_secret_cache_entries')).toBeGreaterThanOrEqual(0);
  expect(value('keybalancer_watchers')).toBe(2);
  expect(value('keybalancer_sessions')).toBe(0);
  expect(value('keybalancer_process_resident_memory_bytes')).toBeGreaterThan(1e6);
  expect(value('keybalancer_build_info', { version: '1.2.3-test', node: process.versions.node })).toBe(1);
  expect(value('keybalancer_start_time_seconds')).toBeCloseTo(context.startTime / 1000, 3);

  for (const [name, { type, help }] of families) {
    expect(name).toMatch(/^keybalancer_/);
    expect(help).not.toBe('description missing');
    expect(type).toBe(name.endsWith('_total') ? 'counter' : 'gauge');
  }
});

test('failures are told by class, and nothing tells a key', async () => {
  const context = await serviceContext();
  const { store } = context;
  await store.createKey(createKeyOrder('AQ.test-key-000001'));
  const { leaseId, keyId } = await store.acquire(acquireOrder());
  await store.report(
    report(leaseId, {
      outcome: Outcome.FAILURE,
      finding: plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', 1_000),
    }),
  );
  const door = await openDoor({}, { context });
  const { text, value } = await scrape(door.url);
  expect(value('keybalancer_failures_total', { pool: 'default', class: 'rate_limited_minute' })).toBe(1);
  expect(text).not.toContain(keyId);
  expect(text).not.toContain(leaseId);
  expect(text).not.toContain('AQ.');
});

test('cooldowns are told by what rests and why, with the time until the last of them ends', async () => {
  const context = await serviceContext();
  const { store } = context;
  for (const each of [1, 2, 3]) {
    await store.createKey(createKeyOrder(`AQ.test-key-00000${each}`, { project: each === 3 ? 'two' : 'one' }));
  }
  const fails = async (finding: Finding, requireProject: string) => {
    const { leaseId } = await store.acquire(acquireOrder({ requireProject, model: 'm' }));
    await store.report(report(leaseId, { outcome: Outcome.FAILURE, finding }));
  };
  await fails(plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', 30_000), 'one');
  await fails(plainFinding(ErrorClass.PERMISSION, 'key'), 'two');
  const door = await openDoor({}, { context });
  const { value, has } = await scrape(door.url);
  const minute = { scope: 'project', cause: 'rate_limited_minute' };
  expect(value('keybalancer_cooldowns', minute)).toBe(1);
  expect(value('keybalancer_cooldown_longest_seconds', minute)).toBeGreaterThan(1);
  expect(value('keybalancer_cooldown_longest_seconds', minute)).toBeLessThan(3600);
  expect(value('keybalancer_cooldowns', { scope: 'key', cause: 'permission' })).toBe(1);
  expect(has('keybalancer_cooldowns', { scope: 'model', cause: 'overloaded' })).toBe(false);
});

test('known quota is told as used and left, over the projects of a pool; a spent one hides no other that has some left', async () => {
  const context = await serviceContext();
  const { store } = context;
  for (const [index, project] of ['one', 'two', ''].entries()) {
    await store.createKey(createKeyOrder(`AQ.test-key-00000${index}`, { project }));
  }
  await store.setQuota({ project: 'one', model: 'm', limits: { requestsPerDay: 2, requestsPerMinute: 9 } });
  await store.setQuota({ project: 'two', model: 'm', limits: { requestsPerDay: 10 } });
  const own = { project: 'key-00000003', model: 'other', limits: { inputTokensPerMinute: 100 } };
  await store.setQuota(own);
  const take = (requireProject: string) => store.acquire(acquireOrder({ requireProject, model: 'm' }));
  for (const project of ['one', 'one', 'two']) await take(project);
  await store.setQuota({ project: 'one', model: 'm', limits: { requestsPerDay: 1 } });
  const door = await openDoor({}, { context });
  const { value, has } = await scrape(door.url);
  const of = (model: string, limit: string) => ({ pool: 'default', model, limit });
  expect(value('keybalancer_quota_used', of('m', 'requests_per_day'))).toBe(3);
  expect(value('keybalancer_quota_left', of('m', 'requests_per_day'))).toBe(9);
  expect(value('keybalancer_quota_left', of('m', 'requests_per_minute'))).toBe(7);
  expect(value('keybalancer_quota_left', of('other', 'input_tokens_per_minute'))).toBe(100);
  expect(has('keybalancer_quota_left', of('m', 'tokens_per_day'))).toBe(false);
});

test('models with quota beyond the bound of a pool are told of together', async () => {
  const context = await serviceContext();
  const { store } = context;
  for (let index = 0; index < 70; index++) {
    await store.createKey(createKeyOrder(`AQ.test-key-0000${index}`, { project: `p${index}` }));
    await store.setQuota({ project: `p${index}`, model: `m${index}`, limits: { requestsPerDay: 5 } });
  }
  const door = await openDoor({}, { context });
  const { value, text } = await scrape(door.url);
  const limit = { pool: 'default', limit: 'requests_per_day' };
  expect(value('keybalancer_quota_left', { ...limit, model: '(others)' })).toBe(6 * 5);
  expect(text.match(/^keybalancer_quota_left/gm)).toHaveLength(65);
});

test('keys have series of their own where that is asked for, with their errors by whose they are', async () => {
  const context = await serviceContext();
  const { store } = context;
  const { keyId } = await store.createKey(createKeyOrder('AQ.test-key-000001', { project: 'p' }));
  await store.createKey(createKeyOrder('AQ.test-key-000002', { disabled: true }));
  let perKey = false;
  const door = await openDoor({}, { context, metricsPerKey: () => perKey });
  expect((await scrape(door.url)).text).not.toContain('keybalancer_key_');
  perKey = true;
  for (const finding of [
    plainFinding(ErrorClass.BAD_REQUEST),
    plainFinding(ErrorClass.SERVER_ERROR),
    plainFinding(ErrorClass.SERVER_ERROR),
    plainFinding(ErrorClass.CONTENT_BLOCKED),
  ]) {
    const { leaseId } = await store.acquire(acquireOrder());
    await store.report(report(leaseId, { outcome: Outcome.FAILURE, finding }));
  }
  await store.acquire(acquireOrder());
  const { value, has, text } = await scrape(door.url);
  const key = { pool: 'default', project: 'p', key_id: keyId };
  expect(value('keybalancer_key_up', { ...key, state: 'available' })).toBe(1);
  expect(value('keybalancer_key_leases', key)).toBe(1);
  const errors = Object.fromEntries(
    ['caller', 'key', 'project', 'provider'].map((domain) => [
      domain,
      value('keybalancer_key_errors_total', { ...key, domain }),
    ]),
  );
  expect(errors).toEqual({ caller: 1, key: 0, project: 0, provider: 2 });
  const other = { pool: 'default', project: '', key_id: 'key-00000002' };
  expect(value('keybalancer_key_up', { ...other, state: 'disabled_admin' })).toBe(0);
  expect(has('keybalancer_key_errors_total', { ...other, domain: 'key' })).toBe(false);
  expect(value('keybalancer_keys_untold')).toBe(0);
  expect(text).not.toContain('AQ.');
  await store.deleteKey({ keyId, etag: '', allowMissing: false });
  expect((await scrape(door.url)).text).not.toContain(keyId);
});

test('of more keys than have series, the first have them, and the number of the others is told', async () => {
  const context = await serviceContext();
  await context.store.importKeys(importOrder(apiKeys(10_003)));
  const door = await openDoor({}, { context, metricsPerKey: () => true });
  const { value, text } = await scrape(door.url);
  expect(value('keybalancer_keys_untold')).toBe(3);
  expect(text.match(/^keybalancer_key_up/gm)).toHaveLength(10_000);
});

test('a pool that was deleted leaves no series behind', async () => {
  const context = await serviceContext();
  const { store } = context;
  const [settings] = (await store.listPools({ after: '', limit: 1 })).items;
  const door = await openDoor({}, { context });
  await store.createPool({ pool: { ...settings!, pool: 'short-lived' }, idempotency: undefined });
  expect((await scrape(door.url)).has('keybalancer_active_leases', { pool: 'short-lived' })).toBe(true);
  await store.deletePool({ pool: 'short-lived', etag: '' });
  const { has, text } = await scrape(door.url);
  expect(text).not.toContain('short-lived');
  expect(has('keybalancer_active_leases', { pool: 'default' })).toBe(true);
});

test('how late the event loop ran is told in seconds', async () => {
  const door = await openDoor({});
  await expect
    .poll(async () => (await scrape(door.url)).has('keybalancer_event_loop_delay_seconds', { quantile: '0.99' }), {
      interval: 100,
    })
    .toBe(true);
});

test('a scrape that the store fails is an error, not half the figures', async () => {
  const context = await serviceContext();
  const broken = { ...context, store: { stats: () => Promise.reject(new Error('no figures')) } as never };
  const door = await openDoor({}, { context: broken });
  const answer = await fetch(`${door.url}/metrics`);
  expect(answer.status).toBe(500);
  expect(await answer.json()).toEqual({ code: 'internal', message: 'internal error; the server log says more' });
  expect(door.faults).toMatchObject([{ message: 'no figures' }]);
});
