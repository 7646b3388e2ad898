import type { GetStatsRequest, GetStatsResponse, KeyHealth } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import * as fields from './fields.ts';
import { keyHealthMessage } from './key-messages.ts';
import type { ServiceContext } from './service-context.ts';
import type { CallContext } from './service-functions.ts';
import { cacheStatsMessage, callerStatsMessage, memoryStatsMessage, poolStatsMessage } from './stats-messages.ts';
import { timestampMessage } from './time-messages.ts';

const MAX_POOLS = 1000;
const MAX_KEYS = 1000;

export async function getStats(
  context: ServiceContext,
  request: GetStatsRequest,
  _call: CallContext,
): Promise<GetStatsResponse> {
  const pools = [...new Set(fields.list('pools', request.pools, 0, MAX_POOLS).map(fields.poolName))];
  const stats = await context.store.stats({ pools, includeModels: request.includeModels });
  return {
    $typeName: 'keybalancer.v1.GetStatsResponse',
    total: poolStatsMessage(stats.total),
    pools: stats.pools.map(poolStatsMessage),
    keys: request.includeKeys ? await keysOf(context, pools) : [],
    server: {
      $typeName: 'keybalancer.v1.ServerStats',
      version: context.version,
      startTime: timestampMessage(context.startTime),
      databaseBytes: BigInt(stats.databaseBytes),
      cache: cacheStatsMessage(stats.cache),
      memory: memoryStatsMessage(process.memoryUsage.rss(), stats.keysBytes, stats.total.totalKeys),
      watchers: BigInt(context.open.watchers),
      sessions: BigInt(context.open.sessions),
    },
    callers: stats.callers.map(callerStatsMessage),
  };
}

/** The first keys of the pools, of all where none is named. */
async function keysOf({ store }: ServiceContext, pools: readonly string[]): Promise<KeyHealth[]> {
  const keys: KeyHealth[] = [];
  for (const pool of pools.length === 0 ? [''] : pools) {
    const limit = MAX_KEYS - keys.length;
    if (limit === 0) break;
    const filters = { states: [], project: '', source: '', labels: {} };
    const { items } = await store.listKeys({ ...filters, pool, after: '', limit });
    for (const key of items) keys.push(keyHealthMessage(key));
  }
  return keys;
}
