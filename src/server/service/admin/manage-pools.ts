import { toBinary } from '@bufbuild/protobuf';
import {
  type CreatePoolRequest,
  CreatePoolRequestSchema,
  type CreatePoolResponse,
  type DeletePoolRequest,
  type DeletePoolResponse,
  type ListPoolsRequest,
  type ListPoolsResponse,
  type Pool,
  type UpdatePoolRequest,
  type UpdatePoolResponse,
} from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { PoolView } from '../../../store/store.ts';
import * as fields from '../fields.ts';
import { pageSize, pageToken, readPageToken } from '../page-tokens.ts';
import type { ServiceContext } from '../service-context.ts';
import type { CallContext } from '../service-functions.ts';
import { poolStatsMessage } from '../stats-messages.ts';
import { durationMessage } from '../time-messages.ts';
import { poolChange, poolSettings } from './pool-settings.ts';

const LIST = 'ListPools';
const MAX_ETAG = 64;

export async function listPools({ store }: ServiceContext, request: ListPoolsRequest): Promise<ListPoolsResponse> {
  const limit = pageSize(request.pageSize);
  const after = readPageToken(LIST, {}, request.pageToken);
  const page = await store.listPools({ after, limit });
  return {
    $typeName: 'keybalancer.v1.ListPoolsResponse',
    pools: page.items.map(poolMessage),
    nextPageToken: pageToken(LIST, {}, page.next),
  };
}

export async function createPool(
  { store }: ServiceContext,
  request: CreatePoolRequest,
  call: CallContext,
): Promise<CreatePoolResponse> {
  const pool = await store.createPool({
    pool: poolSettings(given(request.pool)),
    idempotency: fields.idempotency(call.caller, 'CreatePool', request.requestId, () =>
      toBinary(CreatePoolRequestSchema, { ...request, requestId: '' }),
    ),
  });
  return { $typeName: 'keybalancer.v1.CreatePoolResponse', pool: poolMessage(pool) };
}

export async function updatePool({ store }: ServiceContext, request: UpdatePoolRequest): Promise<UpdatePoolResponse> {
  const message = given(request.pool);
  const pool = await store.updatePool({
    pool: fields.poolName(message.pool),
    etag: fields.text('pool.etag', message.etag, MAX_ETAG),
    change: poolChange(message, request.updateMask),
  });
  return { $typeName: 'keybalancer.v1.UpdatePoolResponse', pool: poolMessage(pool) };
}

export async function deletePool({ store }: ServiceContext, request: DeletePoolRequest): Promise<DeletePoolResponse> {
  await store.deletePool({ pool: fields.poolName(request.pool), etag: fields.text('etag', request.etag, MAX_ETAG) });
  return { $typeName: 'keybalancer.v1.DeletePoolResponse' };
}

function given(pool: Pool | undefined): Pool {
  if (pool !== undefined) return pool;
  throw fields.refused('pool', 'absent', 'the settings of the pool, with its name');
}

function poolMessage(view: PoolView): Pool {
  return {
    $typeName: 'keybalancer.v1.Pool',
    pool: view.pool,
    defaultLeaseTtl: durationMessage(view.defaultLeaseTtlMs),
    maxLeaseTtl: durationMessage(view.maxLeaseTtlMs),
    maxConcurrentLeases: view.maxConcurrentLeases,
    maxWaiting: view.maxWaiting,
    description: view.description,
    stats: poolStatsMessage(view.stats),
    etag: view.etag,
    autoSuccess: view.autoSuccess,
    selection: view.selection,
    maxTotalLeases: view.maxTotalLeases,
  };
}
