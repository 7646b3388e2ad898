import { performance } from 'node:perf_hooks';
import { setImmediate } from 'node:timers';
import type { Usage } from '../token-usage.ts';
import { AnswerTail } from './answer-tail.ts';
import { EventWatch } from './event-watch.ts';
import type { AnswerKind } from './request-facts.ts';

/** How an answer ended. */
export type AnswerEnd =
  | { by: 'whole' }
  /** Gemini said an error in it. */
  | { by: 'error'; body: string }
  /** It broke off, or said nothing, or stopped without saying why. */
  | { by: 'silence'; error: unknown }
  /** It claims to be JSON, and is not. */
  | { by: 'nonsense' }
  /** Its reader stopped. */
  | { by: 'left' };

/** A message that is longer is handed on as it comes: it cannot be tried again when it breaks off. */
const MOST_HELD = 1024 * 1024;
/** Of a stream, before its first event is whole. */
const MOST_BEFORE_EVENT = 256 * 1024;
/** Where the names of resources are looked for. */
const MOST_SEARCHED = 256 * 1024;
const NO_BODY = new Set([204, 205, 304]);

export interface AnswerOptions {
  kind: AnswerKind;
  /** Whether `start` is kept. */
  keepStart: boolean;
  /** Whether a message must be there. */
  mustSpeak: boolean;
  /** What a reader is shown in place of an event with an error; undefined: the event. */
  shown: ((errorBody: string) => Error) | undefined;
  /** The words of an event with an error, as a reader is shown them. */
  masked: (text: string) => string;
}

/**
 * The body of an answer with a good status. `begin` reads as much of it as shows whether it began well: a message to its end, of
 * a stream its first event, of other bytes the first. Until then another key can be tried. `handOn` gives the rest to the SDK as
 * it comes, never more than its reader asked for.
 */
export class Answer {
  readonly #response: Response;
  readonly #options: AnswerOptions;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  readonly #events: EventWatch | undefined;
  readonly #tail = new AnswerTail();
  #start: Buffer[] = [];
  #startLength = 0;
  #readMs = 0;
  /** When the read began that is under way. */
  #readingSince: number | undefined;
  /** Read and not handed on. */
  #held: Buffer[] = [];
  #end: AnswerEnd | undefined;

  constructor(response: Response, options: AnswerOptions) {
    this.#response = response;
    this.#options = options;
    this.#reader = response.body?.getReader();
    const { kind } = options;
    if (kind === 'generated-events' || kind === 'events') this.#events = new EventWatch();
  }

  /** How it ended, if it has; undefined: it began well and goes on. Rejects never. */
  async begin(): Promise<AnswerEnd | undefined> {
    let length = 0;
    while (this.#end === undefined && !this.#hasBegun(length)) {
      const bytes = await this.#read();
      length += bytes?.length ?? 0;
      if (bytes !== undefined) this.#held.push(bytes);
    }
    // An event can have come in parts.
    if (this.#events?.error !== undefined) this.#held = [this.#masked(Buffer.concat(this.#held))];
    if (this.#end?.by === 'whole' && this.#options.mustSpeak && !this.#speaks()) this.#end = { by: 'nonsense' };
    const events = this.#events;
    // Its reader gets the event: what follows it is not cut off.
    if (this.#end === undefined && events?.error !== undefined && events.events === 1) {
      return { by: 'error', body: events.error };
    }
    return this.#end;
  }

  /** The first bytes, as text. */
  get start(): string {
    return Buffer.concat(this.#start).toString('utf8');
  }

  /** Milliseconds that Gemini took for the body, so far. */
  get readMs(): number {
    return this.#readMs + (this.#readingSince === undefined ? 0 : performance.now() - this.#readingSince);
  }

  usage(): Usage | undefined {
    return this.#tail.usage();
  }

  /** What it said, when it was whole as it began. */
  whole(): Response {
    return responseLike(this.#response, this.#held.length === 0 ? null : Buffer.concat(this.#held));
  }

  /** A response whose reader fails, as one does whose connection broke. */
  failing(error: unknown): Response {
    const body = new ReadableStream({
      pull(controller) {
        controller.error(error);
      },
    });
    return responseLike(this.#response, body);
  }

  /** `ended` is called once, and its promise, if it gives one, waited for. `failed` says what the reader gets to see then. */
  handOn(ended: (end: AnswerEnd) => void | Promise<void>, failed: (end: AnswerEnd) => unknown): Response {
    let over = false;
    const finish = (end: AnswerEnd): void | Promise<void> => {
      if (over) return;
      over = true;
      return ended(end);
    };
    const leave = (reason: unknown): Promise<void> | undefined => {
      const error = this.#events?.error;
      void finish(error === undefined ? { by: 'left' } : { by: 'error', body: error });
      return this.#reader?.cancel(reason).catch(() => undefined);
    };
    const stream = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const bytes = this.#held.shift() ?? (this.#end === undefined ? await this.#read() : undefined);
          if (bytes !== undefined && bytes.length > 0) return controller.enqueue(bytes);
          // Nothing to show, such as the rest of a part that an error cut: what comes next, then.
          if (bytes !== undefined && this.#end === undefined) return controller.enqueue(new Uint8Array(0));
          const end = this.#end ?? { by: 'whole' };
          await finish(end);
          if (end.by === 'whole' || (end.by === 'error' && this.#options.shown === undefined)) controller.close();
          else controller.error(failed(end));
        },
        cancel: leave,
      },
      { highWaterMark: 0 },
    );
    abandoned.register(stream, () => void leave(undefined));
    return responseLike(
      this.#response,
      leftOnRelease(stream, () => over),
    );
  }

  /** The next bytes to hand on; undefined: `#end` says why there are none. Both, where an error cuts them. */
  async #read(): Promise<Buffer | undefined> {
    if (this.#reader === undefined) {
      this.#end = this.#ending();
      return undefined;
    }
    this.#readingSince = performance.now();
    let part: Awaited<ReturnType<ReadableStreamDefaultReader<Uint8Array>['read']>>;
    try {
      part = await this.#reader.read();
    } catch (error) {
      this.#end = { by: 'silence', error };
      return undefined;
    } finally {
      this.#readMs = this.readMs;
      this.#readingSince = undefined;
    }
    if (part.done) {
      this.#events?.end();
      this.#end = this.#ending();
      return undefined;
    }
    const bytes = Buffer.from(part.value.buffer, part.value.byteOffset, part.value.byteLength);
    this.#tail.take(bytes);
    if (this.#options.keepStart && this.#startLength < MOST_SEARCHED) {
      const kept = bytes.subarray(0, MOST_SEARCHED - this.#startLength);
      this.#start.push(Buffer.from(kept));
      this.#startLength += kept.length;
    }
    return this.#passed(bytes);
  }

  #passed(bytes: Buffer): Buffer {
    const events = this.#events;
    if (events === undefined || events.error !== undefined) return bytes;
    const length = events.take(bytes);
    if (events.error === undefined) return bytes;
    if (this.#options.shown === undefined) {
      return Buffer.concat([bytes.subarray(0, length), this.#masked(bytes.subarray(length))]);
    }
    this.#end = { by: 'error', body: events.error };
    // Nothing after it is of use.
    void this.#reader?.cancel().catch(() => undefined);
    return bytes.subarray(0, length);
  }

  /** Byte by byte, as a character may be cut: a key has none of several bytes. */
  #masked(bytes: Buffer): Buffer {
    return Buffer.from(this.#options.masked(bytes.toString('latin1')), 'latin1');
  }

  #ending(): AnswerEnd {
    const events = this.#events;
    if (events === undefined) return { by: 'whole' };
    if (events.error !== undefined) return { by: 'error', body: events.error };
    const stopped = events.events === 0 || (this.#options.kind === 'generated-events' && !events.finished);
    return stopped ? { by: 'silence', error: terminated() } : { by: 'whole' };
  }

  #hasBegun(length: number): boolean {
    switch (this.#options.kind) {
      case 'message':
        return length > MOST_HELD;
      case 'bytes':
        return length > 0;
      default:
        return this.#events!.events > 0 || this.#events!.error !== undefined || length > MOST_BEFORE_EVENT;
    }
  }

  /** Whether the message ends as JSON does, where it claims to be JSON. */
  #speaks(): boolean {
    if (!(this.#response.headers.get('content-type') ?? '').includes('json')) return true;
    const last = this.#held.at(-1)?.toString('utf8').trimEnd();
    return last !== undefined && /[\]}]$/.test(last);
  }
}

/** Streams that were dropped without being read to their end: nobody else would end them. */
const abandoned = new FinalizationRegistry<() => void>((leave) => leave());

/** As fetch names a connection that broke while its answer was read. */
function terminated(): TypeError {
  return new TypeError('terminated', { cause: new Error('the stream ended without saying why') });
}

export function responseLike(response: Response, body: Buffer | ReadableStream<Uint8Array> | null): Response {
  const { status, statusText, headers, url } = response;
  const like = new Response(NO_BODY.has(status) ? null : body, { status, statusText, headers });
  return Object.defineProperty(like, 'url', { value: url });
}

/** The SDK lets go of its reader where its caller stops reading a stream, and does not cancel it: here that is the same. */
function leftOnRelease(stream: ReadableStream<Uint8Array>, isOver: () => boolean): ReadableStream<Uint8Array> {
  const getReader = stream.getReader.bind(stream) as () => ReadableStreamDefaultReader<Uint8Array>;
  const watched = (...args: []): ReadableStreamDefaultReader<Uint8Array> => {
    const reader = getReader(...args);
    const releaseLock = reader.releaseLock.bind(reader);
    reader.releaseLock = () => {
      releaseLock();
      // Whoever goes on with another reader gets it at once.
      setImmediate(() => {
        if (!isOver() && !stream.locked) void stream.cancel().catch(() => undefined);
      });
    };
    return reader;
  };
  return Object.assign(stream, { getReader: watched });
}
