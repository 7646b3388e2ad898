import { describeThrown, type ProviderErrorInit } from '../gemini/describe-thrown.ts';
import { Outcome, TransportFailure } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { RequestWatch } from './request-watch.ts';

/** How the caller's function ended. */
export type Ending = { value: unknown } | { thrown: unknown };

export interface CallOutcome {
  outcome: Outcome;
  error: ProviderErrorInit | undefined;
  /** Whether what was thrown is Gemini's, so that another try may help; else it is the function's own. */
  geminis: boolean;
}

/**
 * What to report of a lease. What Gemini last said is reported, whatever the function made of it:
 *
 *   the function            last request            reported          thrown error is
 *   ----------------------  ----------------------  ----------------  ---------------
 *   throws Gemini's error   any, or not seen        FAILURE           Gemini's
 *   throws a broken line    it, or a part of it     FAILURE           Gemini's
 *   throws a broken line    none, or answered well  as below          its own
 *   returns or throws       answered an error       FAILURE           its own
 *   returns or throws       answered well           SUCCESS           its own
 *   returns or throws       still open              FAILURE, given up its own
 *   returns or throws       none                    UNUSED            its own
 *
 * A broken line is no answer, or no whole one. "Not seen" are requests that pass by the SDK's fetch, such as those of a live
 * session or of an own HTTP client: an error with Gemini's answer in it needs no other witness.
 */
export async function callOutcome(
  ending: Ending,
  watch: RequestWatch,
  context: { apiKey: string; signal: AbortSignal | undefined },
): Promise<CallOutcome> {
  const { apiKey, signal } = context;
  if ('thrown' in ending) {
    const cancelled = signal?.aborted ? true : wasCancelled(ending.thrown, watch);
    const error = describeThrown(ending.thrown, { apiKey, cancelled });
    if (error !== undefined && isWitnessed(error, watch)) return { outcome: Outcome.FAILURE, error, geminis: true };
  }
  const { last } = watch;
  if (watch.requests === 0) return { outcome: Outcome.UNUSED, error: undefined, geminis: false };
  if (last === undefined) {
    const error = { message: 'left before the answer', transportFailure: TransportFailure.CANCELLED };
    return { outcome: Outcome.FAILURE, error, geminis: false };
  }
  if (!last.answered) {
    // Swallowed by the function.
    const error = describeThrown(last.error, { apiKey, cancelled: wasCancelled(last.error, watch) });
    return { outcome: Outcome.FAILURE, error, geminis: false };
  }
  if (last.errorBody === undefined) return { outcome: Outcome.SUCCESS, error: undefined, geminis: false };
  const error = describeThrown({ status: last.status, body: await last.errorBody, name: 'ApiError' }, { apiKey });
  return { outcome: Outcome.FAILURE, error: { ...error, httpStatus: last.status }, geminis: false };
}

/** Whether the error can be of a request that was made with the lease. */
function isWitnessed(error: ProviderErrorInit, watch: RequestWatch): boolean {
  switch (error.transportFailure ?? TransportFailure.UNSPECIFIED) {
    case TransportFailure.UNSPECIFIED:
      return true;
    case TransportFailure.CONNECT:
    case TransportFailure.RESET:
      // No answer came; but one did to the last request, so it was somebody else who did not answer.
      return watch.requests > 0 && watch.last?.answered !== true;
    default:
      return watch.requests > 0;
  }
}

/** The SDK throws an AbortError for the caller's abort and for its own time limit; other names speak for themselves. */
function wasCancelled(thrown: unknown, watch: RequestWatch): boolean | undefined {
  return thrown instanceof Error && thrown.name === 'AbortError' ? !watch.timedOut() : undefined;
}
