import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Balancer } from '../client/balancer.ts';
import type { ListKeysRequestSchema, ListKeysResponse } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { pages } from './pages.ts';

/** Pages of ListKeys. */
export function allKeys(
  balancer: Balancer,
  filter: MessageInitShape<typeof ListKeysRequestSchema>,
  signal: AbortSignal,
): AsyncGenerator<ListKeysResponse> {
  return pages((pageToken) => balancer.keyAdmin.listKeys({ ...filter, pageSize: 1000, pageToken }, { signal }));
}
