import { expect, onTestFinished, test, vi } from 'vitest';
import { systemClock } from '../../src/engine/clock.ts';

/** A clock over hands that a test moves. `stall` holds the process up for so many ms each time it has looked at a hand. */
function clock() {
  const hands = { wall: 1_800_000_000_000, since: 0, stall: 0 };
  const look = (read: () => number) => () => {
    const value = read();
    hands.since += hands.stall;
    hands.wall += hands.stall;
    return value;
  };
  const spies = [
    vi.spyOn(Date, 'now').mockImplementation(look(() => Math.floor(hands.wall))),
    vi.spyOn(performance, 'now').mockImplementation(look(() => hands.since)),
  ];
  onTestFinished(() => {
    for (const spy of spies) spy.mockRestore();
  });
  return { hands, ...systemClock() };
}

test('the offset of the wall clock stays the same to the last digit while time passes, whatever part of a millisecond it is read at', () => {
  const { hands, wallOffset } = clock();
  const first = wallOffset();
  for (let look = 0; look < 1_000; look++) {
    hands.since += 7.3;
    hands.wall += 7.3;
    expect(wallOffset()).toBe(first);
  }
});

test('it stays so though the process is held up between its looks at the clocks', () => {
  const { hands, wallOffset } = clock();
  const first = wallOffset();
  hands.stall = 800.4;
  expect(wallOffset()).toBe(first);
  hands.stall = 0;
  expect(wallOffset()).toBe(first);
});

test('it follows a wall clock that was set, forward and back', () => {
  const { hands, wallOffset } = clock();
  const first = wallOffset();
  hands.wall += 3_600_000;
  expect(Math.abs(wallOffset() - first - 3_600_000)).toBeLessThanOrEqual(1);
  hands.wall -= 7_200_000;
  expect(Math.abs(wallOffset() - first + 3_600_000)).toBeLessThanOrEqual(1);
});
