import { fromBinary } from '@bufbuild/protobuf';
import { anyIs, anyUnpack, durationMs } from '@bufbuild/protobuf/wkt';
import { type ServiceError, status } from '@grpc/grpc-js';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../gen/google/rpc/error_details_pb.ts';
import { type Status, StatusSchema } from '../gen/google/rpc/status_pb.ts';
import { KeyBalancerError, type StatusName } from './errors.ts';

/** What a failed gRPC call says, with the google.rpc messages of its grpc-status-details-bin. */
export function remoteError(error: unknown, where: string): KeyBalancerError {
  if (error instanceof KeyBalancerError) return error;
  const { code, details, metadata } = error as Partial<ServiceError>;
  if (code === undefined) return new KeyBalancerError((error as Error).message, { code: 'INTERNAL', cause: error });
  const name = status[code] as StatusName;
  const rich = statusDetails(metadata?.get('grpc-status-details-bin')[0]);
  if (rich === undefined) {
    // Said by the transport, not by KeyBalancer.
    const message = name === 'UNAVAILABLE' ? `no KeyBalancer answers at ${where}: ${details}` : `${details} (${where})`;
    return new KeyBalancerError(message, { code: name });
  }
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

function statusDetails(value: string | Buffer | undefined): Status | undefined {
  if (!Buffer.isBuffer(value)) return undefined;
  try {
    return fromBinary(StatusSchema, value);
  } catch {
    return undefined;
  }
}
