import { durationMs } from '@bufbuild/protobuf/wkt';
import { CodeSchema } from '../../gen/google/rpc/code_pb.ts';
import { type AcquireKeyRequest, ErrorReasonSchema, type ItemError } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { KeyBalancerError, type StatusName } from '../errors.ts';
import type { Operation } from './operation.ts';

/** The end of the message of NO_KEY_AVAILABLE. */
const CAUSE = /: ([a-z_]+)$/;
/** The beginning of that of INVALID_FIELD. */
const FIELD = /^(\S+) is /;

/**
 * The refusal of an operation, as the same call by itself would have been refused. ItemError carries no metadata: what of it
 * the request and the message tell is put in.
 */
export function refusal({ kind, request }: Pick<Operation, 'kind' | 'request'>, error: ItemError): KeyBalancerError {
  const { message } = error;
  const code = (CodeSchema.values.find(({ number }) => number === error.code)?.name ?? 'UNKNOWN') as StatusName;
  const reason = ErrorReasonSchema.value[error.reason]?.localName ?? '';
  const metadata: Record<string, string> = {};
  const violations: { field: string; description: string }[] = [];
  if (reason === 'INVALID_FIELD') {
    const field = FIELD.exec(message)?.[1];
    if (field !== undefined) {
      metadata.field = field;
      violations.push({ field, description: message });
    }
  } else if (kind === 'acquire') {
    const { pool, model, requestId } = request as AcquireKeyRequest;
    if (reason === 'REQUEST_ID_REUSED') metadata.request_id = requestId;
    else if (POOLED.has(reason) && POOL.test(pool)) {
      metadata.pool = pool || 'default';
      if (MODELLED.has(reason) && model !== '') metadata.model = model.replace(/^models\//, '');
      const cause = reason === 'NO_KEY_AVAILABLE' ? CAUSE.exec(message)?.[1] : undefined;
      if (cause !== undefined) metadata.cause = cause;
    }
  }
  return new KeyBalancerError(message, {
    code,
    reason: reason === 'UNSPECIFIED' ? '' : reason,
    metadata,
    violations,
    retryAfterMs: error.retryDelay && durationMs(error.retryDelay),
  });
}

/** Names that a pool may have; others are not repeated. */
const POOL = /^(?:[a-z][a-z0-9-]{0,62})?$/;
const MODELLED = new Set(['NO_KEY_AVAILABLE', 'NO_MATCHING_KEY', 'POOL_EMPTY']);
const POOLED = new Set([...MODELLED, 'POOL_NOT_FOUND', 'QUEUE_FULL']);
