import { performance } from 'node:perf_hooks';
import { clearTimeout, setTimeout } from 'node:timers';
import type { Metadata } from '@grpc/grpc-js';
import { awayPauseMs } from '../away.ts';
import type { Credentials } from '../credentials.ts';
import type { Endpoints } from '../endpoints.ts';
import { ClientStream, type StreamEvents } from './client-stream.ts';

/** Between tries to open a stream where nobody answers. */
const LONGEST_PAUSE_MS = 400;

export interface OpenerEvents extends StreamEvents {
  opened(stream: ClientStream): void;
  /** There is no token to open one with. */
  refused(error: unknown): void;
}

/** Opens Session streams, after pauses that grow while they fail. */
export class StreamOpener {
  readonly #endpoints: Endpoints;
  readonly #metadata: Credentials['metadata'];
  readonly #events: OpenerEvents;
  #opening = false;
  /** Whether none will be opened any more. */
  closed = false;
  /** In a row, before the server's settings came. */
  #failures = 0;
  #notBefore = 0;
  #pause: NodeJS.Timeout | undefined;

  constructor(endpoints: Endpoints, metadata: Credentials['metadata'], events: OpenerEvents) {
    this.#endpoints = endpoints;
    this.#metadata = metadata;
    this.#events = events;
  }

  /** `opened` is told, now or later. */
  open(): void {
    if (this.#opening || this.closed || this.#pause !== undefined) return;
    const pauseMs = this.#notBefore - performance.now();
    if (pauseMs > 0) {
      // Somebody waits for it: it keeps the process alive.
      this.#pause = setTimeout(() => {
        this.#pause = undefined;
        this.open();
      }, pauseMs);
      return;
    }
    const metadata = this.#metadata();
    if (!(metadata instanceof Promise)) {
      this.#open(metadata);
      return;
    }
    this.#opening = true;
    metadata.then(
      (given) => {
        this.#opening = false;
        if (!this.closed) this.#open(given);
      },
      (error: unknown) => {
        this.#opening = false;
        this.#events.refused(error);
      },
    );
  }

  succeeded(): void {
    this.#failures = 0;
  }

  /** Gives whether every address has now failed; another is tried at once, and this one after a pause. */
  failed(): boolean {
    this.#failures++;
    if (this.#failures % this.#endpoints.all.length !== 0) return false;
    const shortest = Math.min(25 * this.#failures, 100);
    this.#notBefore = performance.now() + awayPauseMs(shortest, Math.min(LONGEST_PAUSE_MS, 50 * 2 ** this.#failures));
    return true;
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.#pause);
  }

  #open(metadata: Metadata): void {
    this.#events.opened(new ClientStream(this.#endpoints.current, metadata, this.#events));
  }
}
