import { context, propagation, ROOT_CONTEXT, type TextMapPropagator, trace } from '@opentelemetry/api';
import { expect, onTestFinished, test } from 'vitest';
import { trackActiveContext } from '../support/active-context.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { Collector } from './collector.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';

/** What an application registers that traces by W3C Trace Context, and passes other things on. */
function registerPropagator(): void {
  const propagator: TextMapPropagator = {
    inject(active, carrier, setter) {
      const span = trace.getSpanContext(active);
      if (span === undefined) return;
      setter.set(carrier, 'traceparent', `00-${span.traceId}-${span.spanId}-01`);
      setter.set(carrier, 'baggage', 'customer=secret');
    },
    extract: (active) => active,
    fields: () => ['traceparent', 'baggage'],
  };
  propagation.setGlobalPropagator(propagator);
  trackActiveContext();
  onTestFinished(() => propagation.disable());
}

test("single calls of the client are spans below the application's own, where it has a propagator", async () => {
  const collector = await Collector.start();
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_TRACES_SAMPLER: 'parentbased_always_on' };
  const server = await ServerProcess.start({ dataDir: tempDir(), env });
  const balancer = server.connect();
  const active = trace.setSpanContext(ROOT_CONTEXT, { traceId: TRACE, spanId: SPAN, traceFlags: 1 });
  const stats = () => balancer.keyBalancer.getStats({});
  await stats();
  registerPropagator();
  await stats();
  await context.with(active, stats);
  await context.with(active, async () => {
    for await (const _ of balancer.watchHealth({})) break;
  });
  await server.stop();
  expect(collector.spans.map(({ parentSpanId }) => parentSpanId)).toEqual([undefined, undefined, SPAN, SPAN]);
  expect(collector.spans[2]?.traceId).toBe(TRACE);
});
