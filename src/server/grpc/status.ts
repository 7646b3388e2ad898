import { create, toBinary } from '@bufbuild/protobuf';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { BalancerError } from '../../engine/errors.ts';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';
import { errorDetails } from '../service/error-details.ts';
import { codeOf } from '../service/item-error.ts';

/** What went wrong inside is for the log; the caller learns only that it did. */
const INTERNAL = 'internal error; the server log says more';

/** A refusal as gRPC says it: code, message, and google.rpc.Status with its details in grpc-status-details-bin. */
export function serviceError(error: unknown): Pick<ServiceError, 'code' | 'details' | 'metadata'> {
  const metadata = new Metadata();
  if (!(error instanceof BalancerError)) return { code: status.INTERNAL, details: INTERNAL, metadata };
  const code = codeOf(error.code);
  const rich = create(StatusSchema, { code, message: error.message, details: errorDetails(error) });
  metadata.set('grpc-status-details-bin', Buffer.from(toBinary(StatusSchema, rich)));
  return { code: code as number as status, details: error.message, metadata };
}
