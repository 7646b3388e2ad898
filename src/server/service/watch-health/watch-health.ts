import type { WatchHealthRequest, WatchHealthResponse } from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import * as fields from '../fields.ts';
import type { ServiceContext } from '../service-context.ts';
import type { CallContext } from '../service-functions.ts';
import { parseResumeToken } from './resume-token.ts';
import { WatchFilters } from './watch-filters.ts';
import { draining, Watcher } from './watcher.ts';

const HEARTBEAT_MS = 15_000;
const SHORTEST_HEARTBEAT_MS = 1_000;
const LONGEST_HEARTBEAT_MS = 300_000;

/**
 * The snapshot, or with a resume token what changed since, then changes as they are stored. A heartbeat follows at once where
 * there was no snapshot, so that the watcher has a token from the beginning, and then one each interval.
 */
export async function* watchHealth(
  context: ServiceContext,
  request: WatchHealthRequest,
  call: CallContext,
): AsyncGenerator<WatchHealthResponse> {
  const options = {
    filters: new WatchFilters(request),
    heartbeatMs: heartbeatMs(request),
    skipSnapshot: request.skipSnapshot,
    resume:
      request.resumeToken === ''
        ? undefined
        : { point: parseResumeToken(request.resumeToken), token: request.resumeToken },
  };
  const { signal } = call;
  if (signal.aborted) return;
  if (context.draining.aborted) throw draining();
  const watcher = new Watcher(context, options, signal);
  try {
    yield* watcher.messages();
  } finally {
    watcher.close();
  }
}

function heartbeatMs({ heartbeatInterval }: WatchHealthRequest): number {
  const ms = fields.durationMs('heartbeat_interval', heartbeatInterval);
  if (ms === undefined) return HEARTBEAT_MS;
  if (ms >= SHORTEST_HEARTBEAT_MS && ms <= LONGEST_HEARTBEAT_MS) return ms;
  throw fields.refused('heartbeat_interval', `${ms / 1000} s`, '1 s to 300 s; absent: 15 s');
}
