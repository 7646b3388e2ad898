import type {
  LeaseInfo,
  ListLeasesRequest,
  ListLeasesResponse,
  RevokeLeaseRequest,
  RevokeLeaseResponse,
} from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { LeaseView } from '../../../store/store.ts';
import * as fields from '../fields.ts';
import { pageSize, pageToken, readPageToken } from '../page-tokens.ts';
import type { ServiceContext } from '../service-context.ts';
import { timestampMessage } from '../time-messages.ts';
import { keyId } from './manage-keys.ts';

const LIST = 'ListLeases';
const MAX_LEASE_REF = 64;

export async function listLeases({ store }: ServiceContext, request: ListLeasesRequest): Promise<ListLeasesResponse> {
  const filters = {
    pool: request.pool === '' ? '' : fields.poolName(request.pool),
    keyId: request.keyId === '' ? '' : keyId('key_id', request.keyId),
  };
  const limit = pageSize(request.pageSize);
  const after = readPageToken(LIST, filters, request.pageToken);
  const page = await store.listLeases({ ...filters, after, limit });
  return {
    $typeName: 'keybalancer.v1.ListLeasesResponse',
    leases: page.items.map(leaseInfo),
    nextPageToken: pageToken(LIST, filters, page.next),
  };
}

export async function revokeLease(
  { store }: ServiceContext,
  request: RevokeLeaseRequest,
): Promise<RevokeLeaseResponse> {
  const leaseRef = fields.text('lease_ref', request.leaseRef, MAX_LEASE_REF);
  if (leaseRef === '') throw fields.refused('lease_ref', 'empty', 'a lease_ref that ListLeases gave');
  await store.revokeLease(leaseRef);
  return { $typeName: 'keybalancer.v1.RevokeLeaseResponse' };
}

function leaseInfo({ leaseRef, keyId, pool, model, holder, ...times }: LeaseView): LeaseInfo {
  const acquireTime = timestampMessage(times.acquireTime);
  const expireTime = timestampMessage(times.expireTime);
  return { $typeName: 'keybalancer.v1.LeaseInfo', leaseRef, keyId, pool, model, holder, acquireTime, expireTime };
}
