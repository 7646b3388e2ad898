import { setTimeout as sleep } from 'node:timers/promises';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Balancer } from '../../client/balancer.ts';
import { KeyBalancerError } from '../../client/errors.ts';
import type { MonitorState } from './monitor-state.ts';

/** Between tries to reach a balancer that is away. */
const AWAY_MS = 1_000;

export interface Feed {
  /** When the balancer was lost, in unix milliseconds; undefined: it is there. */
  lostSince: number | undefined;
  /** Why it cannot be reached. */
  trouble: string;
}

/**
 * Keeps the state true: changes as WatchHealth tells them, counters every `intervalMs`. Goes on over restarts of the balancer. Rejects
 * when it is not there at the beginning, and with what a restart does not mend.
 */
export async function feedMonitor(
  balancer: Balancer,
  state: MonitorState,
  { pools, intervalMs, signal }: { pools: readonly string[]; intervalMs: number; signal: AbortSignal },
  changed: (feed: Feed) => void,
): Promise<void> {
  const feed: Feed = { lostSince: undefined, trouble: '' };
  const count = async (): Promise<void> => {
    state.counted(
      await balancer.keyBalancer.getStats({ pools: [...pools] }, { signal, timeoutMs: 5_000 }),
      performance.now(),
    );
  };
  let resumeToken = '';
  // One that is not there at all is told of at once.
  await count();
  for (;;) {
    const left = new AbortController();
    const either = AbortSignal.any([signal, left.signal]);
    const found = (): void => {
      if (feed.lostSince !== undefined) state.note('reached again', 'good');
      feed.lostSince = undefined;
      changed(feed);
    };
    const counting = (async () => {
      for (;;) {
        await sleep(intervalMs, undefined, { signal: either });
        await count();
        changed(feed);
      }
    })();
    const watching = (async () => {
      if (resumeToken === '') state.forget();
      const request = { pools: [...pools], resumeToken, heartbeatInterval: durationFromMs(1_000) };
      for await (const response of balancer.watchHealth(request, { signal: either })) {
        if (response.resumeToken !== '') resumeToken = response.resumeToken;
        state.told(response);
        found();
      }
    })();
    try {
      await Promise.race([counting, watching]);
    } catch (error) {
      if (!isAway(error) && !signal.aborted) throw error;
      feed.trouble = (error as Error).message;
    } finally {
      left.abort();
      await Promise.allSettled([counting, watching]);
    }
    if (signal.aborted) return;
    if (feed.lostSince === undefined) {
      feed.lostSince = Date.now();
      state.note('not reached any more', 'bad');
    }
    changed(feed);
    await sleep(AWAY_MS, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
  }
}

function isAway(error: unknown): boolean {
  return error instanceof KeyBalancerError && ['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED'].includes(error.code);
}
