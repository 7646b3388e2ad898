import { createTraceState, type SpanContext, TraceFlags } from '@opentelemetry/api';

/** Headers of HTTP, or metadata of gRPC, which may have several values for a name. */
export interface HeaderSource {
  get(name: string): unknown;
}

/** The first value of a header; undefined: there is none in text. */
export function headerOf(headers: HeaderSource, name: string): string | undefined {
  const found = headers.get(name);
  const first: unknown = Array.isArray(found) ? found[0] : found;
  return typeof first === 'string' ? first : undefined;
}

/** Versions after 00 may say more at the end. */
const TRACE_PARENT = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
/** What W3C has every program carry at least. */
const LONGEST_STATE = 512;

/** The caller's span, by W3C Trace Context. undefined: it has none, or says what none can be. */
export function traceParentOf(headers: HeaderSource): SpanContext | undefined {
  const match = TRACE_PARENT.exec(headerOf(headers, 'traceparent') ?? '');
  if (match === null) return undefined;
  const [, version, traceId, spanId, flags, more] = match;
  if (version === '00' && more !== undefined) return undefined;
  const state = headerOf(headers, 'tracestate');
  return {
    traceId: traceId!,
    spanId: spanId!,
    traceFlags: Number.parseInt(flags!, 16) & TraceFlags.SAMPLED,
    isRemote: true,
    ...(state !== undefined && state.length <= LONGEST_STATE && { traceState: createTraceState(state) }),
  };
}
