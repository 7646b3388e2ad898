import type { LimitName } from '../../../gemini/finding.ts';
import {
  type DeleteQuotaRequest,
  type DeleteQuotaResponse,
  type Limit,
  LimitOrigin,
  type ListQuotasRequest,
  type ListQuotasResponse,
  type Quota,
  type SetQuotaRequest,
  type SetQuotaResponse,
} from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { LimitView, QuotaOrder, QuotaView } from '../../../store/store.ts';
import * as fields from '../fields.ts';
import { pageSize, pageToken, readPageToken } from '../page-tokens.ts';
import type { ServiceContext } from '../service-context.ts';
import { optionalTimestamp } from '../time-messages.ts';

const LIST = 'ListQuotas';
/** Beyond any limit of Google's, and sums of many stay exact. */
const MAX_LIMIT = 1e12;

/** Each limit by its name in the API's messages and, as errors name it, in the proto. */
const LIMITS: Record<LimitName, string> = {
  requestsPerMinute: 'requests_per_minute',
  inputTokensPerMinute: 'input_tokens_per_minute',
  requestsPerDay: 'requests_per_day',
  tokensPerDay: 'tokens_per_day',
};
const LIMIT_NAMES = Object.keys(LIMITS) as LimitName[];

const ORIGINS: Record<LimitView['origin'], LimitOrigin> = { set: LimitOrigin.SET, learned: LimitOrigin.LEARNED };

export async function listQuotas({ store }: ServiceContext, request: ListQuotasRequest): Promise<ListQuotasResponse> {
  const filters = { project: fields.projectFilter('project', request.project) };
  const limit = pageSize(request.pageSize);
  const after = readPageToken(LIST, filters, request.pageToken);
  const page = await store.listQuotas({ ...filters, after, limit });
  return {
    $typeName: 'keybalancer.v1.ListQuotasResponse',
    quotas: page.items.map(quotaMessage),
    nextPageToken: pageToken(LIST, filters, page.next),
  };
}

/** A project that no key names yet is taken: its limits wait for its keys. */
export async function setQuota({ store }: ServiceContext, request: SetQuotaRequest): Promise<SetQuotaResponse> {
  const { quota } = request;
  if (quota === undefined) throw fields.refused('quota', 'absent', 'a project and at least one of its limits');
  const order: QuotaOrder = {
    project: fields.project('quota.project', named('quota.project', quota.project)),
    model: quotaModel('quota.model', quota.model),
    limits: {},
  };
  for (const name of LIMIT_NAMES) {
    const limit = quota[name];
    if (limit === undefined) continue;
    order.limits[name] = fields.integer(`quota.${LIMITS[name]}.value`, limit.value, 0, MAX_LIMIT);
  }
  if (Object.keys(order.limits).length === 0) {
    throw fields.refused('quota', 'without a limit', `at least one of ${Object.values(LIMITS).join(', ')}`);
  }
  return { $typeName: 'keybalancer.v1.SetQuotaResponse', quota: quotaMessage(await store.setQuota(order)) };
}

export async function deleteQuota(
  { store }: ServiceContext,
  request: DeleteQuotaRequest,
): Promise<DeleteQuotaResponse> {
  await store.deleteQuota({
    project: fields.projectFilter('project', named('project', request.project)),
    model: quotaModel('model', request.model),
  });
  return { $typeName: 'keybalancer.v1.DeleteQuotaResponse' };
}

function named(field: string, project: string): string {
  if (project === '') throw fields.refused(field, project, `a project, at most ${fields.MAX_PROJECT} characters`);
  return project;
}

function quotaModel(field: string, value: string): string {
  if (value.includes('*')) {
    throw fields.refused(field, value, 'the name of a model; leave it empty for every model without limits of its own');
  }
  return fields.model(field, value);
}

function quotaMessage({ project, model, limits }: QuotaView): Quota {
  const quota: Quota = { $typeName: 'keybalancer.v1.Quota', project, model };
  for (const name of LIMIT_NAMES) {
    const limit = limits[name];
    if (limit !== undefined) quota[name] = limitMessage(limit);
  }
  return quota;
}

function limitMessage({ value, origin, used, resetTime }: LimitView): Limit {
  return {
    $typeName: 'keybalancer.v1.Limit',
    value: BigInt(value),
    origin: ORIGINS[origin],
    used: BigInt(used),
    resetTime: optionalTimestamp(resetTime),
  };
}
