import { type HrTime, ValueType } from '@opentelemetry/api';
import { AggregationTemporality, type DataPoint, DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import { CATALOG, fullName, type Labels, type MetricName } from './catalog.ts';

/** Says the value of a metric of the catalog, with a value for each of its labels. */
export type Tell = <M extends MetricName>(metric: M, value: number, labels: Labels<M>) => void;

/** Figures of one moment, as OpenTelemetry has them. Nothing is kept from one to the next, so what is gone leaves no series behind. */
export class Figures {
  readonly #points = new Map<MetricName, DataPoint<number>[]>();
  readonly #times: Pick<DataPoint<number>, 'startTime' | 'endTime'>;

  /** Wall-clock milliseconds. */
  constructor(startTime: number, now: number) {
    this.#times = { startTime: hrTime(startTime), endTime: hrTime(now) };
  }

  readonly tell: Tell = (metric, value, labels) => {
    const points = this.#points.get(metric);
    const point = { ...this.#times, attributes: labels, value };
    if (points === undefined) this.#points.set(metric, [point]);
    else points.push(point);
  };

  get metrics(): MetricData[] {
    return Array.from(this.#points, ([metric, dataPoints]): MetricData => {
      const { kind, help: description, unit, ...named } = CATALOG[metric];
      const descriptor = { name: fullName(named), description, unit, valueType: ValueType.DOUBLE };
      const data = { descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE, dataPoints };
      return kind === 'counter'
        ? { ...data, dataPointType: DataPointType.SUM, isMonotonic: true }
        : { ...data, dataPointType: DataPointType.GAUGE };
    });
  }
}

function hrTime(wall: number): HrTime {
  const seconds = Math.floor(wall / 1000);
  return [seconds, Math.round((wall - seconds * 1000) * 1e6)];
}
