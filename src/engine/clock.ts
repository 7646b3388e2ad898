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
      // The process may be held up between two looks: the wall was read somewhere from the first now() to the second.
      const before = now();
      const wall = Date.now();
      const after = now();
      const isUnmoved = wall - after < offset + UNMOVED_MS && wall - before > offset - UNMOVED_MS;
      // Else one and the same time would be shown and stored now one way, now a millisecond off.
      if (!isUnmoved) offset = wall - after;
      return offset;
    },
  };
}
