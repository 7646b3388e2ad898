import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { ServiceContext } from '../service/service-context.ts';
import { CATALOG, fullName, prometheusName } from './catalog.ts';
import { ServerFigures } from './server-figures.ts';

export interface Metrics {
  /** All figures now, in Prometheus' text format. Rejects when the store does not give its own. */
  text(): Promise<string>;
  close(): void;
}

/** What /metrics says. `perKey`: whether single keys have series, asked at each scrape. */
export function createMetrics(context: ServiceContext, perKey: () => boolean): Metrics {
  const figures = new ServerFigures(context, perKey);
  // The names of the scope and of the process would be the same on every line.
  const serializer = new PrometheusSerializer(undefined, false, undefined, true, true);
  return {
    async text() {
      const { resourceMetrics } = await figures.collect();
      return serializer.serialize(inPrometheusNames(resourceMetrics));
    },
    close: () => figures.close(),
  };
}

/** The serializer would leave the unit out of the name, and write lines of its own for it. */
function inPrometheusNames({ resource, scopeMetrics }: ResourceMetrics): ResourceMetrics {
  return {
    resource,
    scopeMetrics: scopeMetrics.map(({ scope, metrics }) => ({
      scope,
      metrics: metrics.map((metric) => {
        const { descriptor } = metric;
        const name = NAMES.get(descriptor.name)!;
        return { ...metric, descriptor: { ...descriptor, name, unit: '' } };
      }),
    })),
  };
}

const NAMES = new Map(Object.values(CATALOG).map((metric) => [fullName(metric), prometheusName(metric)]));
