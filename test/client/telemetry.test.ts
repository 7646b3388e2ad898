import type { GoogleGenAI } from '@google/genai';
import {
  type Attributes,
  type Context,
  context,
  metrics,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  type SpanOptions,
  type SpanStatus,
  SpanStatusCode,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createTelemetry } from '../../src/client/telemetry.ts';
import { trackActiveContext } from '../support/active-context.ts';
import { apiKeys } from '../support/orders.ts';
import { bench, endings, MODEL, WAYS } from './balancers.ts';

const [ONE, TWO] = apiKeys(2) as [string, string];

interface Told {
  name: string;
  kind: SpanKind | undefined;
  attributes: Attributes;
  status: SpanStatus | undefined;
  parent: Span | undefined;
  lastedMs: number;
}

/** A provider that keeps what spans are told, until the test ends. */
function spans(): Told[] {
  const told: Told[] = [];
  const startSpan = (name: string, options: SpanOptions = {}, parent: Context = ROOT_CONTEXT): Span => {
    const { kind, attributes = {}, startTime } = options;
    const span: Told = { name, kind, attributes, status: undefined, parent: trace.getSpan(parent), lastedMs: 0 };
    return {
      setStatus(status: SpanStatus) {
        span.status = status;
        return this;
      },
      end(endTime: number) {
        span.lastedMs = endTime - Number(startTime);
        told.push(span);
      },
    } as unknown as Span;
  };
  trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan }) } as unknown as TracerProvider);
  onTestFinished(() => trace.disable());
  return told;
}

/** A real SDK of metrics, until the test ends. */
function meters() {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const provider = new MeterProvider({ readers: [reader] });
  metrics.setGlobalMeterProvider(provider);
  onTestFinished(async () => {
    metrics.disable();
    await provider.shutdown();
  });
  return async () => {
    exporter.reset();
    await provider.forceFlush();
    const all = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics));
    return Object.fromEntries(
      all.map(({ descriptor, dataPoints }) => [
        descriptor.name,
        dataPoints.map(({ attributes, value }) => ({
          attributes,
          value: typeof value === 'number' ? value : (value as { count: number }).count,
        })),
      ]),
    );
  };
}

async function ask(ai: GoogleGenAI): Promise<string | undefined> {
  return (await ai.models.generateContent({ model: MODEL, contents: 'hello' })).text;
}

const OF_CALL = {
  'gen_ai.operation.name': 'generate_content',
  'gen_ai.provider.name': 'gcp.gemini',
  'gen_ai.request.model': MODEL,
};

describe.each(WAYS)('telemetry, $way,', ({ place }) => {
  test('has a span for each try, by the conventions for generative AI', async () => {
    const told = spans();
    const { wrapper } = await bench(await place(), { [ONE]: { behaviour: 'dead' }, [TWO]: {} });
    await ask(wrapper.genai());
    expect(told).toMatchObject([
      {
        name: `generate_content ${MODEL}`,
        kind: SpanKind.CLIENT,
        attributes: { ...OF_CALL, 'error.type': 'KEY_INVALID', 'http.response.status_code': 400 },
        status: { code: SpanStatusCode.ERROR },
      },
      {
        name: `generate_content ${MODEL}`,
        attributes: {
          ...OF_CALL,
          'http.response.status_code': 200,
          'gen_ai.usage.input_tokens': expect.any(Number),
          'gen_ai.usage.output_tokens': expect.any(Number),
          'keybalancer.key_id': expect.stringMatching(/./),
        },
        status: undefined,
      },
    ]);
    expect(told[1]?.attributes).not.toHaveProperty('error.type');
    expect(told.every(({ lastedMs }) => lastedMs >= 0 && lastedMs < 60_000)).toBe(true);
    told.length = 0;
    await wrapper.executeWithRetry(ask);
    expect(told).toMatchObject([
      {
        name: `executeWithRetry ${MODEL}`,
        attributes: { 'http.response.status_code': 200, 'gen_ai.usage.input_tokens': expect.any(Number) },
      },
    ]);
  });

  test('hangs its spans on that of the caller', async () => {
    const told = spans();
    trackActiveContext();
    const { wrapper } = await bench(await place(), { [ONE]: { behaviour: 'dead' }, [TWO]: {} });
    const parent = {} as Span;
    await context.with(trace.setSpan(ROOT_CONTEXT, parent), async () => {
      await wrapper.executeWithRetry(ask);
      await ask(wrapper.genai());
    });
    await wrapper.getStats();
    expect(told).toHaveLength(3);
    for (const span of told) expect(span.parent).toBe(parent);
  });

  test('measures calls, tokens, waits, repeats and want of keys, though the SDK is set up after the client', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: { behaviour: 'dead' }, [TWO]: {} });
    // A turn of each key.
    for (const key of [await wrapper.lease(), await wrapper.lease()]) await key[Symbol.asyncDispose]();
    const read = meters();
    await ask(wrapper.genai());
    const all = await read();
    expect(all['gen_ai.client.operation.duration']).toEqual([
      { attributes: { ...OF_CALL, 'error.type': 'KEY_INVALID' }, value: 1 },
      { attributes: OF_CALL, value: 1 },
    ]);
    expect(all['gen_ai.client.token.usage']).toEqual([
      { attributes: { ...OF_CALL, 'gen_ai.token.type': 'input' }, value: 1 },
      { attributes: { ...OF_CALL, 'gen_ai.token.type': 'output' }, value: 1 },
    ]);
    expect(all['keybalancer.client.lease.wait']).toEqual([{ attributes: OF_CALL, value: 2 }]);
    expect(all['keybalancer.client.retries']).toEqual([
      { attributes: { ...OF_CALL, 'error.type': 'KEY_INVALID' }, value: 1 },
    ]);
    await wrapper.lease({ requireProject: '300000000099' }).catch(() => {});
    expect((await read())['keybalancer.client.exhausted']).toMatchObject([
      { attributes: { 'gen_ai.operation.name': 'lease' }, value: 1 },
    ]);
  });

  test('is nothing where the application has set nothing up', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    expect(trace.getTracer('any').startSpan('any').isRecording()).toBe(false);
    await ask(wrapper.genai());
    expect(await endings(wrapper)).toEqual({ acquired: 1, succeeded: 1 });
  });
});

test('of what is done with a lease that nobody used there is no span', () => {
  const told = spans();
  const tell = createTelemetry();
  const report = { type: 'report', method: 'lease', model: '', keyId: 'k', errorClass: '' } as const;
  const figures = { httpStatus: 0, latencyMs: 3, inputTokens: 0, outputTokens: 0 };
  tell({ ...report, ...figures, outcome: 'unused' });
  expect(told).toEqual([]);
  tell({ ...report, ...figures, outcome: 'success' });
  expect(told).toMatchObject([{ name: 'lease', lastedMs: 3 }]);
});
