import { expect, onTestFinished, test } from 'vitest';
import { type Finding, plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, HealthEventKind, KeyState, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { openStore } from '../../src/store/open-store.ts';
import type { Store } from '../../src/store/store.ts';
import { acquireOrder, createKeyOrder, report } from '../support/orders.ts';
import { probeByName } from '../support/probe-by-name.ts';
import { movedClock } from '../support/service.ts';
import { contextOf, truth, Watching } from '../support/streams.ts';
import { tempDir } from '../support/temp-dir.ts';

const { KEY_CHANGED, POOL_EXHAUSTED, POOL_RECOVERED } = HealthEventKind;
const FLASH = 'gemini-2.5-flash';
const PRO = 'gemini-2.5-pro';

/** A store with these keys, and a watcher who has read the snapshot. */
async function watched(...keys: [apiKey: string, project: string][]) {
  const clock = movedClock();
  const options = { dataDir: tempDir(), durability: 'normal', masterKey: {}, clock, random: () => 0 } as const;
  const store = await openStore({ ...options, probe: probeByName });
  onTestFinished(() => store.close());
  const ids: string[] = [];
  for (const [apiKey, project] of keys) ids.push((await store.createKey(createKeyOrder(apiKey, { project }))).keyId);
  // The pool that has keys now says so in a commit of its own.
  await flush(store);
  await flush(store);
  const watch = async (...kinds: HealthEventKind[]): Promise<Watching> =>
    new Watching(contextOf(store), { kinds }).begin();
  return { store, clock, ids, watch };
}

/** Stores and tells what nobody waits for. */
function flush(store: Store): Promise<void> {
  return store.deleteQuota({ project: 'nobody', model: '' });
}

async function fail(store: Store, keyId: string, model: string, finding: Finding): Promise<void> {
  const { leaseId } = await store.acquire(acquireOrder({ requireKeyId: keyId, model }));
  await store.report(report(leaseId, { outcome: Outcome.FAILURE, finding }));
}

test('quarantine, each verdict, disabling and revival are told, with what ends them', async () => {
  const { store, clock, ids, watch } = await watched(['AQ.test-dead', 'p'], ['AQ.test-other', 'q']);
  const watching = await watch(KEY_CHANGED);
  const next = async () => {
    const seen = watching.changes.length;
    await watching.until(() => watching.changes.length > seen);
    const { key, previousState } = watching.changes.at(-1)!;
    expect(key?.keyId).toBe(ids[0]);
    return { from: previousState, to: key?.state, refusals: key?.verification?.refusals };
  };
  const { AVAILABLE, QUARANTINED, DISABLED_AUTO } = KeyState;
  await fail(store, ids[0]!, FLASH, plainFinding(ErrorClass.KEY_INVALID, 'key'));
  expect(await next()).toEqual({ from: AVAILABLE, to: QUARANTINED, refusals: 0 });
  const poke = async (): Promise<void> => {
    const { leaseId } = await store.acquire(acquireOrder({ requireKeyId: ids[1]! }));
    await store.report(report(leaseId));
  };
  clock.move(60_000);
  await poke();
  expect(await next()).toEqual({ from: QUARANTINED, to: QUARANTINED, refusals: 1 });
  clock.move(600_000);
  await poke();
  expect(await next()).toEqual({ from: QUARANTINED, to: DISABLED_AUTO, refusals: undefined });
  await store.resetKey(ids[0]!);
  expect(await next()).toEqual({ from: DISABLED_AUTO, to: AVAILABLE, refusals: undefined });
  expect(watching.picture).toEqual(await truth(store));
});

test('a project that an error named is told, and that a reset forgets it', async () => {
  const { store, ids, watch } = await watched(['AQ.test-a', ''], ['AQ.test-b', '']);
  const watching = await watch(KEY_CHANGED);
  const projects = async (): Promise<[string | undefined, boolean | undefined]> => {
    const seen = watching.changes.length;
    await watching.until(() => watching.changes.length > seen);
    const { key } = watching.changes.at(-1)!;
    return [key?.project, key?.projectLearned];
  };
  await fail(store, ids[0]!, FLASH, { ...plainFinding(ErrorClass.SERVER_ERROR), project: '123456789012' });
  expect(await projects()).toEqual(['123456789012', true]);
  await store.resetKey(ids[0]!);
  expect(await projects()).toEqual(['', false]);
});

test('keys that turn out to share a resting project are told to rest with it', async () => {
  const { store, ids, watch } = await watched(['AQ.test-a', ''], ['AQ.test-b', '']);
  await fail(store, ids[0]!, '', { ...plainFinding(ErrorClass.BILLING, 'project'), project: '123456789012' });
  const watching = await watch(KEY_CHANGED);
  await fail(store, ids[1]!, '', { ...plainFinding(ErrorClass.SERVER_ERROR), project: '123456789012' });
  await watching.until(() => watching.changes.at(-1)?.key?.state === KeyState.COOLING);
  expect(watching.changes.at(-1)?.key?.keyId).toBe(ids[1]);
  expect(watching.picture).toEqual(await truth(store));
});

test('a pool that ran out of keys for one model says for which, and when it has some again; without any key, for all', async () => {
  const { store, clock, ids, watch } = await watched(['AQ.test-a', 'p'], ['AQ.test-b', 'q']);
  await store.acquire(acquireOrder({ model: PRO }));
  const watching = await watch(POOL_EXHAUSTED, POOL_RECOVERED);
  const told = async () => {
    const seen = watching.changes.length;
    await watching.until(() => watching.changes.length > seen);
    return watching.changes.slice(seen).map(({ kind, pool, model, key }) => ({ kind, pool, model, key }));
  };
  const spent = plainFinding(ErrorClass.QUOTA_EXHAUSTED_DAY, 'project-model');
  for (const keyId of ids) await fail(store, keyId, FLASH, spent);
  const event = { pool: 'default', model: FLASH, key: undefined };
  expect(await told()).toEqual([{ ...event, kind: POOL_EXHAUSTED }]);
  // A call may try whether it is over.
  clock.move(15 * 60_000);
  await store.stats({ pools: [], includeModels: false });
  expect(await told()).toEqual([{ ...event, kind: POOL_RECOVERED }]);
  for (const keyId of ids) await fail(store, keyId, '', plainFinding(ErrorClass.PERMISSION, 'key'));
  await watching.until(() => watching.changes.length >= 5);
  const last = watching.changes.slice(2).map(({ kind, model }) => `${kind} ${model}`);
  expect(last.sort()).toEqual(['', FLASH, PRO].map((model) => `${POOL_EXHAUSTED} ${model}`));
});
