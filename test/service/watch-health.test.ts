import { create } from '@bufbuild/protobuf';
import { expect, onTestFinished, test } from 'vitest';
import { DEFAULT_POOL } from '../../src/engine/settings.ts';
import { plainFinding } from '../../src/gemini/finding.ts';
import {
  ErrorClass,
  HealthEventKind,
  KeyState,
  Outcome,
  WatchHealthRequestSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { watchHealth } from '../../src/server/service/watch-health/watch-health.ts';
import type { HealthChange, Store } from '../../src/store/store.ts';
import { acquireOrder, apiKeys, createKeyOrder, importOrder, report } from '../support/orders.ts';
import { caller, contextOf, openFileStore, truth, Watching } from '../support/streams.ts';
import { tempDir } from '../support/temp-dir.ts';

const { KEY_ADDED, KEY_CHANGED, KEY_REMOVED, POOL_CHANGED, POOL_EXHAUSTED, POOL_RECOVERED } = HealthEventKind;

async function started(keys = 0) {
  const store = await openFileStore(tempDir());
  onTestFinished(() => store.close());
  if (keys > 0) {
    // The pool that has keys now says so in a commit of its own.
    const told = new Promise<void>((resolve) => {
      const stop = store.subscribe((changes) => {
        if (!changes.some(({ kind }) => kind === POOL_RECOVERED)) return;
        stop();
        resolve();
      });
    });
    await store.importKeys(importOrder(apiKeys(keys)));
    await told;
  }
  return { store, context: contextOf(store) };
}

function update(store: Store, keyId: string, change: object) {
  return store.updateKey({ keyId, etag: '', change, newApiKey: undefined, idempotency: undefined });
}

async function rateLimit(store: Store, keyId: string, retryDelayMs = 600_000): Promise<void> {
  const { leaseId } = await store.acquire(acquireOrder({ requireKeyId: keyId }));
  const finding = plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'key', retryDelayMs);
  await store.report(report(leaseId, { outcome: Outcome.FAILURE, finding }));
}

const keyId = (n: number): string => `key-${String(n).padStart(8, '0')}`;

test('a snapshot comes in pages, of which only the last has a token', async () => {
  const { store, context } = await started(1_201);
  const watching = await new Watching(context).begin();
  const pages = watching.messages.map(({ resumeToken, event }) =>
    event.case === 'snapshot' ? [event.value.keys.length, event.value.more, event.value.reset, resumeToken !== ''] : [],
  );
  expect(pages).toEqual([
    [500, true, false, false],
    [500, true, false, false],
    [201, false, false, true],
  ]);
  const [first] = watching.messages;
  expect(
    first?.event.case === 'snapshot' && first.event.value.pools.map(({ pool, totalKeys }) => [pool, totalKeys]),
  ).toEqual([['default', 1201n]]);
  expect(watching.picture).toEqual(await truth(store));
});

test('an empty store has a snapshot of one empty page', async () => {
  const { context } = await started();
  const watching = await new Watching(context).begin();
  expect(watching.messages).toHaveLength(1);
  expect(watching.resumeToken).not.toBe('');
});

test('every kind of change is told once it is stored', async () => {
  const { store, context } = await started(2);
  const watching = (await new Watching(context).begin()).run();
  const added = await store.createKey(createKeyOrder('AQ.test-added', { weight: 2 }));
  await update(store, keyId(1), { weight: 3 });
  await update(store, keyId(1), { disabled: true });
  await rateLimit(store, keyId(2));
  await store.deleteKey({ keyId: added.keyId, etag: '', allowMissing: false });
  await store.updatePool({ pool: 'default', etag: '', change: { description: 'watched' } });
  await store.resetKey(keyId(2));
  const kinds = [KEY_ADDED, KEY_CHANGED, KEY_REMOVED, POOL_CHANGED, POOL_EXHAUSTED, POOL_RECOVERED];
  await expect.poll(() => new Set(watching.changes.map(({ kind }) => kind))).toEqual(new Set(kinds));
  const last = await truth(store);
  await expect.poll(() => watching.picture).toEqual(last);
  expect(watching.oddities).toEqual([]);
});

test('each change says what the key was, and what it is now', async () => {
  const { store, context } = await started(1);
  const watching = await new Watching(context).begin();
  const next = async (kind: HealthEventKind) => {
    await watching.until(() => watching.changes.at(-1)?.kind === kind);
    const { key, previousState, merged } = watching.changes.at(-1)!;
    watching.messages.length = 0;
    return { keyId: key?.keyId, from: previousState, to: key?.state, merged };
  };
  await rateLimit(store, keyId(1));
  const key = { keyId: keyId(1), merged: 0n };
  expect(await next(KEY_CHANGED)).toEqual({ ...key, from: KeyState.AVAILABLE, to: KeyState.COOLING });
  await store.resetKey(keyId(1));
  expect(await next(KEY_CHANGED)).toEqual({ ...key, from: KeyState.COOLING, to: KeyState.AVAILABLE });
  await store.deleteKey({ keyId: keyId(1), etag: '', allowMissing: false });
  expect(await next(KEY_REMOVED)).toEqual({ ...key, from: KeyState.AVAILABLE, to: KeyState.UNSPECIFIED });
});

test('a pool that runs out of available keys, and gets one back, says so', async () => {
  const { store, context } = await started(2);
  const watching = await new Watching(context, { kinds: [POOL_EXHAUSTED, POOL_RECOVERED] }).begin();
  await rateLimit(store, keyId(1));
  await rateLimit(store, keyId(2));
  await watching.until(() => watching.changes.length === 1);
  await store.resetKey(keyId(1));
  await watching.until(() => watching.changes.length === 2);
  expect(watching.changes.map(({ kind, pool }) => [kind, pool])).toEqual([
    [POOL_EXHAUSTED, 'default'],
    [POOL_RECOVERED, 'default'],
  ]);
});

test('a lease or a success is no change', async () => {
  const { store, context } = await started(1);
  const watching = await new Watching(context).begin();
  const { leaseId } = await store.acquire(acquireOrder());
  await store.report(report(leaseId));
  await store.createKey(createKeyOrder('AQ.test-last'));
  await watching.until(() => watching.changes.length > 0);
  expect(watching.changes[0]?.kind).toBe(KEY_ADDED);
});

test('a watcher hears of the pools and kinds it asked for, and nothing else', async () => {
  const { store, context } = await started(1);
  await store.createPool({ pool: { ...DEFAULT_POOL, pool: 'other' }, idempotency: undefined });
  const watching = await new Watching(context, { pools: ['other'], kinds: [KEY_ADDED, KEY_REMOVED] }).begin();
  expect(watching.picture.size).toBe(0);
  const token = watching.resumeToken;
  await update(store, keyId(1), { weight: 2 });
  const { keyId: id } = await store.createKey({ ...createKeyOrder('AQ.test-other'), pool: 'other' });
  await watching.until(() => watching.changes.length === 1);
  await update(store, id, { weight: 2 });
  await store.deleteKey({ keyId: id, etag: '', allowMissing: false });
  await watching.until(() => watching.changes.length === 2);
  expect(watching.changes.map(({ kind, pool }) => [kind, pool])).toEqual([
    [KEY_ADDED, 'other'],
    [KEY_REMOVED, 'other'],
  ]);
  expect(watching.resumeToken).not.toBe(token);
});

test('without a snapshot the stream begins with a heartbeat that carries a token', async () => {
  const { store, context } = await started(3);
  const watching = new Watching(context, { skipSnapshot: true });
  const first = await watching.next();
  expect(first?.event.case === 'heartbeat' && first.event.value.total?.totalKeys).toBe(3n);
  expect(watching.resumeToken).not.toBe('');
  await update(store, keyId(2), { weight: 5 });
  await watching.next();
  expect(watching.changes.map(({ key }) => key?.weight)).toEqual([5]);
});

test('heartbeats come at their interval', async () => {
  const { context } = await started(1);
  const watching = await new Watching(context, { heartbeatInterval: { seconds: 1n } }).begin();
  const began = performance.now();
  const beat = await watching.next();
  expect(beat?.event.case).toBe('heartbeat');
  expect(performance.now() - began).toBeGreaterThan(500);
});

test.each([
  { field: 'heartbeat_interval', request: { heartbeatInterval: { seconds: 0n, nanos: 999_000_000 } } },
  { field: 'heartbeat_interval', request: { heartbeatInterval: { seconds: 301n } } },
  { field: 'heartbeat_interval', request: { heartbeatInterval: { seconds: -1n } } },
  { field: 'kinds[1]', request: { kinds: [KEY_ADDED, 77 as HealthEventKind] } },
  { field: 'kinds[0]', request: { kinds: [HealthEventKind.UNSPECIFIED] } },
  { field: 'resume_token', request: { resumeToken: 'never given' } },
  { field: 'resume_token', request: { resumeToken: Buffer.from('[1,"a",-1,"b","c"]').toString('base64url') } },
  { field: 'resume_token', request: { resumeToken: 'W'.repeat(100_000) } },
])('$field is refused by its name: $request', async ({ field, request }) => {
  const { context } = await started();
  const stream = watchHealth(context, create(WatchHealthRequestSchema, request), caller());
  await expect(stream.next()).rejects.toMatchObject({ reason: 'INVALID_FIELD', metadata: { field } });
  expect(context.open.watchers).toBe(0);
});

test.each(['nowhere', 'No such name'])('the pool %j is not found', async (pool) => {
  const { context } = await started();
  const stream = watchHealth(context, create(WatchHealthRequestSchema, { pools: [pool] }), caller());
  await expect(stream.next()).rejects.toMatchObject({ reason: 'POOL_NOT_FOUND' });
  expect(context.open.watchers).toBe(0);
});

/** A store whose listeners are counted. */
function counting(store: Store) {
  const listeners = new Set<unknown>();
  const counted = Object.create(store, {
    subscribe: {
      value: (listener: (changes: readonly HealthChange[]) => void) => {
        listeners.add(listener);
        const stop = store.subscribe(listener);
        return () => {
          listeners.delete(listener);
          stop();
        };
      },
    },
  }) as Store;
  // Methods of a class with private fields work on it alone.
  for (const name of ['stats', 'position', 'healthPage', 'removedSince'] as const) {
    Object.defineProperty(counted, name, { value: store[name].bind(store) });
  }
  return { listeners, counted };
}

test('a watcher that goes away leaves nothing behind, whether or not its stream is pulled on', async () => {
  const { store } = await started(2);
  const { listeners, counted } = counting(store);
  const context = contextOf(counted);
  const pulled = await new Watching(context).begin();
  const stalled = await new Watching(context).begin();
  const returned = await new Watching(context).begin();
  expect([context.open.watchers, listeners.size]).toEqual([3, 3]);
  const end = pulled.next();
  pulled.call.leave();
  expect(await end).toBeUndefined();
  stalled.call.leave();
  expect([context.open.watchers, listeners.size]).toEqual([1, 1]);
  await returned.leave();
  expect([context.open.watchers, listeners.size]).toEqual([0, 0]);
});

test('a draining server ends the stream with DRAINING', async () => {
  const { context } = await started(1);
  const watching = await new Watching(context).begin();
  const end = watching.next();
  context.drain();
  await expect(end).rejects.toMatchObject({ reason: 'DRAINING' });
  await expect(new Watching(context).next()).rejects.toMatchObject({ reason: 'DRAINING' });
  expect(context.open.watchers).toBe(0);
});

test('a watcher that stops reading for 10,000 changes gets one for each key, and the true state', async () => {
  const { store, context } = await started(20);
  const stalled = await new Watching(context).begin();
  const reading = (await new Watching(context).begin()).run();
  for (let round = 0; round < 500; round++) {
    const changes = Array.from({ length: 20 }, (_, n) =>
      update(store, keyId(n + 1), { weight: 1 + ((round + n) % 900) }),
    );
    const acquired = await Promise.all([store.acquire(acquireOrder()), ...changes]);
    await store.report(report(acquired[0].leaseId));
  }
  const churned = await Promise.all(apiKeys(200, 'AQ.churn-').map((apiKey) => store.createKey(createKeyOrder(apiKey))));
  for (const key of churned) await store.deleteKey({ keyId: key.keyId, etag: '', allowMissing: false });
  await store.deleteKey({ keyId: keyId(20), etag: '', allowMissing: false });

  const last = await truth(store);
  stalled.messages.length = 0;
  await stalled.until(() => !stalled.picture.has(keyId(20)));
  expect(stalled.changes).toHaveLength(20);
  expect(stalled.picture).toEqual(last);
  expect(stalled.oddities).toEqual([]);
  const merged = stalled.changes.reduce((sum, each) => sum + Number(each.merged) + 1, 0);
  expect(merged).toBeGreaterThanOrEqual(10_000);
  await expect.poll(() => reading.picture).toEqual(last);
  expect(reading.oddities).toEqual([]);
});

test('changes made while a snapshot is being read are made good by what follows', async () => {
  const { store, context } = await started(1_500);
  const watching = new Watching(context);
  await watching.next();
  await store.deleteKey({ keyId: keyId(10), etag: '', allowMissing: false });
  await store.deleteKey({ keyId: keyId(1_400), etag: '', allowMissing: false });
  await update(store, keyId(11), { weight: 2 });
  await update(store, keyId(1_401), { weight: 3 });
  const importing = store.importKeys(importOrder(apiKeys(2_000, 'AQ.more-')));
  await watching.begin();
  await importing;
  await store.createKey(createKeyOrder('AQ.test-last'));
  const last = await truth(store);
  await watching.until(() => watching.picture.size === last.size && !watching.picture.has(keyId(10)));
  expect(watching.picture).toEqual(last);
});
