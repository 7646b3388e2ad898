import { performance } from 'node:perf_hooks';
import type { Answer } from './genai/answer.ts';
import { sumOfUsage, type Usage } from './token-usage.ts';

/** A request that is not over, the reading of its body included. */
export interface OpenRequest {
  startedAt: number;
  /** Milliseconds until the headers of its answer; undefined: they have not come. */
  headersMs?: number;
  /** Its body, where that is watched. */
  answer?: Answer;
}

/** Time and tokens of the requests that are made with one lease. Times by performance.now(). */
export class RequestFigures {
  readonly #open = new Set<OpenRequest>();
  /** When the first began; undefined: there was none. */
  #firstAt: number | undefined;
  /** When the last of those that are over ended. */
  #endedAt = 0;
  /** Of those that are over, together. */
  #tookMs = 0;
  #usage: Usage | undefined;

  begin(): OpenRequest {
    const request = { startedAt: performance.now() };
    this.#firstAt ??= request.startedAt;
    this.#open.add(request);
    return request;
  }

  over(request: OpenRequest): void {
    this.#open.delete(request);
    this.#endedAt = performance.now();
    this.#tookMs += tookMs(request, this.#endedAt);
    this.#usage = sumOfUsage(this.#usage, request.answer?.usage());
  }

  get open(): number {
    return this.#open.size;
  }

  /**
   * How long Gemini took for them, so far: not for what the function did before, between or after them, nor for its pauses in reading a
   * stream. Of those that are made at once, no more than from the first to the last. undefined: there was none.
   */
  get latencyMs(): number | undefined {
    if (this.#firstAt === undefined) return undefined;
    const now = performance.now();
    const open = [...this.#open].map((request) => tookMs(request, now));
    const all = open.reduce((sum, each) => sum + each, this.#tookMs);
    return Math.min(all, (open.length > 0 ? now : this.#endedAt) - this.#firstAt);
  }

  /** What Gemini said of their tokens, so far; undefined: nothing. */
  get usage(): Usage | undefined {
    return [...this.#open].reduce((sum, { answer }) => sumOfUsage(sum, answer?.usage()), this.#usage);
  }
}

function tookMs({ startedAt, headersMs, answer }: OpenRequest, now: number): number {
  return headersMs === undefined || answer === undefined ? now - startedAt : headersMs + answer.readMs;
}
