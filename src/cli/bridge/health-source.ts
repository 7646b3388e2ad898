import { setTimeout as sleep } from 'node:timers/promises';
import { awayPauseMs } from '../../client/away.ts';
import type { Balancer } from '../../client/balancer.ts';
import { KeyBalancerError } from '../../client/errors.ts';
import type { HealthEventKind, WatchHealthResponse } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { GapReason, Noticed } from './event.ts';
import { unfold } from './unfold.ts';

/** Shortest and longest pause between tries to reach a balancer that is away. */
const AWAY_MS = [500, 1_500] as const;

/** What a server that is there needs at most to say so. */
const ANSWER_MS = 10_000;

/** What neither waiting nor a restart of the server mends. */
const FOR_GOOD = ['INVALID_ARGUMENT', 'UNAUTHENTICATED', 'PERMISSION_DENIED', 'NOT_FOUND', 'UNIMPLEMENTED'];

/** What is watched. */
export interface Watched {
  /** Empty: all. */
  pools: readonly string[];
  /** Empty: all. */
  kinds: readonly HealthEventKind[];
  /** "": begin with a snapshot. */
  resumeToken: string;
}

/** What the watch says of itself. */
export interface SourceEvents {
  lost(why: string): void;
  /** It is there, or there again. */
  found(): void;
  gap(reason: GapReason): void;
}

/**
 * What WatchHealth tells, over restarts of the balancer, as fast as it is pulled: who does not pull makes the server merge. Where
 * something may be missing, a gap stands before what follows. Ends by the signal. Rejects when the balancer is not there at the
 * beginning, and with what a restart does not mend.
 */
export async function* healthSource(
  balancer: Balancer,
  { pools, kinds, resumeToken }: Watched,
  events: SourceEvents,
  signal: AbortSignal,
): AsyncGenerator<Noticed> {
  let token = resumeToken;
  let reached = false;
  let lost = false;
  const gap = (reason: GapReason): Noticed => {
    events.gap(reason);
    return { told: { gap: { reason, time: Date.now(), changes: 0 } }, resumeToken: '' };
  };
  for (;;) {
    const resumed = token;
    let why = 'it ended the stream';
    let caughtUp = resumed === '';
    try {
      // Of several addresses a stream takes the one that calls use: a call finds the next where that does not answer.
      await balancer.keyBalancer.getStats({ pools: [...pools] }, { signal, timeoutMs: ANSWER_MS });
      const request = { pools: [...pools], kinds: [...kinds], resumeToken: resumed };
      for await (const message of balancer.watchHealth(request, { signal })) {
        if (lost || !reached) events.found();
        reached = true;
        lost = false;
        if (isReset(message)) yield gap('reset');
        else if (!caughtUp && movedOn(message, resumed)) yield gap('resumed');
        caughtUp = true;
        for (const noticed of unfold(message, kinds)) {
          yield noticed;
          if (noticed.resumeToken !== '') token = noticed.resumeToken;
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (resumed !== '' && isUnknownToken(error)) {
        token = '';
        yield gap('reset');
        continue;
      }
      if (!reached || isForGood(error)) throw error;
      why = (error as Error).message;
    }
    if (!lost) events.lost(why);
    lost = true;
    await sleep(awayPauseMs(...AWAY_MS), undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
  }
}

function isReset({ event }: WatchHealthResponse): boolean {
  return event.case === 'snapshot' && event.value.reset;
}

/** Whether anything happened while nobody watched: what was missed comes first, and the first heartbeat says how far the server is. */
function movedOn({ event, resumeToken }: WatchHealthResponse, resumed: string): boolean {
  return event.case === 'change' || resumeToken !== resumed;
}

function isForGood(error: unknown): boolean {
  return error instanceof KeyBalancerError && FOR_GOOD.includes(error.code);
}

/** A token of another kind of server, or of one that is older or newer by far. */
function isUnknownToken(error: unknown): boolean {
  return error instanceof KeyBalancerError && error.violations.some(({ field }) => field === 'resume_token');
}
