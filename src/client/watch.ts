import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { HealthEventKind, WatchHealthResponse } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { AwayOption } from './away-policy.ts';
import type { Balancer } from './balancer.ts';
import { signal as checkedSignal, flag, refuseUnknown, shownType, text, texts, whole } from './checks.ts';
import { closedError, invalidOption } from './errors.ts';
import { patienceMs } from './patiently.ts';
import { resumedWatch } from './shared/resumed-watch.ts';

/** What is watched. */
export interface WatchOptions {
  /** Default: the client's pool. */
  pools?: readonly string[] | undefined;
  /** Default: all kinds. */
  kinds?: readonly HealthEventKind[] | undefined;
  /** From the last message seen, to go on where another watch ended. */
  resumeToken?: string | undefined;
  /** Changes only. */
  skipSnapshot?: boolean | undefined;
  /** Milliseconds between signs of life, 1,000 to 300,000. Default 15,000. */
  heartbeatInterval?: number | undefined;
  /** Ends the watch: it rejects with code CANCELLED. */
  signal?: AbortSignal | undefined;
}

const LARGEST_ENUM = 2 ** 31 - 1;
const WATCH_OPTIONS = ['pools', 'kinds', 'resumeToken', 'skipSnapshot', 'heartbeatInterval', 'signal'];

/** Changes of health, over restarts of the balancer too. Ends with the loop over it, or with the client. */
export async function* watchHealth(
  use: () => Promise<{ balancer: Balancer }>,
  { pool, away, ended }: { pool: string; away: AwayOption; ended: AbortSignal },
  options: WatchOptions,
): AsyncGenerator<WatchHealthResponse> {
  if (ended.aborted) throw closedError('this KeyBalancer');
  refuseUnknown(options, WATCH_OPTIONS);
  const { kinds = [], resumeToken, skipSnapshot, heartbeatInterval } = options;
  if (!Array.isArray(kinds)) throw invalidOption('kinds', shownType(kinds), 'a list of HealthEventKind');
  for (const [index, kind] of kinds.entries()) whole(`kinds[${index}]`, kind, 0, LARGEST_ENUM);
  const left = checkedSignal(options.signal);
  const signal = left === undefined ? ended : AbortSignal.any([ended, left]);
  const request = {
    pools: options.pools === undefined ? [pool || 'default'] : texts('pools', options.pools),
    kinds: [...kinds],
    resumeToken: text('resumeToken', resumeToken) ?? '',
    skipSnapshot: flag('skipSnapshot', skipSnapshot) ?? false,
    ...(heartbeatInterval !== undefined && {
      heartbeatInterval: durationFromMs(whole('heartbeatInterval', heartbeatInterval, 1_000, 300_000)),
    }),
  };
  try {
    const beginMs = away === 'wait' ? patienceMs : undefined;
    yield* resumedWatch(async () => (await use()).balancer, request, { signal }, beginMs);
  } catch (error) {
    if (ended.aborted) return;
    throw error;
  }
}
