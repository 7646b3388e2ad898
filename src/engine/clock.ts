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

export function systemClock(): Clock {
  const origin = performance.timeOrigin;
  return {
    now: () => origin + performance.now(),
    wallOffset: () => Date.now() - (origin + performance.now()),
  };
}
