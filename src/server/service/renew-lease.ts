import type { RenewLeaseRequest, RenewLeaseResponse } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import * as fields from './fields.ts';
import type { ServiceContext } from './service-context.ts';
import type { CallContext } from './service-functions.ts';
import { durationMessage, timestampMessage } from './time-messages.ts';

export async function renewLease(
  { store }: ServiceContext,
  request: RenewLeaseRequest,
  call: CallContext,
): Promise<RenewLeaseResponse> {
  const leaseTtlMs = fields.leaseTtlMs('lease_ttl', request.leaseTtl);
  const renewal = await store.renew({ caller: call.caller, leaseId: request.leaseId, leaseTtlMs });
  return {
    $typeName: 'keybalancer.v1.RenewLeaseResponse',
    ttl: durationMessage(renewal.ttlMs),
    expireTime: timestampMessage(renewal.expireTime),
  };
}
