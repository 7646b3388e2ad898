import type { Attributes, MeterProvider, SpanKind, SpanStatusCode, TracerProvider } from '@opentelemetry/api';
import type { ClientEvent, ReportEvent } from './events.ts';
import { registered } from './opentelemetry.ts';

const CLIENT: SpanKind.CLIENT = 2;
const ERROR: SpanStatusCode.ERROR = 2;

/**
 * Spans and metrics of calls, by the API of OpenTelemetry alone: where the application has set nothing up, nothing happens. Attributes
 * by the semantic conventions for generative AI. Keys go by their ids, which only spans carry: metrics would grow with them.
 */
export function createTelemetry(): (event: ClientEvent) => void {
  let provider: MeterProvider | undefined;
  let instruments: Instruments | undefined;
  /** Instruments stay with the provider that made them, and applications set theirs up when they please. */
  const current = (metrics: MeterProvider | undefined): Instruments | undefined => {
    if (provider !== metrics) instruments = metrics && instrumentsOf(metrics);
    provider = metrics;
    return instruments;
  };

  return (event) => {
    const { trace, metrics } = registered();
    if (trace === undefined && metrics === undefined) return;
    const attributes = attributesOf(event);
    const { duration, tokens, waits, retries, exhausted } = current(metrics) ?? {};
    switch (event.type) {
      case 'lease':
        waits?.record(event.waitedMs / 1000, attributes);
        break;
      case 'retry':
        retries?.add(1, { ...attributes, 'error.type': event.errorClass });
        break;
      case 'exhausted':
        exhausted?.add(1, { ...attributes, 'error.type': event.reason });
        break;
      case 'report': {
        const error = event.outcome === 'failure' ? { 'error.type': event.errorClass || 'UNKNOWN' } : {};
        if (event.outcome === 'unused') break;
        duration?.record(event.latencyMs / 1000, { ...attributes, ...error });
        if (event.inputTokens > 0) tokens?.record(event.inputTokens, { ...attributes, 'gen_ai.token.type': 'input' });
        if (event.outputTokens > 0)
          tokens?.record(event.outputTokens, { ...attributes, 'gen_ai.token.type': 'output' });
        if (trace !== undefined) record(trace, event, { ...attributes, ...error });
      }
    }
  };
}

/** A span of what is over, below the one that is active: its beginning is told from its end. */
function record(provider: TracerProvider, event: ReportEvent, attributes: Attributes): void {
  const end = Date.now();
  const tracer = provider.getTracer('keybalancer');
  const options = {
    kind: CLIENT,
    startTime: end - event.latencyMs,
    attributes: {
      ...attributes,
      'keybalancer.key_id': event.keyId,
      ...(event.httpStatus > 0 && { 'http.response.status_code': event.httpStatus }),
      ...(event.inputTokens > 0 && { 'gen_ai.usage.input_tokens': event.inputTokens }),
      ...(event.outputTokens > 0 && { 'gen_ai.usage.output_tokens': event.outputTokens }),
    },
  };
  const span = tracer.startSpan(
    `${operationOf(event)} ${event.model}`.trimEnd(),
    options,
    registered().context?.active(),
  );
  if (event.outcome === 'failure') span.setStatus({ code: ERROR });
  span.end(end);
}

type Instruments = ReturnType<typeof instrumentsOf>;

function instrumentsOf(provider: MeterProvider) {
  const meter = provider.getMeter('keybalancer');
  return {
    duration: meter.createHistogram('gen_ai.client.operation.duration', {
      unit: 's',
      description: 'Time that Gemini took for a request, each try for itself.',
      advice: { explicitBucketBoundaries: SECONDS },
    }),
    tokens: meter.createHistogram('gen_ai.client.token.usage', {
      unit: '{token}',
      description: 'Tokens of a request, by gen_ai.token.type.',
      advice: { explicitBucketBoundaries: TOKENS },
    }),
    waits: meter.createHistogram('keybalancer.client.lease.wait', {
      unit: 's',
      description: 'Time until a key was had.',
      advice: { explicitBucketBoundaries: [0.0001, 0.001, ...SECONDS] },
    }),
    retries: meter.createCounter('keybalancer.client.retries', { description: 'Tries after the first.' }),
    exhausted: meter.createCounter('keybalancer.client.exhausted', {
      description: 'Requests that ended since no key could be had.',
    }),
  };
}

function attributesOf(event: ClientEvent): Attributes {
  const { model } = event;
  return {
    'gen_ai.operation.name': operationOf(event),
    'gen_ai.provider.name': 'gcp.gemini',
    ...(model !== '' && { 'gen_ai.request.model': model }),
  };
}

function operationOf({ method }: ClientEvent): string {
  return OPERATIONS[method] ?? method;
}

/** Buckets as the semantic conventions advise. */
const SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const TOKENS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864];

/** Well-known values of gen_ai.operation.name; other methods go by their own. */
const OPERATIONS: Readonly<Record<string, string>> = {
  generateContent: 'generate_content',
  streamGenerateContent: 'generate_content',
  embedContent: 'embeddings',
  batchEmbedContents: 'embeddings',
};
