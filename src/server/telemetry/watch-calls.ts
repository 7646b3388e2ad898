import { randomBytes } from 'node:crypto';
import type { DescMethod } from '@bufbuild/protobuf';
import { ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, TraceFlags, type Tracer, trace } from '@opentelemetry/api';
import { BalancerError } from '../../engine/errors.ts';
import { redact } from '../../gemini/redact.ts';
import type { Logger } from '../logger.ts';
import { type HeaderSource, headerOf, traceParentOf } from './trace-parent.ts';

/** Names of OpenTelemetry for what carries a call. */
export type RpcSystem = 'grpc' | 'connectrpc';

/** A call as it begins. */
export interface CallStart {
  method: DescMethod;
  system: RpcSystem;
  headers: HeaderSource;
  caller: string;
}

/** What log lines of a call say of it. */
export interface CallFields {
  caller: string;
  /** The caller's x-request-id, else one made here. */
  requestId: string;
  trace_id?: string;
  span_id?: string;
}

/** A call that is traced, or whose end is logged. */
export interface WatchedCall {
  readonly fields: CallFields;
  /** `error`: why it was refused or failed. */
  ended(error?: unknown): void;
}

/** undefined: nobody wants to know of this call. */
export type WatchCalls = (start: CallStart) => WatchedCall | undefined;

export interface CallTracing {
  tracer: Tracer;
  /** Whether calls may be traced whose callers do not trace. */
  roots: boolean;
  /** Whether calls are left out whose callers traced them but chose not to record it. */
  parentDecides: boolean;
}

/** Faults of the server, of which a span is an error; a refusal is the caller's to deal with. */
const FAULTS = ['INTERNAL', 'UNAVAILABLE'];
const LONGEST_REQUEST_ID = 64;

/** Traces calls, and has the log at level debug tell of each. Costs next to nothing where neither is wanted. */
export function createWatchCalls(logger: Logger, tracing: CallTracing | undefined): WatchCalls {
  return (start) => {
    const span = tracing && spanOf(tracing, start);
    const isLogged = logger.isLevelEnabled('debug');
    if (span === undefined && !isLogged) return undefined;
    const { method, system } = start;
    const began = performance.now();
    const fields = { ...callFields(start), ...(span && idsOf(span)) };
    return {
      fields,
      ended(error) {
        const { code, reason } = outcomeOf(error);
        if (span !== undefined) {
          span.setAttribute('rpc.response.status_code', system === 'grpc' ? code : code.toLowerCase());
          if (error !== undefined) span.setAttribute('error.type', reason ?? code);
          if (FAULTS.includes(code)) span.setStatus({ code: SpanStatusCode.ERROR });
          span.end();
        }
        if (isLogged) {
          const ms = Math.round((performance.now() - began) * 1000) / 1000;
          logger.debug({ method: method.name, system, code, reason, ms, ...fields }, 'call');
        }
      },
    };
  };
}

/** Who called, and under which id. The id is the caller's word: what looks like a key in it is masked. */
export function callFields({ headers, caller }: Pick<CallStart, 'headers' | 'caller'>): CallFields {
  const named = headerOf(headers, 'x-request-id');
  const requestId = named === undefined || named === '' ? randomBytes(8).toString('hex') : redact(named);
  return { caller, requestId: requestId.slice(0, LONGEST_REQUEST_ID) };
}

/** By the semantic conventions for RPC. undefined: it is not recorded. To learn that from the sampler costs as much as a span. */
function spanOf(
  { tracer, roots, parentDecides }: CallTracing,
  { method, system, headers, caller }: CallStart,
): Span | undefined {
  const parent = traceParentOf(headers);
  if (parent === undefined ? !roots : parentDecides && parent.traceFlags === TraceFlags.NONE) return undefined;
  const name = `${method.parent.typeName}/${method.name}`;
  const attributes = { 'rpc.system.name': system, 'rpc.method': name, 'keybalancer.caller': caller };
  const context = parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent);
  const span = tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, context);
  return span.isRecording() ? span : undefined;
}

function idsOf(span: Span): Pick<CallFields, 'trace_id' | 'span_id'> {
  const { traceId, spanId } = span.spanContext();
  return { trace_id: traceId, span_id: spanId };
}

function outcomeOf(error: unknown): { code: string; reason?: string } {
  if (error === undefined) return { code: 'OK' };
  return error instanceof BalancerError ? { code: error.code, reason: error.reason } : { code: 'INTERNAL' };
}
