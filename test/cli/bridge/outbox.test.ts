import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Noticed } from '../../../src/cli/bridge/event.ts';
import { EventQueue } from '../../../src/cli/bridge/event-queue.ts';
import { withMergedGap } from '../../../src/cli/bridge/merged-gap.ts';
import { Outbox } from '../../../src/cli/bridge/outbox.ts';
import { StateFile } from '../../../src/cli/bridge/state-file.ts';
import { unfold } from '../../../src/cli/bridge/unfold.ts';
import {
  HealthEventKind,
  KeyState,
  WatchHealthResponseSchema,
} from '../../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { tempDir } from '../../support/temp-dir.ts';

function change(resumeToken: string, merged = 0n): Noticed {
  const value = { kind: HealthEventKind.KEY_CHANGED, pool: 'p', key: { keyId: 'k', state: KeyState.COOLING }, merged };
  const health = create(WatchHealthResponseSchema, { resumeToken, event: { case: 'change', value } });
  return { told: { health }, resumeToken };
}

const moved = (resumeToken: string): Noticed => ({ told: undefined, resumeToken });
const gap: Noticed = { told: { gap: { reason: 'reset', time: 5, changes: 0 } }, resumeToken: '' };
const statePath = (): string => join(tempDir(), 'bridge.state');
const open = (path: string): Outbox => new Outbox(new StateFile(path));
const ids = (outbox: Outbox): string[] => outbox.pending.map(({ id }) => id.replace(/^.*-/, ''));

test('what was not delivered is there again after a restart, with the same ids and contents, and the token goes on behind it', () => {
  const path = statePath();
  const before = open(path);
  before.add([gap, change('a'), change('b')]);
  before.delivered(1);
  const after = open(path);
  expect(after.pending).toEqual(before.pending);
  expect(after.pending[0]!.told).toMatchObject({
    health: { event: { case: 'change', value: { key: { keyId: 'k' } } } },
  });
  expect(after.resumeToken).toBe('b');
  after.add([change('c')]);
  expect(ids(after)).toEqual(['2', '3', '4']);
  expect(new Set(after.pending.map(({ id }) => id.replace(/-.*$/, ''))).size).toBe(1);
});

test('the token is that of the last event that was delivered, once nothing is pending', () => {
  const path = statePath();
  const outbox = open(path);
  outbox.add([change('a'), change(''), change('')]);
  outbox.delivered(2);
  expect([open(path).resumeToken, ids(open(path))]).toEqual(['a', ['3']]);
});

test('a token without an event counts with the event before it, or at once where there is none', () => {
  const path = statePath();
  const outbox = open(path);
  outbox.add([moved('a')]);
  expect(open(path).resumeToken).toBe('a');
});

test('an event keeps its id, and no other gets it, however adding, delivering and restarting alternate', () => {
  const step = fc.oneof(
    fc.record({ add: fc.array(fc.constantFrom('', 'token'), { maxLength: 4 }) }),
    fc.record({ delivered: fc.nat(3) }),
    fc.constant('restart' as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const path = statePath();
      let outbox = open(path);
      let numbered = 0;
      let expected: number[] = [];
      for (const each of steps) {
        if (each === 'restart') outbox = open(path);
        else if ('add' in each) {
          outbox.add(each.add.map((token) => change(token)));
          expected = [...expected, ...each.add.map(() => ++numbered)];
        } else {
          const count = Math.min(each.delivered, expected.length);
          outbox.delivered(count);
          expected = expected.slice(count);
        }
        expect(ids(outbox)).toEqual(expected.map(String));
      }
      rmSync(path);
    }),
    { numRuns: 30 },
  );
});

test('the state file is for nobody else, is always whole, and is left alone where nothing happened', () => {
  const path = statePath();
  const outbox = open(path);
  outbox.add([change('a')]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(existsSync(`${path}.new`)).toBe(false);
  outbox.delivered(1);
  const { ino } = statSync(path);
  outbox.add([moved('a'), moved('')]);
  expect(statSync(path).ino).toBe(ino);
});

test('two bridges do not share a state file: the older one ends', () => {
  const path = statePath();
  const older = open(path);
  const newer = open(path);
  newer.add([change('a')]);
  newer.delivered(1);
  expect(() => older.add([change('b')])).toThrow(`state file ${path} was written by another process`);
  expect(open(path).resumeToken).toBe('a');
});

test.each([
  ['is no JSON', 'not json'],
  ['is of another version', '{"version":2,"stream":"s","next":1,"resumeToken":"","pending":[]}'],
  ['has an event of neither kind', '{"version":1,"stream":"s","next":1,"resumeToken":"","pending":[{"id":"s-1"}]}'],
  ['is empty', ''],
])('a state file that %s is refused by its name, and kept', (_, text) => {
  const path = statePath();
  writeFileSync(path, text);
  expect(() => open(path)).toThrow(`state file ${path} is not one of this bridge; name another, or remove it`);
  expect(readFileSync(path, 'utf8')).toBe(text);
});

test('a state file that cannot be written is known before anything is sent', () => {
  expect(() => open(join(tempDir(), 'no-such-dir', 'state'))).toThrow(/^state file .* cannot be written: /);
  // A file that cannot be read is not taken for none.
  expect(() => open(tempDir())).toThrow(/^state file .* cannot be read: /);
});

test('the queue gives batches by count and by time, all that was put, in its order', async () => {
  const queue = new EventQueue(100);
  const putting = (async () => {
    for (let at = 1; at <= 250; at++) await queue.put(moved(String(at)));
    queue.end();
  })();
  const batches: string[][] = [];
  for (;;) {
    const taken = await queue.take(40, 1);
    if (taken.length === 0) break;
    batches.push(taken.map(({ resumeToken }) => resumeToken));
  }
  await putting;
  expect(Math.max(...batches.map(({ length }) => length))).toBe(40);
  expect(batches.flat()).toEqual(Array.from({ length: 250 }, (_, at) => String(at + 1)));
});

test('a full queue lets nobody put until something is taken, or it ends', async () => {
  const queue = new EventQueue(2);
  let put = 0;
  const putting = (async () => {
    for (let at = 0; at < 6; at++) {
      await queue.put(moved(''));
      put++;
    }
  })();
  await new Promise((resolve) => setImmediate(resolve));
  expect([put, queue.size]).toEqual([1, 2]);
  await queue.take(1, 1);
  await expect.poll(() => put).toBe(2);
  queue.end();
  await putting;
  expect(put).toBe(6);
});

test('merged changes are told as a gap before them, once for a batch', () => {
  const found: number[] = [];
  const batch = [change('a'), change('b', 3n), change('c', 2n), gap];
  const told = withMergedGap(batch, (changes) => found.push(changes));
  expect(told).toEqual([
    { told: { gap: { reason: 'merged', time: expect.any(Number), changes: 5 } }, resumeToken: '' },
    ...batch,
  ]);
  expect(withMergedGap([change('a'), gap], (changes) => found.push(changes))).toHaveLength(2);
  expect(found).toEqual([5]);
});

test('a snapshot becomes events of one key or pool each, and only the last carries the token', () => {
  const page = (kinds: readonly HealthEventKind[]) =>
    unfold(
      create(WatchHealthResponseSchema, {
        resumeToken: 'end',
        event: {
          case: 'snapshot',
          value: { keys: [{ keyId: 'k1' }, { keyId: 'k2' }], pools: [{ pool: 'p' }], more: false, reset: true },
        },
      }),
      kinds,
    ).map(({ told, resumeToken }) => {
      if (told === undefined || 'gap' in told || told.health.event.case !== 'snapshot') return [resumeToken];
      const { keys, pools, more, reset } = told.health.event.value;
      return [resumeToken, ...pools.map(({ pool }) => pool), ...keys.map(({ keyId }) => keyId), more, reset];
    });
  expect(page([])).toEqual([
    ['', 'p', true, true],
    ['', 'k1', true, false],
    ['end', 'k2', false, false],
  ]);
  expect(page([HealthEventKind.POOL_EXHAUSTED])).toEqual([['end', 'p', false, true]]);
  expect(page([HealthEventKind.KEY_ADDED])).toEqual([
    ['', 'k1', true, true],
    ['end', 'k2', false, false],
  ]);
});
