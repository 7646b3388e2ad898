const HOUR = 3_600_000;

/** The nth given weekday (0: Sunday) of a month (0: January), or the last one (nth = -1), as midnight UTC. */
function nthSunday(year: number, month: number, nth: number): number {
  if (nth < 0) {
    const last = new Date(Date.UTC(year, month + 1, 0));
    return last.getTime() - last.getUTCDay() * 24 * HOUR;
  }
  const first = new Date(Date.UTC(year, month, 1));
  return first.getTime() + (((7 - first.getUTCDay()) % 7) + 7 * (nth - 1)) * 24 * HOUR;
}

/** Hours that Los Angeles is behind UTC at a time: written out from the law, in force since 1987 and since 2007. */
function hoursBehind(wall: number): number {
  const year = new Date(wall - 8 * HOUR).getUTCFullYear();
  const begins = (year < 2007 ? nthSunday(year, 3, 1) : nthSunday(year, 2, 2)) + 10 * HOUR;
  const ends = (year < 2007 ? nthSunday(year, 9, -1) : nthSunday(year, 10, 1)) + 9 * HOUR;
  return wall >= begins && wall < ends ? 7 : 8;
}

/** The first Pacific midnight after a time, found by looking at each half hour. */
export function naiveMidnight(wall: number): number {
  const half = HOUR / 2;
  let at = Math.floor(wall / half) * half + half;
  while ((at - hoursBehind(at) * HOUR) % (24 * HOUR) !== 0) at += half;
  return at;
}
