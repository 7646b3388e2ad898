import { durationMs } from '@bufbuild/protobuf/wkt';
import { CodeSchema } from '../../gen/google/rpc/code_pb.ts';
import { ErrorReasonSchema, type ItemError } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { KeyBalancerError, type StatusName } from '../errors.ts';

/** The refusal of an operation, as the same call by itself would have been refused. */
export function refusal({ code, reason, message, retryDelay, metadata }: ItemError): KeyBalancerError {
  const name = ErrorReasonSchema.value[reason]?.localName ?? '';
  const { field } = metadata;
  return new KeyBalancerError(message, {
    code: (CodeSchema.values.find(({ number }) => number === code)?.name ?? 'UNKNOWN') as StatusName,
    reason: name === 'UNSPECIFIED' ? '' : name,
    metadata,
    violations: field === undefined ? [] : [{ field, description: message }],
    retryAfterMs: retryDelay && durationMs(retryDelay),
  });
}
