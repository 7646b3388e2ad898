import type { Moment } from './moment.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** From the first moment of 1970 to the last of 9999. Outside of it Intl writes years in other ways, and no clock is right. */
const YEAR_10000 = Date.UTC(10_000, 0);
/** No day is longer: the one on which summer time ends. */
const LONGEST_DAY_MS = 25 * HOUR_MS;
/** A wall clock that moved by less did not move: it is adjusted all the time. */
const UNMOVED_MS = 1_000;
/** By how much a wall clock that was set back is believed without question. Beyond, a day ends when its longest time is over. */
const BELIEVED_MS = 2 * HOUR_MS;

const pacific = new Intl.DateTimeFormat('en-US', {
  timeZone: 'America/Los_Angeles',
  hourCycle: 'h23',
  year: 'numeric',
  month: 'numeric',
  day: 'numeric',
  hour: 'numeric',
  minute: 'numeric',
  second: 'numeric',
});

/** The Pacific day that was asked for last: from, and to less than. Nearly all calls ask for the same. */
let dayStart = 0;
let dayEnd = 0;

/**
 * The first midnight in America/Los_Angeles strictly after a time, both in wall-clock milliseconds since 1970. Infinity for what is
 * no time of the years 1970 to 9999 (also NaN): no midnight is known then, and LONGEST_DAY_MS ends the day.
 */
export function nextPacificMidnight(wall: number): number {
  if (wall >= dayStart && wall < dayEnd) return dayEnd;
  if (!(wall >= 0 && wall < YEAR_10000)) return Infinity;
  const midnight = Math.floor((wall + pacificOffset(wall)) / DAY_MS) * DAY_MS;
  dayStart = fromPacific(midnight);
  dayEnd = fromPacific(midnight + DAY_MS);
  return dayEnd;
}

/** The time at which clocks in Los Angeles show a midnight that is given as if they were clocks of UTC. */
function fromPacific(midnight: number): number {
  // Summer time begins and ends at 2 in the morning: what holds at midnight still holds 8 h after midnight UTC, which is 0 or 1 o'clock.
  return midnight - pacificOffset(midnight + 8 * HOUR_MS);
}

/** What clocks in Los Angeles show, less UTC, in milliseconds. */
function pacificOffset(wall: number): number {
  const parts: Partial<Record<Intl.DateTimeFormatPartTypes, string>> = {};
  for (const { type, value } of pacific.formatToParts(wall)) parts[type] = value;
  const { year, month, day, hour, minute, second } = parts;
  const shown = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second));
  return shown - Math.floor(wall / 1_000) * 1_000;
}

/** When a Pacific day that something was counted on ends. Plain data. */
export interface DayEnd {
  /** The midnight, in wall-clock milliseconds since 1970. */
  readonly wall: number;
  /** When that is on the engine's clock, as it was computed when the day began to be counted. */
  readonly engine: number;
  /** On the engine's clock, a midnight is past for sure: the longest day has gone by. */
  readonly latest: number;
}

/** The end of the day that is now. `previous` is the end of the day counted before, which is over. */
export function endOfDay(at: Moment, previous?: DayEnd): DayEnd {
  const wall = at.now + at.wallOffset;
  // A wall clock that is moments behind still shows the day that is over, and would end the new one with it.
  const isBehind = previous !== undefined && wall < previous.wall && previous.wall - wall < UNMOVED_MS;
  return endAt(nextPacificMidnight(isBehind ? previous.wall : wall), at);
}

/** The end that is known by its midnight only, as after a restart. */
export function endAt(wall: number, at: Moment): DayEnd {
  const latest = at.now + LONGEST_DAY_MS;
  return { wall, engine: Math.min(wall - at.wallOffset, latest), latest };
}

/**
 * When the day ends on the engine's clock, by the wall clock as it is set now: never before what was planned, and later where the
 * wall clock was set back, so that it again shows midnight then. It depends on nothing in between: a wall clock set back and forth
 * changes nothing. One set back by years does not shut a day for good: it lasts LONGEST_DAY_MS then.
 */
export function engineEnd(end: DayEnd, at: Moment): number {
  const corrected = end.wall - at.wallOffset;
  const later = corrected - end.engine;
  if (later < UNMOVED_MS) return end.engine;
  return later <= BELIEVED_MS ? corrected : Math.min(corrected, end.latest);
}
