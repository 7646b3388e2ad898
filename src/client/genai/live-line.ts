import type { LiveServerMessage } from '@google/genai';

/** The events of a WebSocket, as the SDK tells its caller of them. */
export interface LineCallbacks {
  onopen?: (() => void) | null;
  onmessage: (message: LiveServerMessage) => void;
  onerror?: ((event: { message?: string }) => void) | null;
  onclose?: ((event: CloseEvent) => void) | null;
}

interface CloseEvent {
  code: number;
  reason: string;
}

/**
 * Stands between a session's WebSocket and its caller. Until the session is set up, what happens is held back: another key may be
 * tried then, and the caller sees one session, not those that came to nothing.
 */
export class LiveLine {
  readonly callbacks: LineCallbacks;
  /** Rejects when the connection ends before the session is set up. */
  readonly failedToOpen: Promise<never>;
  /** Whether the caller closed it. */
  left = false;
  usage: LiveServerMessage['usageMetadata'];
  /** Told of each handle to go on with the session later. */
  onHandle: ((handle: string) => void) | undefined;
  readonly #caller: LineCallbacks | undefined;
  #held: (() => void)[] | undefined = [];
  #closed: CloseEvent | undefined;
  #onClose: ((event: CloseEvent) => void) | undefined;

  constructor(caller: LineCallbacks | undefined) {
    this.#caller = caller;
    const failing = Promise.withResolvers<never>();
    this.failedToOpen = failing.promise;
    // Nobody waits for it once the session is set up.
    failing.promise.catch(() => undefined);
    this.callbacks = {
      onopen: () => this.#pass(() => this.#caller?.onopen?.()),
      onmessage: (message) => {
        this.#look(message);
        this.#pass(() => this.#caller?.onmessage(message));
      },
      onerror: (event) => {
        this.#pass(() => this.#caller?.onerror?.(event));
        // In the SDK's words.
        const why = event?.message || 'WebSocket error';
        failing.reject(new Error(`Live connection failed before setup completed: ${why}`));
      },
      onclose: (event) => {
        this.#closed = event;
        this.#onClose?.(event);
        this.#pass(() => this.#caller?.onclose?.(event));
        const why = event.reason || 'Abnormal closure.';
        failing.reject(new Error(`Live connection closed before setup completed (code ${event.code}): ${why}`));
      },
    };
  }

  /** The session is set up. `closed` is called when it ends, once. */
  open(closed: (event: CloseEvent) => void): void {
    this.#onClose = closed;
    if (this.#closed !== undefined) closed(this.#closed);
    this.flush();
  }

  leave(): void {
    this.left = true;
  }

  /** Tells the caller what was held back, and from now on at once. */
  flush(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const tell of held) tell();
  }

  #pass(tell: () => void): void {
    if (this.#held === undefined) tell();
    else this.#held.push(tell);
  }

  #look(message: LiveServerMessage): void {
    if (message.usageMetadata !== undefined) this.usage = message.usageMetadata;
    const handle = message.sessionResumptionUpdate?.newHandle;
    if (typeof handle === 'string' && handle !== '') this.onHandle?.(handle);
  }
}
