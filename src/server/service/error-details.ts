import { create, type DescMessage, type Message } from '@bufbuild/protobuf';
import { type Any, anyPack } from '@bufbuild/protobuf/wkt';
import type { BalancerError } from '../../engine/errors.ts';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { durationMessage } from './time-messages.ts';

/** google.rpc.ErrorInfo.domain of every refusal. */
export const ERROR_DOMAIN = 'keybalancer.v1';

export interface DetailMessage {
  desc: DescMessage;
  value: Message;
}

/**
 * The google.rpc messages that a refusal carries through every door: ErrorInfo always, RetryInfo when a repeat can
 * succeed later, BadRequest when fields are to blame.
 */
export function detailMessages(error: BalancerError): DetailMessage[] {
  const { reason, metadata, retryDelayMs, violations } = error;
  const details: DetailMessage[] = [
    { desc: ErrorInfoSchema, value: create(ErrorInfoSchema, { domain: ERROR_DOMAIN, reason, metadata }) },
  ];
  if (retryDelayMs !== undefined) {
    details.push({
      desc: RetryInfoSchema,
      value: create(RetryInfoSchema, { retryDelay: durationMessage(retryDelayMs) }),
    });
  }
  if (violations.length > 0) {
    details.push({ desc: BadRequestSchema, value: create(BadRequestSchema, { fieldViolations: violations }) });
  }
  return details;
}

/** The same, packed as google.rpc.Status carries them. */
export function errorDetails(error: BalancerError): Any[] {
  return detailMessages(error).map(({ desc, value }) => anyPack(desc, value));
}
