import { type ServiceError, status } from '@grpc/grpc-js';
import type { KeyBalancerError } from '../errors.ts';
import { isUnsent, lostError, remoteError } from '../remote-error.ts';
import type { ClientStream, StreamEnd } from './client-stream.ts';

/**
 * Why a stream ended:
 * - over: it had nothing to do.
 * - unknown: there are no sessions there.
 * - unsent: nothing of it was read, since nobody answers, or the server shuts down.
 * - silent: the server's settings did not come in time.
 * - denied: this caller may not; nor may it by another way.
 * - fault: something went wrong inside the server, in whichever operation.
 * - cut: the connection broke, or something between cut it.
 */
export type Verdict = 'over' | 'unknown' | 'unsent' | 'silent' | 'denied' | 'fault' | 'cut';

export interface Judgement {
  verdict: Verdict;
  /** What its operations reject with: each with its own, since errors are written on. */
  error: () => KeyBalancerError;
}

export function judge({ endpoint, heard }: ClientStream, { status: ending, open }: StreamEnd): Judgement {
  const { where } = endpoint;
  const lost = (): KeyBalancerError => lostError(where);
  if (ending === undefined) return { verdict: 'silent', error: lost };
  if (ending.code === status.OK) return { verdict: open.length === 0 ? 'over' : 'cut', error: lost };
  const error = (): KeyBalancerError => remoteError(ending as Partial<ServiceError>, where);
  if (ending.code === status.UNIMPLEMENTED) return { verdict: 'unknown', error };
  const { code, reason } = error();
  if (isUnsent(ending) || (!heard && reason === 'DRAINING')) return { verdict: 'unsent', error };
  if (code === 'UNAVAILABLE') return { verdict: 'cut', error };
  // The stream has no deadline, and nobody here cancelled it.
  if (code === 'CANCELLED' || code === 'DEADLINE_EXCEEDED') return { verdict: 'cut', error: lost };
  return { verdict: code === 'UNAUTHENTICATED' || code === 'PERMISSION_DENIED' ? 'denied' : 'fault', error };
}
