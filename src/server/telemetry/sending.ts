import type { Signal } from '../config/otlp.ts';
import type { Logger } from '../logger.ts';

/** A collector that stays away is told of so often, and no more. */
const SILENCE_MS = 300_000;

/** What exporters of all signals have. */
interface Exporter<T> {
  export(items: T, done: (result: { code: number; error?: Error }) => void): void;
}

/** ExportResultCode.SUCCESS. */
const SUCCESS = 0;

/** Tells the log when what is sent of a signal does not arrive, and when it does again. */
export class Sending {
  readonly #signal: Signal;
  readonly #url: string;
  /** The log is there only after what it sends to. */
  readonly #logger: () => Logger;
  #failures = 0;
  #told = -Infinity;

  constructor(signal: Signal, url: string, logger: () => Logger) {
    this.#signal = signal;
    this.#url = url;
    this.#logger = logger;
  }

  /** The same exporter, whose results are seen here. */
  watch<T, E extends Exporter<T>>(exporter: E): E {
    const send = exporter.export.bind(exporter);
    exporter.export = (items, done) =>
      send(items, (result) => {
        this.#seen(result.code === SUCCESS ? undefined : (result.error ?? new Error('not accepted')));
        done(result);
      });
    return exporter;
  }

  #seen(error: Error | undefined): void {
    const where = { signal: this.#signal, url: this.#url };
    if (error === undefined) {
      if (this.#failures > 0) this.#logger().info({ ...where, failures: this.#failures }, 'telemetry is sent again');
      this.#failures = 0;
      this.#told = -Infinity;
      return;
    }
    this.#failures++;
    if (performance.now() - this.#told < SILENCE_MS) return;
    this.#told = performance.now();
    // Not the answer's body, which may repeat a header that was sent.
    const { message, code } = error as Error & { code?: unknown };
    this.#logger().warn(
      { ...where, failures: this.#failures, reason: message, code },
      'telemetry cannot be sent; what is not is dropped, and the server goes on without',
    );
  }
}
