import { create, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import { type Any, anyPack } from '@bufbuild/protobuf/wkt';
import type { BalancerError } from '../../engine/errors.ts';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { durationMessage } from './time-messages.ts';

/** google.rpc.ErrorInfo.domain of every refusal. */
export const ERROR_DOMAIN = 'keybalancer.v1';

/**
 * The google.rpc messages that a refusal carries, in every door's status: ErrorInfo always, RetryInfo when a repeat can
 * succeed later, BadRequest when fields are to blame.
 */
export function errorDetails(error: BalancerError): Any[] {
  const details = [packed(ErrorInfoSchema, { domain: ERROR_DOMAIN, reason: error.reason, metadata: error.metadata })];
  if (error.retryDelayMs !== undefined) {
    details.push(packed(RetryInfoSchema, { retryDelay: durationMessage(error.retryDelayMs) }));
  }
  if (error.violations.length > 0) {
    details.push(packed(BadRequestSchema, { fieldViolations: error.violations }));
  }
  return details;
}

function packed<S extends DescMessage>(schema: S, init: MessageInitShape<S>): Any {
  return anyPack(schema, create(schema, init));
}
