import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Balancer } from '../client/balancer.ts';
import type { ListKeysRequestSchema, ListKeysResponse } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/** Pages of ListKeys until the end. Not one at a time in memory, but a page. */
export async function* allKeys(
  balancer: Balancer,
  filter: MessageInitShape<typeof ListKeysRequestSchema>,
  signal: AbortSignal,
): AsyncGenerator<ListKeysResponse> {
  let pageToken = '';
  do {
    const page = await balancer.keyAdmin.listKeys({ ...filter, pageSize: 1000, pageToken }, { signal });
    yield page;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}
