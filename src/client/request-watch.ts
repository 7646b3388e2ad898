type Fetch = typeof globalThis.fetch;

/** How a request ended, as far as the headers of its answer. */
export type LastRequest =
  | { answered: true; status: number; errorBody: Promise<string> | undefined }
  | { answered: false; error: unknown };

/** Watches the HTTP requests that are made with one lease: what Gemini said is known even where the SDK or the caller drops it. */
export class RequestWatch {
  requests = 0;
  /** When the first request began, by performance.now(). */
  startedAt: number | undefined;
  /** The one that ended last; undefined: none has. */
  last: LastRequest | undefined;
  /** Seconds that the newest request said it waits at most (X-Server-Timeout), rounded up by the SDK. */
  #timeoutS: number | undefined;
  #lastStartedAt = 0;

  /** `inner` with this watch around it. */
  fetch(inner: Fetch, signal: AbortSignal | undefined): Fetch {
    return async (input, init) => {
      this.requests++;
      this.#lastStartedAt = performance.now();
      this.startedAt ??= this.#lastStartedAt;
      this.#timeoutS = timeoutOf(input, init);
      const joined = signal === undefined ? init : { ...init, signal: eitherOf(signal, input, init) };
      try {
        const response = await inner(input, joined);
        const errorBody = response.ok ? undefined : bodyOf(response);
        this.last = { answered: true, status: response.status, errorBody };
        return response;
      } catch (error) {
        this.last = { answered: false, error };
        throw error;
      }
    };
  }

  /**
   * Whether a request that was aborted ran out of its own time. The SDK throws the same for that and for an abort by the
   * caller; only the time that passed tells them apart.
   */
  timedOut(now = performance.now()): boolean {
    return this.#timeoutS !== undefined && now - this.#lastStartedAt >= (this.#timeoutS - 1) * 1000;
  }
}

function eitherOf(signal: AbortSignal, input: Parameters<Fetch>[0], init: RequestInit | undefined): AbortSignal {
  const own = init?.signal ?? (input instanceof Request ? input.signal : undefined);
  return own === undefined ? signal : AbortSignal.any([signal, own]);
}

/** A copy of an error's body: small, and the SDK reads the response itself. */
function bodyOf(response: Response): Promise<string> {
  return response
    .clone()
    .text()
    .catch(() => '');
}

function timeoutOf(input: Parameters<Fetch>[0], init: RequestInit | undefined): number | undefined {
  const headers = init?.headers ?? (input instanceof Request ? input.headers : undefined);
  const seconds = Number(new Headers(headers).get('x-server-timeout') ?? Number.NaN);
  return Number.isFinite(seconds) ? seconds : undefined;
}
