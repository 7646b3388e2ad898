import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { AggregationTemporality, InstrumentType, MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import type { ServiceContext } from '../service/service-context.ts';
import { observeProcess } from './process-metrics.ts';
import { observeStore } from './store-metrics.ts';

export interface Metrics {
  /** All figures now, in Prometheus' text format. Rejects when the store does not give its own. */
  text(): Promise<string>;
  close(): void;
}

/** The server's figures. They are read when asked for: nothing is counted here, and a scrape asks the store once. */
export function createMetrics(context: ServiceContext): Metrics {
  const reader = new ScrapeReader();
  const meter = new MeterProvider({ readers: [reader] }).getMeter('keybalancer');
  observeStore(meter, context);
  const stopProcess = observeProcess(meter, context);
  // The names of the scope and of the process would be the same on every line.
  const serializer = new PrometheusSerializer(undefined, false, undefined, true, true);
  return {
    async text() {
      const { resourceMetrics, errors } = await reader.collect();
      if (errors.length > 0) throw errors[0];
      return serializer.serialize(resourceMetrics);
    },
    close: stopProcess,
  };
}

/** Most series of one metric: pools by states, or pools by classes. */
const MAX_SERIES = 20_000;

/** Collects when it is asked, and only then. */
class ScrapeReader extends MetricReader {
  constructor() {
    super({
      // A cumulative gauge would go on for ever with what it last said of a pool that was deleted.
      aggregationTemporalitySelector: (type) =>
        type === InstrumentType.OBSERVABLE_GAUGE ? AggregationTemporality.DELTA : AggregationTemporality.CUMULATIVE,
      cardinalitySelector: () => MAX_SERIES,
    });
  }

  protected override async onShutdown(): Promise<void> {}

  protected override async onForceFlush(): Promise<void> {}
}
