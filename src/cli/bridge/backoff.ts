const SHORTEST_MS = 500;
const LONGEST_MS = 60_000;
/** What a sink that asks for more is given; then it is asked again. */
const LONGEST_STATED_MS = 3_600_000;

/**
 * Milliseconds until the next try after so many failures in a row, at least 1: from half a second doubled up to a minute, of which the
 * second half is left to chance, so that bridges which lost their sink together do not come back together. Never earlier than the sink
 * asked, up to an hour. `random`: 0 to 1.
 */
export function pauseMs(failures: number, statedMs: number | undefined, random = Math.random()): number {
  const whole = Math.min(LONGEST_MS, SHORTEST_MS * 2 ** (failures - 1));
  return Math.round(Math.max(whole * (0.5 + random / 2), Math.min(statedMs ?? 0, LONGEST_STATED_MS)));
}

/** Milliseconds of a Retry-After header, seconds or a date; undefined: none that can be read. `now`: unix milliseconds. */
export function retryAfterMs(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
