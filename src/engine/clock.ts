/**
 * The one source of time. Everything that measures an interval uses now(), which never jumps; wallOffset() turns it into
 * what is stored and shown.
 */
export interface Clock {
  /** Milliseconds that only go forward. Near the wall clock at the start of the process, apart from it after the wall clock is set. */
  now(): number;
  /** Wall-clock milliseconds since 1970, less now(). */
  wallOffset(): number;
}

/** A wall clock that moved by less is taken for one that did not: it is read in whole milliseconds, now() in parts of them. */
const UNMOVED_MS = 5;

export function systemClock(): Clock {
  const origin = performance.timeOrigin;
  const now = (): number => origin + performance.now();
  let offset = Date.now() - now();
  return {
    now,
    wallOffset: () => {
      const measured = Date.now() - now();
      // Else one and the same time would be shown and stored now one way, now a millisecond off.
      if (Math.abs(measured - offset) >= UNMOVED_MS) offset = measured;
      return offset;
    },
  };
}
