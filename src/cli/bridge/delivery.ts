import { STATUS_CODES } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { VERSION } from '../../server/version.ts';
import { retryAfterMs } from './backoff.ts';
import type { BridgeEvent } from './event.ts';
import { type PostResult, post } from './post.ts';
import type { Sink } from './sink.ts';

const USER_AGENT = `keybalancer/${VERSION}`;

/** What becomes of a delivery. */
export interface DeliveryEvents {
  /** The sink has so many more. */
  delivered(count: number): void;
  /** The sink took a batch and said that it will keep so many of its events not. */
  refused(count: number, why: string): void;
  /** A batch of so many was too large; none will be larger than `most` any more. */
  tooLarge(count: number, most: number): void;
  /** A try failed. The next is at `next`, in unix milliseconds. */
  failing(why: string, next: number): void;
  /** It took something again after so many failures. */
  mended(failures: number): void;
}

export interface DeliveryOptions {
  /** Sent with each request, beside the sink's own. */
  headers: Readonly<Record<string, string>>;
  /** Events to a request. */
  most: number;
  /** Milliseconds that the sink has for an answer. */
  timeoutMs: number;
  /** Milliseconds until the next try, by failures in a row and what the sink asked for. */
  pauseMs: (failures: number, statedMs: number | undefined) => number;
}

/**
 * Sends batches to a sink, each until the sink has it, by what it answers:
 *
 *   2xx                          delivered
 *   413, more than one event     the same events in smaller batches, from now on
 *   anything else, or nothing    again, later and later, and not before its Retry-After
 *
 * An answer such as 401 passes only when somebody mends the sink or restarts the bridge with other options. Until then events wait: to
 * skip them would lose them, and to end would not deliver them either.
 */
export class Delivery {
  readonly #sink: Sink;
  readonly #options: DeliveryOptions;
  readonly #events: DeliveryEvents;
  #most: number;
  #failures = 0;

  constructor(sink: Sink, options: DeliveryOptions, events: DeliveryEvents) {
    this.#sink = sink;
    this.#options = options;
    this.#events = events;
    this.#most = options.most;
  }

  /** Resolves when the sink has all of them, or when `signal` gives up. */
  async send(events: readonly BridgeEvent[], signal: AbortSignal): Promise<void> {
    let left = events;
    while (left.length > 0 && !signal.aborted) {
      const batch = left.slice(0, this.#most);
      const answer = await this.#post(batch, signal);
      // Given up: whether it was taken is not known.
      if (signal.aborted && 'failure' in answer) return;
      if (isDelivered(answer)) {
        left = left.slice(batch.length);
        this.#delivered(batch.length, answer.body);
      } else if ('status' in answer && answer.status === 413 && batch.length > 1) {
        this.#most = Math.floor(batch.length / 2);
        this.#events.tooLarge(batch.length, this.#most);
      } else {
        await this.#pause(answer, signal);
      }
    }
  }

  #post(batch: readonly BridgeEvent[], signal: AbortSignal): Promise<PostResult> {
    const { headers, timeoutMs } = this.#options;
    const request = this.#sink.request(batch);
    return post(
      this.#sink.url,
      { ...request, headers: { 'user-agent': USER_AGENT, ...headers, ...request.headers } },
      { timeoutMs, signal },
    );
  }

  #delivered(count: number, body: Uint8Array): void {
    const refused = this.#sink.refused(body);
    if (refused !== undefined) this.#events.refused(refused.count, refused.why);
    if (this.#failures > 0) this.#events.mended(this.#failures);
    this.#failures = 0;
    this.#events.delivered(count);
  }

  async #pause(answer: PostResult, signal: AbortSignal): Promise<void> {
    this.#failures++;
    const stated = 'status' in answer ? retryAfterMs(answer.retryAfter, Date.now()) : undefined;
    const ms = this.#options.pauseMs(this.#failures, stated);
    this.#events.failing(inWords(answer), Date.now() + ms);
    await sleep(ms, undefined, { signal }).catch(() => {});
  }
}

function isDelivered(answer: PostResult): answer is Extract<PostResult, { status: number }> {
  return 'status' in answer && answer.status >= 200 && answer.status <= 299;
}

/** What to look at where waiting alone will hardly help. */
const HINTS: Record<number, string> = {
  400: 'does it take this kind of request?',
  401: 'is a header missing, or out of date?',
  403: 'does the header give the right to write there?',
  404: 'is the path right?',
  413: 'even a single event is too large for it',
};

function inWords(answer: PostResult): string {
  if ('failure' in answer) return answer.failure;
  const { status } = answer;
  const hint = status >= 300 && status <= 399 ? 'redirects are not followed' : HINTS[status];
  return `it answers ${status} ${STATUS_CODES[status] ?? ''}`.trimEnd() + (hint === undefined ? '' : `; ${hint}`);
}
