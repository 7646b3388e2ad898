import { type Attributes, type Context, context, metrics, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { ClientEvent, ReportEvent } from './events.ts';

/**
 * Spans and metrics of calls, by the API of OpenTelemetry alone: where the application has set nothing up, nothing happens. Attributes
 * by the semantic conventions for generative AI. Keys go by their ids, which only spans carry: metrics would grow with them.
 */
export function createTelemetry(): (event: ClientEvent) => void {
  const tracer = trace.getTracer('keybalancer');
  const meter = metrics.getMeter('keybalancer');
  const duration = meter.createHistogram('gen_ai.client.operation.duration', {
    unit: 's',
    description: 'Time that Gemini took for a request, each try for itself.',
  });
  const tokens = meter.createHistogram('gen_ai.client.token.usage', {
    unit: '{token}',
    description: 'Tokens of a request, by gen_ai.token.type.',
  });
  const waits = meter.createHistogram('keybalancer.client.lease.wait', {
    unit: 's',
    description: 'Time until a key was had.',
  });
  const retries = meter.createCounter('keybalancer.client.retries', { description: 'Tries after the first.' });
  const exhausted = meter.createCounter('keybalancer.client.exhausted', {
    description: 'Requests that ended since no key could be had.',
  });

  return (event) => {
    const attributes = attributesOf(event);
    switch (event.type) {
      case 'lease':
        waits.record(event.waitedMs / 1000, attributes);
        break;
      case 'retry':
        retries.add(1, { ...attributes, 'error.type': event.errorClass });
        break;
      case 'exhausted':
        exhausted.add(1, { ...attributes, 'error.type': event.reason });
        break;
      case 'report': {
        const error = event.outcome === 'failure' ? { 'error.type': event.errorClass || 'UNKNOWN' } : {};
        if (event.outcome === 'unused') break;
        duration.record(event.latencyMs / 1000, { ...attributes, ...error });
        if (event.inputTokens > 0) tokens.record(event.inputTokens, { ...attributes, 'gen_ai.token.type': 'input' });
        if (event.outputTokens > 0) tokens.record(event.outputTokens, { ...attributes, 'gen_ai.token.type': 'output' });
        record(event, { ...attributes, ...error }, context.active());
      }
    }
  };

  /** A span of what is over: its beginning is told from its end. */
  function record(event: ReportEvent, attributes: Attributes, parent: Context): void {
    const end = Date.now();
    const span = tracer.startSpan(
      event.model === '' ? event.method : `${event.method} ${event.model}`,
      {
        kind: SpanKind.CLIENT,
        startTime: end - event.latencyMs,
        attributes: {
          ...attributes,
          'keybalancer.key_id': event.keyId,
          ...(event.httpStatus > 0 && { 'http.response.status_code': event.httpStatus }),
          ...(event.inputTokens > 0 && { 'gen_ai.usage.input_tokens': event.inputTokens }),
          ...(event.outputTokens > 0 && { 'gen_ai.usage.output_tokens': event.outputTokens }),
        },
      },
      parent,
    );
    if (event.outcome === 'failure') span.setStatus({ code: SpanStatusCode.ERROR });
    span.end(end);
  }
}

function attributesOf({ method, model }: ClientEvent): Attributes {
  return {
    'gen_ai.operation.name': OPERATIONS[method] ?? method,
    'gen_ai.provider.name': 'gcp.gemini',
    ...(model !== '' && { 'gen_ai.request.model': model }),
  };
}

/** Well-known values of gen_ai.operation.name; other methods go by their own. */
const OPERATIONS: Readonly<Record<string, string>> = {
  generateContent: 'generate_content',
  streamGenerateContent: 'generate_content',
  embedContent: 'embeddings',
  batchEmbedContents: 'embeddings',
};
