import { toBinary } from '@bufbuild/protobuf';
import { BalancerError } from '../../engine/errors.ts';
import {
  type AcquireKeyRequest,
  AcquireKeyRequestSchema,
  type AcquireKeyResponse,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { AcquireOrder } from '../../store/store.ts';
import * as fields from './fields.ts';
import { giveBack } from './give-back.ts';
import { leaseMessage } from './key-messages.ts';
import type { ServiceContext } from './service-context.ts';
import type { CallContext } from './service-functions.ts';
import { durationMessage } from './time-messages.ts';

/** An acquire that waits gives up so long before its caller's deadline, that its refusal still arrives: a tenth of what is left. */
function marginMs(timeoutMs: number): number {
  return Math.min(500, Math.max(20, timeoutMs / 10));
}
const MAX_EXCLUDED = 64;
const MAX_AFFINITY_KEY = 256;

/** `sessionId`: of the Session stream that the request came by, "" for a call of its own. */
export async function acquireKey(
  context: ServiceContext,
  request: AcquireKeyRequest,
  call: CallContext,
  sessionId = '',
): Promise<AcquireKeyResponse> {
  const order = acquireOrder(request, call, sessionId);
  // Only one that may wait can be given up: the signal costs as much as the pick.
  const waits = order.maxWaitMs > 0;
  const grant = await context.store.acquire(order, waits ? call.signal : undefined);
  // Whoever leaves just as the key comes gets no answer; one with a request_id can still ask for it again.
  if (waits && call.signal.aborted && order.idempotency === undefined) {
    await giveBack(context, call.caller, grant.leaseId);
    throw new BalancerError('OPERATION_CANCELLED', 'the caller gave up as the key came; it was given back unused');
  }
  return {
    $typeName: 'keybalancer.v1.AcquireKeyResponse',
    lease: leaseMessage(grant),
    waited: durationMessage(grant.waitedMs),
    replayed: grant.replayed,
  };
}

function acquireOrder(request: AcquireKeyRequest, call: CallContext, sessionId: string): AcquireOrder {
  if (request.bindToSession && sessionId === '') {
    throw fields.refused('bind_to_session', true, 'false, but for acquires on a Session stream');
  }
  return {
    caller: call.caller,
    pool: fields.poolName(request.pool),
    model: fields.model('model', request.model),
    affinityKey: fields.text('affinity_key', request.affinityKey, MAX_AFFINITY_KEY),
    leaseTtlMs: fields.leaseTtlMs('lease_ttl', request.leaseTtl),
    maxWaitMs: maxWaitMs('max_wait', request, call),
    excludeKeyIds: fields.list('exclude_key_ids', request.excludeKeyIds, 0, MAX_EXCLUDED),
    excludeProjects: fields
      .list('exclude_projects', request.excludeProjects, 0, MAX_EXCLUDED)
      .map((project, index) => fields.project(`exclude_projects[${index}]`, project)),
    estimatedTokens: fields.integer('estimated_tokens', request.estimatedTokens, 0, Number.MAX_SAFE_INTEGER),
    priority: request.priority,
    sessionId: request.bindToSession ? sessionId : '',
    requireProject: fields.project('require_project', request.requireProject),
    requireKeyId: fields.text('require_key_id', request.requireKeyId, 64),
    idempotency: fields.idempotency(call.caller, 'AcquireKey', request.requestId, () =>
      toBinary(AcquireKeyRequestSchema, { ...request, requestId: '', maxWait: undefined }),
    ),
  };
}

/** max_wait, cut to what is left of the call's deadline less a margin. */
export function maxWaitMs(field: string, request: Pick<AcquireKeyRequest, 'maxWait'>, call: CallContext): number {
  const wanted = fields.durationMs(field, request.maxWait) ?? 0;
  const { timeoutMs } = call;
  return timeoutMs === undefined ? wanted : Math.min(wanted, Math.max(0, timeoutMs - marginMs(timeoutMs)));
}
