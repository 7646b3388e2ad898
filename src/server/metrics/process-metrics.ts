import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Meter } from '@opentelemetry/api';
import type { ServiceContext } from '../service/service-context.ts';

/** How often the event loop is looked at, in milliseconds. */
const RESOLUTION_MS = 10;

/** What the process is and how it does. Returns the way to stop watching it. */
export function observeProcess(meter: Meter, { version, startTime }: ServiceContext): () => void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  const gauge = (name: string, description: string) =>
    meter.createObservableGauge(`keybalancer_${name}`, { description });
  const build = gauge('build_info', 'Always 1; the labels say what runs.');
  const start = gauge('start_time_seconds', 'When the server started, in seconds since 1970.');
  const memory = gauge('process_resident_memory_bytes', 'Resident set of the process.');
  const lateness = gauge(
    'event_loop_delay_seconds',
    'How late the event loop ran, by quantile since the last scrape; 1 is the longest.',
  );
  meter.addBatchObservableCallback(
    (result) => {
      result.observe(build, 1, { version, node: process.versions.node });
      result.observe(start, startTime / 1000);
      result.observe(memory, process.memoryUsage.rss());
      if (delay.count > 0) {
        for (const quantile of [0.5, 0.99, 1]) {
          // Node measures from look to look, so the time between two is in every value.
          const late = delay.percentile(quantile * 100) / 1e9 - RESOLUTION_MS / 1000;
          result.observe(lateness, Math.max(0, late), { quantile: String(quantile) });
        }
      }
      delay.reset();
    },
    [build, start, memory, lateness],
  );
  return () => delay.disable();
}
