import { emptyResource } from '@opentelemetry/resources';
import type { CollectionResult, MetricProducer } from '@opentelemetry/sdk-metrics';
import type { ServiceContext } from '../service/service-context.ts';
import { tellConstraints } from './constraint-figures.ts';
import { Figures } from './figures.ts';
import { tellKeys } from './key-figures.ts';
import { ProcessFigures } from './process-figures.ts';
import { tellStore } from './store-figures.ts';

/**
 * All figures of the server, whoever asks for them: nothing is counted here, and a reading asks the store once for each kind. Each
 * reader has one of its own, since what is told since the last reading is.
 */
export class ServerFigures implements MetricProducer {
  readonly #context: ServiceContext;
  readonly #perKey: () => boolean;
  readonly #process: ProcessFigures;

  /** `perKey`: whether single keys have series, asked each time. */
  constructor(context: ServiceContext, perKey: () => boolean) {
    this.#context = context;
    this.#perKey = perKey;
    this.#process = new ProcessFigures(context);
  }

  /** Rejects when the store does not give its own: half of the figures would look like all. */
  async collect(): Promise<CollectionResult> {
    const { store, startTime } = this.#context;
    const figures = new Figures(startTime, Date.now());
    await tellStore(figures.tell, store);
    await tellConstraints(figures.tell, store);
    if (this.#perKey()) await tellKeys(figures.tell, store);
    this.#process.tell(figures.tell);
    const scopeMetrics = [{ scope: { name: 'keybalancer', version: this.#context.version }, metrics: figures.metrics }];
    return { resourceMetrics: { resource: emptyResource(), scopeMetrics }, errors: [] };
  }

  close(): void {
    this.#process.close();
  }
}
