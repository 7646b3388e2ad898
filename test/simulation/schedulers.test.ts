import { expect, test } from 'vitest';
import { simulate } from '../../simulation/day.ts';
import { drawLoad, type Load } from '../../simulation/load.ts';
import { Oracle } from '../../simulation/oracle.ts';
import { RoundRobin } from '../../simulation/round-robin.ts';
import type { Call, Grant } from '../../simulation/scheduler.ts';
import { type Picker, WaitingRoom } from '../../simulation/waiting-room.ts';
import { drawWorld, KEYS, type World } from '../../simulation/world.ts';

/** The beginning of a day that wants far more than all projects admit. */
function rush(world: World): Load {
  const load = drawLoad(world);
  const times = load.times.map((time) => world.start + (time - world.start) / 20);
  return { ...load, times, count: 100_000 };
}

test.each(['sliding', 'aligned'] as const)('the oracle keeps %s minutes full and never breaks one', (window) => {
  const world = drawWorld(2, window);
  const load = rush(world);
  const report = simulate('oracle', world, load, (callers) => new WaitingRoom(new Oracle(world), callers));
  expect(report.tooMany).toBe(0);
  expect(report.unserved).toBeGreaterThan(1_000);
  const minutes = (load.times[load.count - 1]! - world.start) / 60_000;
  const admitted = world.limits.reduce((sum, { perMinute, perDay }) => sum + Math.min(perDay, perMinute * minutes), 0);
  expect(report.answered / admitted).toBeGreaterThan(0.9);
});

test('the oracle holds a call back of which it cannot know in which minute of the clock it would arrive', () => {
  const world = drawWorld(1, 'aligned');
  const oracle = new Oracle(world);
  expect(oracle.pick(callOf(0), world.start + 59_990)).toBe(-1);
  expect(oracle.askAgainAt(callOf(0), world.start + 59_990)).toBe(world.start + 60_000);
  expect(oracle.pick(callOf(0), world.start + 60_000)).toBeGreaterThanOrEqual(0);
});

test('the same day twice gives the same report', () => {
  const world = drawWorld(3, 'sliding');
  const load = { ...drawLoad(world), count: 20_000 };
  const once = (): unknown =>
    simulate('round robin', world, load, (callers) => new WaitingRoom(new RoundRobin(), callers));
  expect(once()).toEqual(once());
});

test('round robin takes one key after the other and lets one that failed rest for a minute', () => {
  const robin = new RoundRobin();
  expect([robin.pick(callOf(0), 0), robin.pick(callOf(1), 0)]).toEqual([0, 1]);
  robin.report(2, { ...FAILURE }, 1_000);
  expect(robin.pick(callOf(2), 60_999)).toBe(3);
  for (let key = 4; key < KEYS + 2; key++) robin.pick(callOf(key), 60_999);
  expect(robin.pick(callOf(0), 61_000)).toBe(2);
});

test('waiting calls are served in their order when a key is free, and refused when their time is up', () => {
  const heard: string[] = [];
  let free = 1;
  const picker: Picker = {
    lines: 1,
    lineOf: () => 0,
    pick: () => (free-- > 0 ? 0 : -1),
    askAgainAt: (_, now) => (now < 500 ? 500 : Infinity),
    report: () => ({ retry: false, delayMs: 0, excludeKey: false, excludeProject: false }),
  };
  const room = new WaitingRoom(picker, {
    granted: ({ index }: Call, { key }: Grant, now) => heard.push(`${index} got ${key} at ${now}`),
    refused: ({ index }, now) => heard.push(`${index} refused at ${now}`),
  });
  for (let index = 0; index < 4; index++) room.acquire(callOf(index), 1_000 + index, index);
  expect(room.nextDeadline).toBe(500);
  free = 1;
  room.advance(500);
  expect(room.nextDeadline).toBe(1_002);
  room.advance(1_002);
  room.advance(1_003);
  expect(heard).toEqual(['0 got 0 at 0', '1 got 0 at 500', '2 refused at 1002', '3 refused at 1003']);
  expect(room.nextDeadline).toBe(Infinity);
});

const FAILURE = {
  kind: 'server-error',
  httpStatus: 500,
  pair: -1,
  breaksMinute: false,
  breaksDay: false,
  body: () => '',
} as const;

function callOf(index: number): Call {
  return { index, model: 0, excludedKeys: [], excludedProjects: [] };
}
