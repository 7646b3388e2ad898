import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { ServiceContext } from '../service/service-context.ts';
import type { Tell } from './figures.ts';

/** How often the event loop is looked at, in milliseconds. */
const RESOLUTION_MS = 10;

/** What the process is and how it does. */
export class ProcessFigures {
  readonly #context: ServiceContext;
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor(context: ServiceContext) {
    this.#context = context;
    this.#delay.enable();
  }

  readonly tell = (tell: Tell): void => {
    const { version, startTime, open } = this.#context;
    const delay = this.#delay;
    tell('buildInfo', 1, { version, node: process.versions.node });
    tell('startTime', startTime / 1000, {});
    tell('residentMemory', process.memoryUsage.rss(), {});
    tell('watchers', open.watchers, {});
    tell('sessions', open.sessions, {});
    if (delay.count > 0) {
      for (const quantile of [0.5, 0.99, 1]) {
        // Node measures from look to look, so the time between two is in every value.
        const late = delay.percentile(quantile * 100) / 1e9 - RESOLUTION_MS / 1000;
        tell('eventLoopDelay', Math.max(0, late), { quantile: String(quantile) });
      }
    }
    delay.reset();
  };

  close(): void {
    this.#delay.disable();
  }
}
