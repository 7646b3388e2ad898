import type { ContextManager, MeterProvider, TextMapPropagator, TracerProvider } from '@opentelemetry/api';

/** What an application has set up by its copy of OpenTelemetry's API. */
export interface Registered {
  context?: ContextManager;
  propagation?: TextMapPropagator;
  trace?: TracerProvider;
  metrics?: MeterProvider;
}

/**
 * Where every 1.x copy of the API keeps that, for all others. A copy of our own would refuse it if the application's were older than ours, by
 * however little, and would then stay silent.
 */
const REGISTRY = Symbol.for('opentelemetry.js.api.1');

export function registered(): Registered {
  return (globalThis as { [REGISTRY]?: Registered })[REGISTRY] ?? {};
}
