import type { Ending } from './call-outcome.ts';
import type { RequestWatch } from './request-watch.ts';

export type EndingOf<T> = Exclude<Ending, { value: unknown }> | { value: T };

/** Runs fn to its end, or until the signal: what becomes of fn then is nobody's matter. */
export async function endingOf<T>(
  run: () => T | Promise<T>,
  watch: RequestWatch,
  signal: AbortSignal | undefined,
): Promise<EndingOf<T>> {
  if (signal?.aborted) return { aborted: signal.reason, open: false };
  let leave = (): void => {};
  const left = new Promise<EndingOf<T>>((resolve) => {
    leave = () => resolve({ aborted: signal?.reason, open: watch.figures.open > 0 });
  });
  signal?.addEventListener('abort', leave, { once: true });
  const running = (async (): Promise<EndingOf<T>> => {
    try {
      return { value: await run() };
    } catch (thrown) {
      return { thrown };
    }
  })();
  try {
    return await Promise.race([running, left]);
  } finally {
    signal?.removeEventListener('abort', leave);
  }
}
