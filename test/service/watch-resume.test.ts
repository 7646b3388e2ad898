import { copyFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { BalancerError } from '../../src/engine/errors.ts';
import { DEFAULT_POOL } from '../../src/engine/settings.ts';
import { plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, HealthEventKind, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { parseResumeToken, resumeToken } from '../../src/server/service/watch-health/resume-token.ts';
import type { OwnedStore } from '../../src/store/open-store.ts';
import type { Store } from '../../src/store/store.ts';
import { acquireOrder, apiKeys, createKeyOrder, importOrder, report } from '../support/orders.ts';
import { contextOf, openFileStore, truth, Watching } from '../support/streams.ts';
import { tempDir } from '../support/temp-dir.ts';

const { KEY_ADDED, KEY_CHANGED, KEY_REMOVED, POOL_EXHAUSTED, POOL_RECOVERED } = HealthEventKind;

const keyId = (n: number): string => `key-${String(n).padStart(8, '0')}`;

function update(store: Store, id: string, change: object) {
  return store.updateKey({ keyId: id, etag: '', change, newApiKey: undefined, idempotency: undefined });
}

/** Resolves when all that was done so far has been told. */
async function settled(store: Store): Promise<void> {
  const { revision } = await store.position();
  // The changes of an update are numbered in the commit after its own.
  await store.updatePool({ pool: 'default', etag: '', change: { description: String(revision) } });
  await store.updatePool({ pool: 'default', etag: '', change: { description: '' } });
}

/** A data dir whose store can be closed and opened again. */
async function durable(keys: number) {
  const dir = tempDir();
  const server: { store: OwnedStore; restart: () => Promise<void> } = {
    store: await openFileStore(dir),
    restart: async () => {
      await server.store.close();
      server.store = await openFileStore(dir);
    },
  };
  onTestFinished(() => server.store.close());
  await server.store.importKeys(importOrder(apiKeys(keys)));
  await settled(server.store);
  return server;
}

async function changeSome(store: Store): Promise<void> {
  await update(store, keyId(2), { weight: 7 });
  await store.deleteKey({ keyId: keyId(3), etag: '', allowMissing: false });
  const { keyId: id } = await store.createKey(createKeyOrder('AQ.test-new'));
  await update(store, id, { weight: 8 });
  await store.createKey(createKeyOrder('AQ.test-newer'));
  await settled(store);
}

const CHANGED = [
  [KEY_REMOVED, keyId(3)],
  [KEY_CHANGED, keyId(2)],
  [KEY_ADDED, keyId(6)],
  [KEY_ADDED, keyId(7)],
];

test('a watcher that comes back gets exactly what changed', async () => {
  const { store } = await durable(5);
  const context = contextOf(store);
  const before = await new Watching(context).begin();
  await before.leave();
  await changeSome(store);
  const after = await new Watching(context, {}, before).begin();
  expect(after.changes.map(({ kind, key }) => [kind, key?.keyId])).toEqual(CHANGED);
  expect(after.picture).toEqual(await truth(store));
  expect(after.oddities).toEqual([]);
  await after.leave();
  const again = await new Watching(context, {}, after).begin();
  expect(again.messages.map(({ event }) => event.case)).toEqual(['heartbeat']);
});

test('so does one that comes back after a restart of the server', async () => {
  const server = await durable(5);
  const before = await new Watching(contextOf(server.store)).begin();
  await before.leave();
  await server.restart();
  const between = await new Watching(contextOf(server.store), {}, before).begin();
  expect(between.messages.map(({ event }) => event.case)).toEqual(['heartbeat']);
  await changeSome(server.store);
  await server.restart();
  const after = await new Watching(contextOf(server.store), {}, before).begin();
  expect(after.changes.map(({ kind, key }) => [kind, key?.keyId])).toEqual(CHANGED);
  expect(after.picture).toEqual(await truth(server.store));
});

test('a token given while changes waited stands for what was told until then', async () => {
  const { store } = await durable(10);
  const context = contextOf(store);
  const before = await new Watching(context).begin();
  for (let n = 1; n <= 10; n++) await update(store, keyId(n), { weight: n + 1 });
  await settled(store);
  for (let n = 1; n <= 3; n++) await before.next();
  await before.leave();
  const after = await new Watching(context, {}, before).begin();
  expect(after.changes.map(({ key }) => key?.keyId)).toEqual([4, 5, 6, 7, 8, 9, 10].map(keyId));
  expect(after.picture).toEqual(await truth(store));
});

test('a watcher that broke off while it was told what it missed loses nothing', async () => {
  const { store } = await durable(5);
  const context = contextOf(store);
  const before = await new Watching(context).begin();
  await before.leave();
  await changeSome(store);
  const partly = new Watching(context, {}, before);
  await partly.next();
  await partly.next();
  await partly.leave();
  const after = await new Watching(context, {}, partly).begin();
  expect(after.picture).toEqual(await truth(store));
});

test('a pool that ran out of keys meanwhile is told, and one that stayed as it was is not', async () => {
  const { store } = await durable(1);
  const context = contextOf(store);
  const before = await new Watching(context).begin();
  await before.leave();
  await update(store, keyId(1), { disabled: true });
  await settled(store);
  const exhausted = await new Watching(context, {}, before).begin();
  await exhausted.leave();
  await update(store, keyId(1), { disabled: false });
  await settled(store);
  const recovered = await new Watching(context, {}, exhausted).begin();
  expect([exhausted, recovered].map(({ changes }) => changes.map(({ kind }) => kind))).toEqual([
    [KEY_CHANGED, POOL_EXHAUSTED],
    [KEY_CHANGED, POOL_RECOVERED],
  ]);
});

test.each(['of another store', 'from the future', 'with other filters'])(
  'a token %s gives a snapshot that replaces what the client had',
  async (what) => {
    const { store } = await durable(3);
    await store.createPool({ pool: { ...DEFAULT_POOL, pool: 'other' }, idempotency: undefined });
    const context = contextOf(store);
    const before = await new Watching(context).begin();
    const point = parseResumeToken(before.resumeToken);
    if (what === 'of another store') before.resumeToken = resumeToken({ ...point, storeId: 'another' });
    if (what === 'from the future') before.resumeToken = resumeToken({ ...point, revision: point.revision + 100 });
    before.picture.set('key-99999999', { pool: 'default', state: 1, weight: 1, cooldowns: [] });
    const pools = what === 'with other filters' ? ['default'] : [];
    const after = await new Watching(context, { pools }, before).begin();
    const [first] = after.messages;
    expect(first?.event.case === 'snapshot' && first.event.value.reset).toBe(true);
    expect(after.picture).toEqual(await truth(store));
  },
);

test('a token older than the removals that are remembered gives a snapshot', async () => {
  const { store } = await durable(3);
  const context = contextOf(store);
  const before = await new Watching(context).begin();
  await before.leave();
  await store.importKeys(importOrder(apiKeys(10_000, 'AQ.short-lived-')));
  const { items } = await store.listKeys({
    pool: '',
    states: [],
    project: '',
    source: '',
    labels: {},
    after: keyId(3),
    limit: 10_001,
  });
  const remove = (id: string) => store.deleteKey({ keyId: id, etag: '', allowMissing: false });
  await Promise.all(items.map((key) => remove(key.keyId)));
  const kept = await new Watching(context, {}, before).begin();
  expect(kept.messages[0]?.event.case).toBe('change');
  await kept.leave();
  await remove(keyId(1));
  const after = await new Watching(context, {}, before).begin();
  expect(after.messages[0]?.event.case === 'snapshot' && after.messages[0].event.value.reset).toBe(true);
  expect(after.picture).toEqual(await truth(store));
});

test('after a crash, which may have taken what a watcher saw, a token gives a snapshot', async () => {
  const [dir, crashed] = [tempDir(), tempDir()];
  const first = await openFileStore(dir);
  await first.importKeys(importOrder(apiKeys(3)));
  await first.close();
  const store = await openFileStore(dir);
  onTestFinished(() => store.close());
  const before = await new Watching(contextOf(store)).begin();
  await before.leave();
  // What a power cut leaves is what is in the files now.
  for (const name of readdirSync(dir)) if (name.includes('.db')) copyFileSync(join(dir, name), join(crashed, name));
  const reopened = await openFileStore(crashed);
  onTestFinished(() => reopened.close());
  const after = await new Watching(contextOf(reopened), {}, before).begin();
  expect(after.messages[0]?.event.case === 'snapshot' && after.messages[0].event.value.reset).toBe(true);
  expect(after.picture).toEqual(await truth(reopened));
});

/** What a random client and a random administrator do. */
type Step =
  | { do: 'create' | 'update' | 'switch' | 'delete' | 'cool' | 'weaken' | 'reset'; which: number; how: number }
  | { do: 'read' | 'leave' | 'return' | 'restart' | 'wait'; which: number; how: number };

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.oneof(
    {
      weight: 6,
      arbitrary: fc.constantFrom<Step['do']>('create', 'update', 'switch', 'delete', 'cool', 'weaken', 'reset'),
    },
    { weight: 3, arbitrary: fc.constantFrom<Step['do']>('read', 'read', 'leave', 'return', 'wait') },
    { weight: 1, arbitrary: fc.constant<Step['do']>('restart') },
  ),
  which: fc.nat(1_000),
  how: fc.nat(1_000),
});

class World {
  now = 1_000;
  store!: OwnedStore;
  watching: Watching | undefined;
  /** What a client keeps between its streams. */
  kept: Pick<Watching, 'picture' | 'resumeToken'> = { picture: new Map(), resumeToken: '' };
  readonly #dir: string;
  #names = 0;

  constructor(dir: string) {
    this.#dir = dir;
  }

  async open(): Promise<void> {
    this.store = await openFileStore(this.#dir, { now: () => this.now, wallOffset: () => 1_700_000_000_000 });
  }

  async leave(): Promise<void> {
    if (this.watching === undefined) return;
    await this.watching.leave();
    this.kept = this.watching;
    this.watching = undefined;
  }

  return(): void {
    this.watching ??= new Watching(contextOf(this.store), { heartbeatInterval: { seconds: 300n } }, this.kept);
  }

  async run({ do: what, which, how }: Step): Promise<void> {
    const { store } = this;
    const ids = [...(await truth(store)).keys()];
    const id = ids[which % Math.max(1, ids.length)];
    if (what === 'wait') this.now += how * 100;
    else if (what === 'leave') await this.leave();
    else if (what === 'return') this.return();
    else if (what === 'restart') {
      await this.leave();
      await store.close();
      await this.open();
    } else if (what === 'read') {
      // What there is from the beginning, or all from now on; else it stays a reader that does not read.
      if (this.watching?.asked === false) await this.watching.next();
      else if (how % 3 === 0) this.watching?.run();
    } else if (what === 'create') {
      const project = ['', 'project-a'][how % 2]!;
      await store.createKey(createKeyOrder(`AQ.resume-${++this.#names}-0000`, { project }));
    } else if (id === undefined) return;
    else if (what === 'update') await update(store, id, { weight: 1 + (how % 5) });
    else if (what === 'switch') await update(store, id, { disabled: how % 2 === 0 });
    else if (what === 'delete') await store.deleteKey({ keyId: id, etag: '', allowMissing: true });
    else if (what === 'reset') await store.resetKey(id);
    else {
      const errorClass = what === 'cool' ? ErrorClass.RATE_LIMITED_MINUTE : ErrorClass.KEY_INVALID;
      const finding = plainFinding(errorClass, 'key', how * 50);
      const { leaseId } = await store.acquire(
        acquireOrder({ requireKeyId: id, model: ['', 'gemini-2.5-pro'][how % 2]! }),
      );
      await store.report(report(leaseId, { outcome: Outcome.FAILURE, finding }));
    }
  }
}

test('whatever changes and whenever it breaks off, a watcher ends with the true state', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { minLength: 5, maxLength: 25 }),
      async (groups) => {
        const dir = mkdtempSync(join(tmpdir(), 'keybalancer-'));
        const world = new World(dir);
        await world.open();
        try {
          for (const group of groups) {
            const alone = group.some((each) => each.do === 'restart');
            const run = (each: Step): Promise<void> =>
              world.run(each).catch((error: unknown) => {
                if (!(error instanceof BalancerError)) throw error;
              });
            if (alone) for (const each of group) await run(each);
            else await Promise.all(group.map(run));
          }
          world.return();
          await settled(world.store);
          const last = await truth(world.store);
          const { watching } = world;
          watching!.run();
          await expect.poll(() => watching!.picture).toEqual(last);
          // And so does one that comes back now.
          await world.leave();
          world.return();
          await world.watching!.begin();
          expect(world.watching!.picture).toEqual(last);
        } finally {
          await world.leave();
          await world.store.close();
          rmSync(dir, { recursive: true });
        }
      },
    ),
    { numRuns: 15, endOnFailure: true },
  );
});
