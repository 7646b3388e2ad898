import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { HealthEventKind, WatchHealthResponse } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Balancer } from './balancer.ts';
import { resumedWatch } from './shared/resumed-watch.ts';

export interface WatchOptions {
  /** Default: the client's pool. */
  pools?: readonly string[];
  /** Default: all kinds. */
  kinds?: readonly HealthEventKind[];
  /** From the last message seen, to go on where another watch ended. */
  resumeToken?: string;
  /** Changes only. */
  skipSnapshot?: boolean;
  /** Milliseconds between signs of life, 1,000 to 300,000. Default 15,000. */
  heartbeatInterval?: number;
  /** Ends the watch: it rejects with code CANCELLED. */
  signal?: AbortSignal;
}

/** Changes of health, over restarts of the balancer too. Ends with the loop over it, or with the client. */
export async function* watchHealth(
  use: () => Promise<{ balancer: Balancer }>,
  { pool, ended }: { pool: string; ended: AbortSignal },
  options: WatchOptions,
): AsyncGenerator<WatchHealthResponse> {
  const {
    pools = [pool || 'default'],
    kinds = [],
    resumeToken = '',
    skipSnapshot = false,
    heartbeatInterval,
  } = options;
  const signal = options.signal === undefined ? ended : AbortSignal.any([ended, options.signal]);
  const request = {
    pools: [...pools],
    kinds: [...kinds],
    resumeToken,
    skipSnapshot,
    ...(heartbeatInterval !== undefined && { heartbeatInterval: durationFromMs(heartbeatInterval) }),
  };
  try {
    yield* resumedWatch(async () => (await use()).balancer, request, { signal });
  } catch (error) {
    if (ended.aborted) return;
    throw error;
  }
}
