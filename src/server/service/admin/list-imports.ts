import type { ListImportsRequest, ListImportsResponse } from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import * as fields from '../fields.ts';
import { importRecordMessage } from '../import-keys.ts';
import { pageSize, pageToken, readPageToken } from '../page-tokens.ts';
import type { ServiceContext } from '../service-context.ts';

const LIST = 'ListImports';

export async function listImports(
  { store }: ServiceContext,
  request: ListImportsRequest,
): Promise<ListImportsResponse> {
  const filters = { pool: request.pool === '' ? '' : fields.poolName(request.pool) };
  const limit = pageSize(request.pageSize);
  const after = readPageToken(LIST, filters, request.pageToken);
  const page = await store.listImports({ ...filters, after, limit });
  return {
    $typeName: 'keybalancer.v1.ListImportsResponse',
    imports: page.items.map(importRecordMessage),
    nextPageToken: pageToken(LIST, filters, page.next),
  };
}
