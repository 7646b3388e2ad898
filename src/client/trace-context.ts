import type { Metadata } from '@grpc/grpc-js';
import { registered } from './opentelemetry.ts';

/** What W3C Trace Context has; other things that a propagator may say are not the server's to know. */
const HEADERS = ['traceparent', 'tracestate'];

/** What a call says of its caller, with the span that is active there. The same object where the application traces nothing. */
export function withTraceContext(metadata: Metadata): Metadata {
  const { context, propagation } = registered();
  if (context === undefined || propagation === undefined) return metadata;
  let traced = metadata;
  const set = (_: unknown, name: string, value: string): void => {
    if (!HEADERS.includes(name)) return;
    if (traced === metadata) traced = metadata.clone();
    traced.set(name, value);
  };
  propagation.inject(context.active(), {}, { set });
  return traced;
}
