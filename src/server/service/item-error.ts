import type { BalancerError, StatusCode } from '../../engine/errors.ts';
import { Code } from '../../gen/google/rpc/code_pb.ts';
import { ErrorReason, type ItemError } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { durationMessage } from './time-messages.ts';

/** google.rpc.Code of a status name. */
export function codeOf(status: StatusCode): Code {
  return Code[status];
}

/** A refusal of one item inside a call that itself succeeds. */
export function itemError(
  error: Pick<BalancerError, 'code' | 'reason' | 'message' | 'retryDelayMs'> & Partial<Pick<BalancerError, 'metadata'>>,
): ItemError {
  return {
    $typeName: 'keybalancer.v1.ItemError',
    code: codeOf(error.code),
    reason: ErrorReason[error.reason],
    message: error.message,
    retryDelay: error.retryDelayMs === undefined ? undefined : durationMessage(error.retryDelayMs),
    metadata: { ...error.metadata },
  };
}
