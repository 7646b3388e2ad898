import type { Server, ServerWritableStream } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';

/** grpc.health.v1 for the whole server ("") and each of its services. */
export class HealthService {
  readonly #services: readonly string[];
  readonly #health: HealthImplementation;
  readonly #watching = new Set<ServerWritableStream<unknown, unknown>>();

  constructor(services: readonly string[]) {
    this.#services = ['', ...services];
    this.#health = new HealthImplementation(Object.fromEntries(this.#services.map((name) => [name, 'NOT_SERVING'])));
  }

  addToServer(server: Server): void {
    this.#health.addToServer({
      addService: (definition: Parameters<Server['addService']>[0], implementation: Record<string, unknown>) => {
        const watch = implementation.watch as (call: ServerWritableStream<unknown, unknown>) => void;
        const kept = (call: ServerWritableStream<unknown, unknown>): void => {
          this.#watching.add(call);
          call.on('cancelled', () => this.#watching.delete(call));
          watch(call);
        };
        server.addService(definition, { ...implementation, watch: kept } as never);
      },
    } as never);
  }

  setServing(serving: boolean): void {
    for (const name of this.#services) this.#health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
  }

  /** Ends the streams of those who watch, which the library would leave open for ever. */
  endWatching(): void {
    for (const call of this.#watching) call.end();
    this.#watching.clear();
  }
}
