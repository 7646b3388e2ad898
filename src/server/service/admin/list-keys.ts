import { KeyState, type ListKeysRequest, type ListKeysResponse } from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import { enumValue } from '../enum-field.ts';
import * as fields from '../fields.ts';
import { keyMessage } from '../key-messages.ts';
import { inOrder } from '../label-order.ts';
import { pageSize, pageToken, readPageToken } from '../page-tokens.ts';
import type { ServiceContext } from '../service-context.ts';

const LIST = 'ListKeys';
const MAX_STATES = 16;

export async function listKeys({ store }: ServiceContext, request: ListKeysRequest): Promise<ListKeysResponse> {
  const filters = {
    pool: request.pool === '' ? '' : fields.poolName(request.pool),
    states: fields.list('states', request.states, 0, MAX_STATES).map(state),
    project: fields.projectFilter('project', request.project),
    source: fields.text('source', request.source, fields.MAX_SOURCE),
    labels: inOrder(fields.labelsFilter('labels', request.labels)),
  };
  const limit = pageSize(request.pageSize);
  const after = readPageToken(LIST, filters, request.pageToken);
  const page = await store.listKeys({ ...filters, after, limit });
  return {
    $typeName: 'keybalancer.v1.ListKeysResponse',
    keys: page.items.map(keyMessage),
    nextPageToken: pageToken(LIST, filters, page.next),
    totalSize: BigInt(page.totalSize),
  };
}

function state(value: KeyState, index: number): KeyState {
  const { UNSPECIFIED: _, ...states } = KeyState;
  return enumValue(`states[${index}]`, value, states, 'KEY_STATE_');
}
