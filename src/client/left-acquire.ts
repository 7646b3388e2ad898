import { setTimeout as sleep } from 'node:timers/promises';
import { create, type Message } from '@bufbuild/protobuf';
import {
  type AcquireKeyRequest,
  type AcquireKeyResponse,
  KeyBalancerService,
  Outcome,
  ReportResultRequestSchema,
} from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CallOptions, InvokeUnary } from './balancer.ts';
import { cancelledError } from './errors.ts';
import { deadlineError } from './remote-error.ts';

/** A server that thaws so long after its caller left still gets its lease back. */
const LINGER_MS = 30_000;

export interface OutlivingOptions {
  /** Milliseconds that a call has. */
  timeoutOf: (request: Message, call: CallOptions) => number;
  /** Where the balancer is, for people. */
  where: () => string;
}

const { acquireKey, reportResult } = KeyBalancerService.method;

/**
 * Calls of their own, of which an acquire that is not repeated outlives its caller: a server that leases by request id keeps the lease for
 * the repeat, also of a call that was cancelled. So the call goes on behind the caller's back, and its lease is given back.
 */
export function outlivingAcquires(invoke: InvokeUnary, { timeoutOf, where }: OutlivingOptions): InvokeUnary {
  return async (method, request, call) => {
    const isLeft = method === acquireKey && call.mayRepeat === false && (request as AcquireKeyRequest).requestId !== '';
    if (!isLeft) return invoke(method, request, call);
    const timeoutMs = timeoutOf(request, call);
    const coming = invoke(method, request, { timeoutMs: timeoutMs + LINGER_MS });
    const over = new AbortController();
    const ends = call.signal === undefined ? over.signal : AbortSignal.any([over.signal, call.signal]);
    const patience = sleep(timeoutMs, 'late' as const, { signal: ends }).catch(() => 'left' as const);
    const first = await Promise.race([coming, patience]);
    over.abort();
    if (typeof first === 'object') return first;
    // What a lease costs that is not given back, its time ends.
    coming.then(giveBack).catch(() => {});
    throw first === 'late' ? deadlineError(where(), timeoutMs) : cancelledError(call.signal!);
  };

  async function giveBack(answer: Message): Promise<void> {
    const leaseId = (answer as AcquireKeyResponse).lease?.leaseId ?? '';
    await invoke(reportResult, create(ReportResultRequestSchema, { leaseId, outcome: Outcome.UNUSED }), {});
  }
}
