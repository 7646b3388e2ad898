import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { WatchHealthRequestSchema, WatchHealthResponse } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { awayPauseMs } from '../away.ts';
import type { Balancer, CallOptions } from '../balancer.ts';
import { cancelledError, KeyBalancerError } from '../errors.ts';

/**
 * A watch that goes on where it was when its balancer goes: with the changes since, or, after a crash, with a new snapshot that says
 * `reset`. One that was cut in its very first snapshot, before any token, rejects. `beginMs`: how long it tries to begin; default: once.
 */
export async function* resumedWatch(
  next: (call: CallOptions) => Promise<Balancer>,
  request: MessageInitShape<typeof WatchHealthRequestSchema>,
  { signal, timeoutMs }: CallOptions,
  beginMs: (balancer: Balancer) => number = () => 0,
): AsyncGenerator<WatchHealthResponse> {
  const end = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
  const call = (): CallOptions => ({ signal, timeoutMs: end && Math.max(1, end - performance.now()) });
  let resumeToken = request.resumeToken ?? '';
  let hasBegun = false;
  let awaySince: number | undefined;
  for (;;) {
    const balancer = await next(call());
    try {
      for await (const response of balancer.watchHealth({ ...request, resumeToken }, call())) {
        hasBegun = true;
        if (response.resumeToken !== '') resumeToken = response.resumeToken;
        yield response;
      }
      return;
    } catch (error) {
      if (!isGone(error)) throw error;
      awaySince ??= performance.now();
      const mayBegin = !hasBegun && performance.now() - awaySince < beginMs(balancer);
      if (resumeToken === '' && !mayBegin) throw error;
    }
    try {
      // One that drains is there for a while yet.
      await sleep(awayPauseMs(), undefined, { signal });
    } catch {
      throw cancelledError(signal!);
    }
  }
}

/** Its balancer, not its store: that is told of to whoever watches. */
function isGone(error: unknown): boolean {
  return (
    error instanceof KeyBalancerError &&
    error.code === 'UNAVAILABLE' &&
    (error.reason === '' || error.reason === 'DRAINING')
  );
}
