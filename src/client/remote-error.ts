import { fromBinary } from '@bufbuild/protobuf';
import { anyIs, anyUnpack, durationMs } from '@bufbuild/protobuf/wkt';
import { type ServiceError, status } from '@grpc/grpc-js';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../gen/google/rpc/error_details_pb.ts';
import { type Status, StatusSchema } from '../gen/google/rpc/status_pb.ts';
import { KeyBalancerError, type StatusName } from './errors.ts';

/**
 * What a failed gRPC call says, with the google.rpc messages of its grpc-status-details-bin. `timeoutMs`: of the call. A call
 * that nobody here cancelled is UNAVAILABLE where its connection broke, whatever the transport calls that.
 */
export function remoteError(error: unknown, where: string, timeoutMs?: number): KeyBalancerError {
  if (error instanceof KeyBalancerError) return error;
  const { code, details, metadata } = error as Partial<ServiceError>;
  if (code === undefined) return new KeyBalancerError((error as Error).message, { code: 'INTERNAL', cause: error });
  const name = status[code] as StatusName;
  const rich = statusDetails(metadata?.get('grpc-status-details-bin')[0]);
  if (rich === undefined) return transportError(name, details ?? '', where, timeoutMs);
  const info = rich.details.find((each) => anyIs(each, ErrorInfoSchema));
  const retry = rich.details.find((each) => anyIs(each, RetryInfoSchema));
  const bad = rich.details.find((each) => anyIs(each, BadRequestSchema));
  const errorInfo = info && anyUnpack(info, ErrorInfoSchema);
  const retryDelay = retry && anyUnpack(retry, RetryInfoSchema)?.retryDelay;
  const violations = (bad && anyUnpack(bad, BadRequestSchema)?.fieldViolations) ?? [];
  return new KeyBalancerError(rich.message, {
    code: name,
    reason: errorInfo?.reason ?? '',
    metadata: errorInfo?.metadata ?? {},
    retryAfterMs: retryDelay && durationMs(retryDelay),
    violations: violations.map(({ field, description }) => ({ field, description })),
  });
}

/** A call that got no answer in its time. undefined: what its limit was is not known. */
export function deadlineError(where: string, timeoutMs: number | undefined): KeyBalancerError {
  const limit = timeoutMs === undefined ? 'its time limit' : `${timeoutMs / 1000} s`;
  return new KeyBalancerError(`no answer from ${where} within ${limit}`, { code: 'DEADLINE_EXCEEDED' });
}

/** A call whose connection went away under it. */
export function lostError(where: string): KeyBalancerError {
  return new KeyBalancerError(`the connection to ${where} was lost`, { code: 'UNAVAILABLE' });
}

/** Whether a call failed before anything of it was sent, so that it may go elsewhere. */
export function isUnsent(error: Pick<Partial<ServiceError>, 'code' | 'details'>): boolean {
  return error.code === status.UNAVAILABLE && UNSENT.test(error.details ?? '');
}

const UNSENT = /^(?:No connection established|Name resolution failed|Failed to connect)/;

/** What some of the transport's words mean. Whoever answers, but not in HTTP/2, may well be the server's other door. */
const WORDS_OF: readonly [RegExp, string][] = [
  [/name resolution/i, 'unknown host'],
  [/protocol error/i, 'it speaks no gRPC; is it the HTTP port?'],
];

/** Of TLS in this process, about the certificate that the server showed. */
const UNTRUSTED = /\bcertificate\b|\baltnames\b/i;

/** What the transport says, not KeyBalancer: its words are for those who know its insides, but for the system's code. */
function transportError(
  name: StatusName,
  details: string,
  where: string,
  timeoutMs: number | undefined,
): KeyBalancerError {
  if (name === 'DEADLINE_EXCEEDED') return deadlineError(where, timeoutMs);
  if (name === 'UNAVAILABLE') {
    const why = UNTRUSTED.test(details)
      ? `its certificate is not trusted: ${details.replace(/^.*Last error: /, '')}`
      : (/\bE[A-Z_]{3,}\b/.exec(details)?.[0] ?? WORDS_OF.find(([words]) => words.test(details))?.[1]);
    const message = `no KeyBalancer answers at ${where}${why === undefined ? '' : ` (${why})`}`;
    return new KeyBalancerError(message, { code: name });
  }
  if (name === 'CANCELLED' || /RST_STREAM|connection (?:dropped|lost|closed)/i.test(details)) {
    return lostError(where);
  }
  return new KeyBalancerError(`${details} (${where})`, { code: name });
}

function statusDetails(value: string | Buffer | undefined): Status | undefined {
  if (!Buffer.isBuffer(value)) return undefined;
  try {
    return fromBinary(StatusSchema, value);
  } catch {
    return undefined;
  }
}
