import { performance } from 'node:perf_hooks';
import { clearTimeout, setTimeout } from 'node:timers';
import type { AnswerEnd } from './genai/answer.ts';
import { answerTo, shownEnd } from './genai/answer-to.ts';
import { learnedNames } from './genai/learned-names.ts';
import { outgoing } from './genai/outgoing.ts';
import { type RequestFacts, requestFacts } from './genai/request-facts.ts';
import type { FailedNaming } from './genai/resource-search.ts';
import { type OpenRequest, RequestFigures } from './request-figures.ts';

type Fetch = typeof globalThis.fetch;

/** How a request ended: as far as the headers of its answer, or without the rest of it. `status` 0: no answer came. */
export type LastRequest =
  | { answered: true; status: number; errorBody: Promise<string> | undefined }
  | { answered: false; status: number; error: unknown };

/** A request that failed: by its answer, by its want of one or of a part of it, or by an error within an answer that began well. */
export type FailedRequest =
  | { by: 'answer'; at: number; status: number; facts: RequestFacts; errorBody: Promise<string> }
  /** `lost`: after Gemini took it, so that what it was to make may be there. */
  | { by: 'silence'; at: number; lost: boolean }
  | { by: 'stream'; at: number; said: string };

/** Failures that are remembered: fn may make many requests. */
const MOST_FAILURES = 16;
/** An error is small; a body that does not end must not keep a lease. */
const ERROR_BODY_MS = 1_000;

/** Watches the HTTP requests that are made with one lease: what Gemini said is known even where the SDK or the caller drops it. */
export class RequestWatch {
  requests = 0;
  readonly figures = new RequestFigures();
  /** Whether the lease's client may have asked Gemini by another way than the SDK's fetch: a live session, or an own HTTP client. */
  unseen = false;
  /** Live sessions that opened. */
  sessions = 0;
  /** The one that ended last; undefined: none has. */
  last: LastRequest | undefined;
  /** Those that failed, less those that a later request, answered well, made up for. */
  failures: FailedRequest[] = [];
  /** Seconds that the newest request said it waits at most (X-Server-Timeout), rounded up by the SDK. */
  #timeoutS: number | undefined;
  #lastStartedAt = 0;
  readonly #learned: (names: readonly string[]) => void;

  /** `learned` is told of the resources that are where the requests were made. */
  constructor(learned: (names: readonly string[]) => void = () => {}) {
    this.#learned = learned;
  }

  /**
   * `inner` with the key and this watch around it: a stream that says an error, or stops without saying why, fails at its reader, whatever the
   * SDK would make of it. The key is masked in what the reader is shown. The signal ends the requests.
   */
  fetch(inner: Fetch, { apiKey, signal }: { apiKey: string; signal: AbortSignal | undefined }): Fetch {
    return async (input, init) => {
      this.requests++;
      const open = this.figures.begin();
      this.#lastStartedAt = open.startedAt;
      this.#timeoutS = timeoutOf(input, init);
      const ended = joinedSignal(signal, input, init);
      let facts: RequestFacts;
      let response: Response;
      try {
        const request = await outgoing(input, ended === undefined ? init : { ...init, signal: ended });
        const { url, method, headers, text } = request;
        facts = requestFacts(url, method, headers.get('accept') ?? '', text);
        response = await request.send(inner, apiKey);
      } catch (error) {
        this.#brokeOff(open, { status: 0, error, lost: false });
        throw error;
      }
      return this.#answered(response, facts, { apiKey, signal: ended, open });
    };
  }

  /** Whether Gemini may have made something of which the function does not know. A repeat of the function might make it twice. */
  get lostAnswer(): boolean {
    return this.failures.some((failure) => failure.by === 'silence' && failure.lost);
  }

  /**
   * Whether a request that was aborted ran out of its own time. The SDK throws the same for that and for an abort by the
   * caller; only the time that passed tells them apart.
   */
  timedOut(now = performance.now()): boolean {
    return this.#timeoutS !== undefined && now - this.#lastStartedAt >= (this.#timeoutS - 1) * 1000;
  }

  /** What the request that failed last with this status named; undefined: nothing. */
  async failedNaming(httpStatus: number | undefined): Promise<FailedNaming | undefined> {
    const failure = this.failures.findLast((each) => each.by === 'answer' && each.status === httpStatus);
    if (failure?.by !== 'answer' || failure.facts.resources.length === 0) return undefined;
    const { facts, status, errorBody } = failure;
    return { ...facts, status, body: await errorBody };
  }

  async #answered(
    response: Response,
    facts: RequestFacts,
    { apiKey, signal, open }: { apiKey: string; signal: AbortSignal | undefined; open: OpenRequest },
  ): Promise<Response> {
    const { ok, status, headers } = response;
    open.headersMs = performance.now() - open.startedAt;
    if (!ok) {
      const errorBody = bodyOf(response);
      this.last = { answered: true, status, errorBody };
      this.figures.over(open);
      this.#failed({ by: 'answer', at: performance.now(), status, facts, errorBody });
      return response;
    }
    this.#learned(learnedNames(facts, headers, ''));
    if (!(response instanceof Response)) {
      // An own fetch with responses of its own: what becomes of the body is not seen.
      this.unseen = true;
      return this.#begun(response, open, true);
    }
    if (response.body === null) return this.#begun(response, open, true);
    const answer = answerTo(facts, response, apiKey);
    open.answer = answer;
    const shown = (end: AnswerEnd): unknown => shownEnd(end, facts, { apiKey, aborted: signal?.aborted ?? false });
    if (facts.creates && facts.answer === 'message') {
      const end = await answer.begin();
      if (end?.by === 'whole') {
        this.#learned(learnedNames(facts, headers, answer.start));
        return this.#begun(answer.whole(), open, true);
      }
      if (end !== undefined) {
        const error = shown(end);
        this.#brokeOff(open, { status, error, lost: true });
        throw error;
      }
    }
    const handed = answer.handOn((end) => {
      this.#learned(learnedNames(facts, headers, answer.start));
      if (end.by === 'silence') return this.#brokeOff(open, { status, error: end.error, lost: facts.creates });
      this.figures.over(open);
      if (end.by === 'error') this.#failed({ by: 'stream', at: performance.now(), said: end.body });
    }, shown);
    return this.#begun(handed, open, false);
  }

  /** An answer that is good as far as it was seen. `over`: nothing more of it will be. */
  #begun(response: Response, open: OpenRequest, over: boolean): Response {
    this.last = { answered: true, status: response.status, errorBody: undefined };
    this.failures = this.failures.filter(({ at }) => at > open.startedAt);
    if (over) this.figures.over(open);
    return response;
  }

  #brokeOff(open: OpenRequest, { status, error, lost }: { status: number; error: unknown; lost: boolean }): void {
    this.figures.over(open);
    this.last = { answered: false, status, error };
    this.#failed({ by: 'silence', at: performance.now(), lost });
  }

  #failed(failure: FailedRequest): void {
    this.failures = [...this.failures.slice(1 - MOST_FAILURES), failure];
  }
}

function joinedSignal(
  signal: AbortSignal | undefined,
  input: Parameters<Fetch>[0],
  init: RequestInit | undefined,
): AbortSignal | undefined {
  const own = init?.signal ?? (input instanceof Request ? input.signal : undefined);
  return own === undefined || signal === undefined ? (own ?? signal) : AbortSignal.any([signal, own]);
}

/** A copy of an error's body: small, and the SDK reads the response itself. */
async function bodyOf(response: Response): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<string>((resolve) => {
    timer = setTimeout(resolve, ERROR_BODY_MS, '').unref();
  });
  try {
    return await Promise.race([response.clone().text(), patience]);
  } catch {
    return '';
  } finally {
    clearTimeout(timer);
  }
}

function headersOf(input: Parameters<Fetch>[0], init: RequestInit | undefined): Headers {
  return new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined));
}

function timeoutOf(input: Parameters<Fetch>[0], init: RequestInit | undefined): number | undefined {
  const seconds = Number(headersOf(input, init).get('x-server-timeout') ?? Number.NaN);
  return Number.isFinite(seconds) ? seconds : undefined;
}
