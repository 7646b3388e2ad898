import { create, toBinary } from '@bufbuild/protobuf';
import { BalancerError } from '../../engine/errors.ts';
import { classify } from '../../gemini/classify.ts';
import {
  type BatchReportResultsRequest,
  type BatchReportResultsResponse,
  Outcome,
  ProviderErrorSchema,
  type ReportResultItem,
  type ReportResultRequest,
  ReportResultRequestSchema,
  type ReportResultResponse,
  type RetryAdvice,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Report, RetryAdviceView } from '../../store/store.ts';
import * as fields from './fields.ts';
import { itemError } from './item-error.ts';
import { keyHealthMessage } from './key-messages.ts';
import type { ServiceContext } from './service-context.ts';
import type { CallContext } from './service-functions.ts';
import { durationMessage } from './time-messages.ts';

const MAX_BATCH = 1000;

export async function reportResult(
  { store }: ServiceContext,
  request: ReportResultRequest,
  call: CallContext,
): Promise<ReportResultResponse> {
  const outcome = await store.report(reportOf(request, call));
  return {
    $typeName: 'keybalancer.v1.ReportResultResponse',
    errorClass: outcome.errorClass,
    retryAdvice: outcome.retryAdvice && adviceMessage(outcome.retryAdvice),
    keyHealth: keyHealthMessage(outcome.key),
    duplicate: outcome.duplicate,
    late: outcome.late,
  };
}

/** Each report is judged by itself, in order; all share a commit. */
export async function batchReportResults(
  context: ServiceContext,
  request: BatchReportResultsRequest,
  call: CallContext,
): Promise<BatchReportResultsResponse> {
  const reports = fields.list('reports', request.reports, 1, MAX_BATCH);
  const item = async (report: ReportResultRequest): Promise<ReportResultItem['result']> => {
    try {
      return { case: 'response', value: await reportResult(context, report, call) };
    } catch (error) {
      if (!(error instanceof BalancerError)) throw error;
      return { case: 'error', value: itemError(error) };
    }
  };
  const results = await Promise.all(reports.map(item));
  return {
    $typeName: 'keybalancer.v1.BatchReportResultsResponse',
    results: results.map((result) => ({ $typeName: 'keybalancer.v1.ReportResultItem', result })),
  };
}

function reportOf(request: ReportResultRequest, call: CallContext): Report {
  const { outcome, usage } = request;
  if (outcome !== Outcome.SUCCESS && outcome !== Outcome.FAILURE && outcome !== Outcome.UNUSED) {
    throw fields.refused('outcome', outcome, 'OUTCOME_SUCCESS, OUTCOME_FAILURE or OUTCOME_UNUSED');
  }
  if (request.keepLease && request.requestId === '') {
    throw fields.refused('request_id', '', 'an id, since keep_lease is set: it tells reports on one lease apart');
  }
  const tokens = (name: 'inputTokens' | 'outputTokens' | 'cachedTokens', field: string): number =>
    usage === undefined ? 0 : fields.integer(`usage.${field}`, usage[name], 0, MAX_TOKENS);
  return {
    caller: call.caller,
    leaseId: request.leaseId,
    outcome,
    finding: outcome === Outcome.FAILURE ? classify(request.error ?? create(ProviderErrorSchema)) : undefined,
    latencyMs: fields.durationMs('latency', request.latency),
    inputTokens: tokens('inputTokens', 'input_tokens'),
    outputTokens: tokens('outputTokens', 'output_tokens'),
    cachedTokens: tokens('cachedTokens', 'cached_tokens'),
    keepLease: request.keepLease,
    // A report that ends its lease is told from its repeat by the lease.
    idempotency: request.keepLease
      ? fields.idempotency(call.caller, `ReportResult ${request.leaseId}`, request.requestId, () =>
          toBinary(ReportResultRequestSchema, { ...request, requestId: '' }),
        )
      : undefined,
    relaxed: call.relaxed === true,
  };
}

/** More tokens than any one call has; keeps sums of many calls exact. */
const MAX_TOKENS = 1e9;

function adviceMessage(advice: RetryAdviceView): RetryAdvice {
  return {
    $typeName: 'keybalancer.v1.RetryAdvice',
    retry: advice.retry,
    sameKey: advice.sameKey,
    delay: durationMessage(advice.delayMs),
    excludeKeyIds: advice.excludeKeyIds,
    excludeProjects: advice.excludeProjects,
  };
}
