import { fn, shownType } from './checks.ts';
import { invalidOption } from './errors.ts';
import type { ClientEvent } from './events.ts';

/** The names of the events. */
export type ClientEventType = ClientEvent['type'];

/** What is called with each event of a type, before the call that it tells of goes on. */
export type ListenerOf<T extends ClientEventType> = (event: Extract<ClientEvent, { type: T }>) => void;

type Listener = (event: ClientEvent) => void;

/** Tells who listens. What a listener throws reaches neither a call nor another listener: it is thrown on its own, as an uncaught error. */
export class ClientEvents {
  readonly #first: Listener;
  readonly #listeners: Record<ClientEventType, Set<{ listener: Listener }>> = {
    lease: new Set(),
    retry: new Set(),
    report: new Set(),
    exhausted: new Set(),
  };

  /** `first` is told of everything, before the others. */
  constructor(first: Listener) {
    this.#first = first;
  }

  /** The way to stop it. */
  on<T extends ClientEventType>(type: T, listener: ListenerOf<T>): () => void {
    if (!Object.hasOwn(this.#listeners, type)) {
      throw invalidOption(
        'the type of event',
        typeof type === 'string' ? 'unknown' : shownType(type),
        Object.keys(this.#listeners).join(', '),
      );
    }
    fn('listener', listener);
    const listeners = this.#listeners[type];
    // Kept in an object of its own: who listens twice is told twice.
    const entry = { listener: listener as Listener };
    listeners.add(entry);
    return () => void listeners.delete(entry);
  }

  emit(event: ClientEvent): void {
    tell(this.#first, event);
    // A copy: who begins to listen now is told of the next.
    for (const { listener } of [...this.#listeners[event.type]]) tell(listener, event);
  }
}

function tell(listener: Listener, event: ClientEvent): void {
  try {
    listener(event);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
