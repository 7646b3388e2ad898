import { describeThrown, type ProviderErrorInit } from '../gemini/describe-thrown.ts';
import { Outcome, TransportFailure } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { carriesAttempts } from './attempts.ts';
import type { RequestWatch } from './request-watch.ts';

/** How the caller's function ended, or that its call was ended by its signal: then whether a request was open. */
export type Ending = { value: unknown } | { thrown: unknown } | { aborted: unknown; open: boolean };

export interface CallOutcome {
  outcome: Outcome;
  error: ProviderErrorInit | undefined;
  /** Whether what was thrown is Gemini's and of this lease, so that another try may help; else it is the function's own. */
  geminis: boolean;
}

const UNUSED: CallOutcome = { outcome: Outcome.UNUSED, error: undefined, geminis: false };
const SUCCESS: CallOutcome = { outcome: Outcome.SUCCESS, error: undefined, geminis: false };
const GIVEN_UP: CallOutcome = {
  outcome: Outcome.FAILURE,
  error: { message: 'left before the answer', transportFailure: TransportFailure.CANCELLED },
  geminis: false,
};

/**
 * What to report of a lease. A key answers for its own requests alone: the function may ask Gemini by other clients, too, and
 * throw their errors. What Gemini last said to the lease is reported, whatever the function made of it:
 *
 *   the function            the lease's requests                  reported          thrown error is
 *   ----------------------  ------------------------------------  ----------------  ---------------
 *   throws Gemini's error   one failed that way, or some are not  FAILURE           Gemini's
 *                           seen and no other call reported it
 *   throws: no JSON         last answered an error that is none   FAILURE           Gemini's
 *   returns or throws       last answered an error, or none, or   FAILURE           its own
 *                           broke off, or a stream said an error
 *   returns or throws       last answered well                    SUCCESS           its own
 *   returns or throws       still open                            FAILURE, given up its own
 *   returns or throws       none                                  UNUSED            its own
 *   is left (signal)        one open                              FAILURE, given up -
 *
 * "Not seen" are requests that pass by the SDK's fetch, such as those of a live session. Never rejects: what was thrown may
 * refuse to be looked at.
 */
export async function callOutcome(
  ending: Ending,
  watch: RequestWatch,
  context: { apiKey: string; signal: AbortSignal | undefined },
): Promise<CallOutcome> {
  try {
    return await judged(ending, watch, context);
  } catch {
    return watch.requests === 0 ? UNUSED : { outcome: Outcome.FAILURE, error: undefined, geminis: false };
  }
}

async function judged(
  ending: Ending,
  watch: RequestWatch,
  { apiKey, signal }: { apiKey: string; signal: AbortSignal | undefined },
): Promise<CallOutcome> {
  if ('aborted' in ending && ending.open) return GIVEN_UP;
  if ('thrown' in ending) {
    const cancelled = signal?.aborted ? true : wasCancelled(ending.thrown, watch);
    const error = describeThrown(ending.thrown, { apiKey, cancelled });
    if (error !== undefined && isOfLease(ending.thrown, error, watch)) {
      return { outcome: Outcome.FAILURE, error, geminis: true };
    }
    const httpStatus = error && isUnreadable(error) ? await statusOfNoJson(watch) : undefined;
    if (httpStatus !== undefined && !carriesAttempts(ending.thrown)) {
      return { outcome: Outcome.FAILURE, error: { ...error, httpStatus }, geminis: true };
    }
  }
  const { last } = watch;
  if (watch.requests === 0) return watch.sessions > 0 ? SUCCESS : UNUSED;
  if (last === undefined) return GIVEN_UP;
  if (!last.answered) {
    // Swallowed by the function.
    const error = describeThrown(last.error, { apiKey, cancelled: wasCancelled(last.error, watch) });
    return { outcome: Outcome.FAILURE, error, geminis: false };
  }
  if (last.errorBody === undefined) {
    const error = errorInStream(watch, apiKey);
    return error === undefined ? SUCCESS : { outcome: Outcome.FAILURE, error, geminis: false };
  }
  const error = describeThrown({ status: last.status, body: await last.errorBody, name: 'ApiError' }, { apiKey });
  return { outcome: Outcome.FAILURE, error: { ...error, httpStatus: last.status }, geminis: false };
}

/** The function has swallowed it, or, of interactions, was given it as an event. */
function errorInStream({ failures }: RequestWatch, apiKey: string): ProviderErrorInit | undefined {
  const failure = failures.findLast(({ by }) => by === 'stream');
  return failure?.by === 'stream' ? describeThrown(failure.said, { apiKey }) : undefined;
}

function isOfLease(thrown: unknown, error: ProviderErrorInit, watch: RequestWatch): boolean {
  if (carriesAttempts(thrown)) return false;
  if (watch.unseen) return true;
  const { failures, last } = watch;
  // An answer that came whole, and was no JSON.
  if (isUnreadable(error)) return last?.answered === true && last.errorBody === undefined;
  if ((error.transportFailure ?? TransportFailure.UNSPECIFIED) !== TransportFailure.UNSPECIFIED) {
    return failures.some(({ by }) => by === 'silence');
  }
  const { httpStatus } = error;
  return failures.some(
    (failure) =>
      failure.by === 'stream' ||
      (failure.by === 'answer' && (httpStatus === undefined || httpStatus === failure.status)),
  );
}

/** The status of an error that claims to be JSON and is not: the SDK loses it, and throws what the parser said. */
async function statusOfNoJson({ last }: RequestWatch): Promise<number | undefined> {
  if (!last?.answered || last.errorBody === undefined) return undefined;
  const body = await last.errorBody;
  try {
    JSON.parse(body);
    return undefined;
  } catch {
    return last.status;
  }
}

/** The words of describeThrown for what could not be parsed. */
function isUnreadable({ message, httpStatus }: ProviderErrorInit): boolean {
  return httpStatus === undefined && /^SyntaxError: |Incomplete JSON segment/.test(message ?? '');
}

/** The SDK throws an AbortError for the caller's abort and for its own time limit; other names speak for themselves. */
function wasCancelled(thrown: unknown, watch: RequestWatch): boolean | undefined {
  try {
    return thrown instanceof Error && thrown.name === 'AbortError' ? !watch.timedOut() : undefined;
  } catch {
    return undefined;
  }
}
