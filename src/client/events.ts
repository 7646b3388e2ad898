import type { ReasonName } from './errors.ts';

/** What happens to the calls of a client, for logs and metrics. Keys go by their ids; no event holds one. Times in milliseconds. */
export type ClientEvent = LeaseEvent | RetryEvent | ReportEvent | ExhaustedEvent;

interface OfRequest {
  /**
   * What was asked of Gemini, such as "generateContent" or "files.get"; "executeWithRetry" for a function of it or of withRetry(), "lease"
   * for a key of lease() or leaseBatches().
   */
  method: string;
  /** Without "models/"; "": the request names none, or none that limits are counted by. */
  model: string;
}

/** A key was had. */
export interface LeaseEvent extends OfRequest {
  /** Tells the events apart. */
  type: 'lease';
  /** The key's id, not the key; "fallback": the fallback key. */
  keyId: string;
  /** Google Cloud project of the key; "": unknown. */
  project: string;
  /** Milliseconds until it was had. */
  waitedMs: number;
  /** 0 for the first try of the request. */
  attempt: number;
}

/** Another try follows. */
export interface RetryEvent extends OfRequest {
  /** Tells the events apart. */
  type: 'retry';
  /** The key of the try that failed. */
  keyId: string;
  /** ErrorClass name of that failure, such as "KEY_INVALID"; "UNKNOWN": the balancer did not say in time. */
  errorClass: string;
  /** Milliseconds of pause before the try. */
  delayMs: number;
  /** Of the try that follows: 1 for the second. */
  attempt: number;
  /** Whether it looks for the project of a file or another resource that the request names. */
  search: boolean;
}

/** What came of a lease is on its way to the balancer. */
export interface ReportEvent extends OfRequest {
  /** Tells the events apart. */
  type: 'report';
  /** The key's id, not the key. */
  keyId: string;
  /** How the lease ended; "unused": nothing was asked of Gemini with it. */
  outcome: 'success' | 'failure' | 'unused';
  /** ErrorClass name; "": none; "UNKNOWN": the balancer did not say in time. */
  errorClass: string;
  /** HTTP status of the answer, of a function the last one's; 0: none came. */
  httpStatus: number;
  /** Milliseconds that Gemini took, of a function for all of its requests; pauses of whoever reads a stream are not its time. */
  latencyMs: number;
  /** Tokens of the request, or of all requests of a function, as Gemini counted them; 0: it did not say. */
  inputTokens: number;
  /** Tokens of the answer, thoughts included; 0: it did not say. */
  outputTokens: number;
}

/** No key could be had, so the request ends. */
export interface ExhaustedEvent extends OfRequest {
  /** Tells the events apart. */
  type: 'exhausted';
  /** Why, such as "NO_KEY_AVAILABLE", "POOL_EMPTY" or "BALANCER_AWAY". */
  reason: ReasonName;
  /** Milliseconds until a repeat may succeed; undefined: unknown. */
  retryAfterMs: number | undefined;
  /** Tries that were made. */
  attempts: number;
}
