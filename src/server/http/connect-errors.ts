import { Code, ConnectError } from '@connectrpc/connect';
import { BalancerError } from '../../engine/errors.ts';
import { detailMessages } from '../service/error-details.ts';
import { codeOf } from '../service/item-error.ts';

/**
 * What a function threw, as Connect says it. A refusal keeps its code, message and details; a call that its caller gave up says
 * why it ended; anything else is a fault of this program, which goes to `onFault` while the caller learns only that it happened.
 */
export function connectError(error: unknown, signal: AbortSignal, onFault: (error: unknown) => void): ConnectError {
  if (signal.aborted && (error === signal.reason || isCancelled(error))) {
    // Connect aborts with the error to answer: DEADLINE_EXCEEDED when it was the deadline.
    return ConnectError.from(signal.reason, Code.Canceled);
  }
  if (!(error instanceof BalancerError)) {
    onFault(error);
    return new ConnectError('internal error; the server log says more', Code.Internal);
  }
  // Codes of Connect are the numbers of google.rpc.Code.
  const code = codeOf(error.code) as number as Code;
  return new ConnectError(error.message, code, retryAfter(error), detailMessages(error));
}

function isCancelled(error: unknown): boolean {
  return error instanceof BalancerError && error.reason === 'OPERATION_CANCELLED';
}

/** RetryInfo for those who read HTTP only: whole seconds, rounded up. */
function retryAfter({ retryDelayMs }: BalancerError): Record<string, string> | undefined {
  return retryDelayMs === undefined ? undefined : { 'retry-after': String(Math.ceil(retryDelayMs / 1000)) };
}
