import type { MetricProducer } from '@opentelemetry/sdk-metrics';
import type { DestinationStream } from 'pino';
import type { CallTracing } from './watch-calls.ts';

/** Where telemetry goes beside the log and /metrics. It never keeps the server from its work: what cannot be sent is dropped. */
export interface Telemetry {
  /** Takes a copy of each log line; undefined: logs are not sent. */
  readonly logLines: DestinationStream | undefined;
  /** undefined: calls are not traced. */
  readonly tracing: CallTracing | undefined;
  /** Sends the figures at intervals. Returns the way to end that, with those of the end; it takes a second at most. */
  sendMetrics(figures: MetricProducer): () => Promise<void>;
  /** Sends what is left, for a second at most. */
  close(): Promise<void>;
}
