import { EventEmitter } from 'node:events';
import type { ClientEvent } from './events.ts';

export type ClientEventType = ClientEvent['type'];
export type ListenerOf<T extends ClientEventType> = (event: Extract<ClientEvent, { type: T }>) => void;

/** Tells who listens. What a listener throws reaches nobody's call: it is thrown on its own, as an uncaught error. */
export class ClientEvents {
  readonly #emitter = new EventEmitter();

  constructor() {
    // How many listen is the application's affair.
    this.#emitter.setMaxListeners(0);
  }

  on<T extends ClientEventType>(type: T, listener: ListenerOf<T>): () => void {
    this.#emitter.on(type, listener);
    return () => this.#emitter.off(type, listener);
  }

  emit(event: ClientEvent): void {
    if (this.#emitter.listenerCount(event.type) === 0) return;
    try {
      this.#emitter.emit(event.type, event);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
