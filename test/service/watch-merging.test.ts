import { expect, test } from 'vitest';
import { HealthEventKind, KeyState } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { PendingChanges } from '../../src/server/service/watch-health/pending-changes.ts';
import type { HealthChange, KeyView } from '../../src/store/store.ts';

const { KEY_ADDED, KEY_CHANGED, KEY_REMOVED, POOL_CHANGED, POOL_EXHAUSTED, POOL_RECOVERED } = HealthEventKind;
const { AVAILABLE, COOLING, DISABLED_ADMIN, UNSPECIFIED } = KeyState;

function view(keyId: string, revision: number, state: KeyState): KeyView {
  return { keyId, revision, state } as KeyView;
}

function change(
  kind: HealthEventKind,
  revision: number,
  { keyId = 'key-1', pool = 'default', model = '', state = AVAILABLE as KeyState, from = UNSPECIFIED as KeyState } = {},
): HealthChange {
  const ofPool = kind === POOL_CHANGED || kind === POOL_EXHAUSTED || kind === POOL_RECOVERED;
  return {
    revision,
    time: revision,
    kind,
    pool,
    model,
    keyId: ofPool ? '' : keyId,
    key: ofPool || kind === KEY_REMOVED ? undefined : view(keyId, revision, state),
    previousState: from,
  };
}

function taken(pending: PendingChanges) {
  const all = [];
  for (let next = pending.take(); next !== undefined; next = pending.take()) {
    const { kind, previousState, merged, change: newest } = next;
    all.push({ kind, previousState, merged, revision: newest.revision, state: newest.key?.state });
  }
  return all;
}

test('a key added and then changed is added as it is now', () => {
  const pending = new PendingChanges();
  pending.offer(change(KEY_ADDED, 1));
  pending.offer(change(KEY_CHANGED, 2, { state: COOLING, from: AVAILABLE }));
  expect(taken(pending)).toEqual([
    { kind: KEY_ADDED, previousState: UNSPECIFIED, merged: 1, revision: 2, state: COOLING },
  ]);
});

test('a key added and then removed is nothing', () => {
  const pending = new PendingChanges();
  pending.offer(change(KEY_ADDED, 1));
  pending.offer(change(KEY_CHANGED, 2));
  pending.offer(change(KEY_REMOVED, 3, { from: AVAILABLE }));
  expect(pending.size).toBe(0);
  expect(taken(pending)).toEqual([]);
  expect(pending.toldRevision).toBe(3);
});

test('a key that changed often changed once, from the state that was delivered last', () => {
  const pending = new PendingChanges();
  pending.offer(change(KEY_CHANGED, 1, { state: COOLING, from: AVAILABLE }));
  pending.offer(change(KEY_CHANGED, 2, { state: AVAILABLE, from: COOLING }));
  pending.offer(change(KEY_CHANGED, 3, { state: DISABLED_ADMIN, from: AVAILABLE }));
  expect(taken(pending)).toEqual([
    { kind: KEY_CHANGED, previousState: AVAILABLE, merged: 2, revision: 3, state: DISABLED_ADMIN },
  ]);
});

test('a key changed and then removed is removed, from the state that was delivered last', () => {
  const pending = new PendingChanges();
  pending.offer(change(KEY_CHANGED, 1, { state: COOLING, from: AVAILABLE }));
  pending.offer(change(KEY_REMOVED, 2, { from: COOLING }));
  expect(taken(pending)).toEqual([
    { kind: KEY_REMOVED, previousState: AVAILABLE, merged: 1, revision: 2, state: undefined },
  ]);
});

test('pool events keep the latest for each pool and model', () => {
  const pending = new PendingChanges();
  pending.offer(change(POOL_EXHAUSTED, 1));
  pending.offer(change(POOL_EXHAUSTED, 2, { model: 'gemini-2.5-pro' }));
  pending.offer(change(POOL_EXHAUSTED, 3, { pool: 'other' }));
  pending.offer(change(POOL_RECOVERED, 4));
  expect(taken(pending).map(({ kind, revision }) => [kind, revision])).toEqual([
    [POOL_RECOVERED, 4],
    [POOL_EXHAUSTED, 2],
    [POOL_EXHAUSTED, 3],
  ]);
});

test('that the settings of a pool changed does not hide that it ran out of keys', () => {
  const pending = new PendingChanges();
  pending.offer(change(POOL_EXHAUSTED, 1));
  pending.offer(change(POOL_CHANGED, 2));
  pending.offer(change(POOL_CHANGED, 3));
  expect(taken(pending).map(({ kind, revision }) => [kind, revision])).toEqual([
    [POOL_EXHAUSTED, 1],
    [POOL_CHANGED, 3],
  ]);
});

test('what changes all the time gets its turn like any other', () => {
  const pending = new PendingChanges();
  for (let revision = 1; revision <= 30; revision++) {
    pending.offer(change(KEY_CHANGED, revision, { keyId: revision % 2 === 0 ? 'key-2' : `key-${revision}` }));
  }
  pending.take();
  expect(pending.take()?.change.keyId).toBe('key-2');
});

test('the told revision never passes a change that waits', () => {
  const pending = new PendingChanges();
  pending.passed(10);
  expect(pending.toldRevision).toBe(10);
  pending.offer(change(KEY_CHANGED, 11, { keyId: 'key-1' }));
  pending.offer(change(KEY_CHANGED, 12, { keyId: 'key-2' }));
  pending.offer(change(KEY_CHANGED, 13, { keyId: 'key-1' }));
  expect(pending.toldRevision).toBe(10);
  pending.take();
  expect(pending.toldRevision).toBe(11);
  pending.take();
  expect(pending.toldRevision).toBe(13);
});

test('what a page showed already is not told again, and what came after is told from there', () => {
  const pending = new PendingChanges();
  pending.offer(change(KEY_ADDED, 1, { keyId: 'key-1' }));
  pending.offer(change(KEY_ADDED, 2, { keyId: 'key-2' }));
  pending.beginPage();
  pending.offer(change(KEY_CHANGED, 3, { keyId: 'key-2', state: DISABLED_ADMIN, from: AVAILABLE }));
  pending.endPage([view('key-1', 1, AVAILABLE), view('key-2', 2, COOLING)]);
  expect(taken(pending)).toEqual([
    { kind: KEY_CHANGED, previousState: COOLING, merged: 1, revision: 3, state: DISABLED_ADMIN },
  ]);
});

test('a key that a page shows is taken back although it was added and removed meanwhile', () => {
  const pending = new PendingChanges();
  pending.beginPage();
  for (const keyId of ['key-1', 'key-2']) {
    pending.offer(change(KEY_ADDED, 1, { keyId }));
    pending.offer(change(KEY_REMOVED, 2, { keyId, from: AVAILABLE }));
  }
  pending.endPage([view('key-1', 1, AVAILABLE)]);
  expect(taken(pending)).toEqual([
    { kind: KEY_REMOVED, previousState: AVAILABLE, merged: 1, revision: 2, state: undefined },
  ]);
  expect(pending.shown).toBe(0);
});
