import { randomUUID } from 'node:crypto';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import {
  defaultResource,
  detectResources,
  type Resource,
  resourceAttributesEnvDetector,
  resourceFromAttributes,
  serviceNameEnvDetector,
} from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { MeterProvider, type MetricProducer, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { OtlpConfig } from '../config/otlp.ts';
import type { Logger } from '../logger.ts';
import { VERSION } from '../version.ts';
import { logRecordOf } from './log-records.ts';
import { samplerOf } from './samplers.ts';
import { Sending } from './sending.ts';
import type { Telemetry } from './telemetry.ts';

/** What is left at the end gets so long. */
const FLUSH_MS = 1_000;

/**
 * Sends by OTLP what the configuration says. Queues are bounded and kept by the SDK: 2,048 spans and as many log lines, what comes
 * beyond is dropped. `logger`: asked when something is to be told of it, since the log copies its lines to here.
 */
export function startOtlp(config: OtlpConfig, logger: () => Logger): Telemetry {
  const resource = ownResource();
  const { traces, metrics, logs } = config.urls;
  const tracing = traces === undefined ? undefined : traceTo(traces, config, resource, logger);
  const logging = logs === undefined ? undefined : logTo(logs, resource, logger);
  return {
    logLines: logging?.lines,
    tracing: tracing?.tracing,
    sendMetrics(figures) {
      if (metrics === undefined) return async () => {};
      return measureTo(metrics, config, resource, figures, logger);
    },
    close: () => atMost(FLUSH_MS, Promise.allSettled([tracing?.close(), logging?.close()])),
  };
}

function traceTo(url: string, config: OtlpConfig, resource: Resource, logger: () => Logger) {
  const exporter = new Sending('traces', url, logger).watch(new OTLPTraceExporter({ url }));
  const { sampler, ...known } = samplerOf(config);
  const provider = new TracerProvider({ resource, sampler, spanProcessors: [new BatchSpanProcessor({ exporter })] });
  const tracer = provider.getTracer('keybalancer', VERSION);
  return { tracing: { tracer, ...known }, close: () => provider.shutdown() };
}

function logTo(url: string, resource: Resource, logger: () => Logger) {
  const exporter = new Sending('logs', url, logger).watch(new OTLPLogExporter({ url }));
  const provider = new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor({ exporter })] });
  const target = provider.getLogger('keybalancer', VERSION);
  return { lines: { write: (line: string) => target.emit(logRecordOf(line)) }, close: () => provider.shutdown() };
}

function measureTo(
  url: string,
  { metricIntervalMs }: OtlpConfig,
  resource: Resource,
  figures: MetricProducer,
  logger: () => Logger,
): () => Promise<void> {
  const exporter = new Sending('metrics', url, logger).watch(new OTLPMetricExporter({ url }));
  const reader = new PeriodicExportingMetricReader({
    exporter,
    exportIntervalMillis: metricIntervalMs,
    metricProducers: [figures],
  });
  const provider = new MeterProvider({ resource, readers: [reader] });
  return () => atMost(FLUSH_MS, provider.shutdown());
}

/** What sends: OTEL_RESOURCE_ATTRIBUTES says more, OTEL_SERVICE_NAME another name. */
function ownResource(): Resource {
  const own = resourceFromAttributes({
    'service.name': 'keybalancer',
    'service.version': VERSION,
    'service.instance.id': randomUUID(),
  });
  const given = detectResources({ detectors: [resourceAttributesEnvDetector, serviceNameEnvDetector] });
  return defaultResource().merge(own).merge(given);
}

/** However the work ends: what cannot be sent is dropped. */
async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work.catch(() => {}), over]);
  clearTimeout(timer);
}
