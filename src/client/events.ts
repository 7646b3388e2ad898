import type { ReasonName } from './errors.ts';

/** What happens to the calls of a client, for logs and metrics. Keys go by their ids; no event holds one. Times in milliseconds. */
export type ClientEvent = LeaseEvent | RetryEvent | ReportEvent | ExhaustedEvent;

interface OfRequest {
  /** What was asked of Gemini, such as "generateContent" or "files.get". */
  method: string;
  /** Without "models/"; "": the request names none, or none that limits are counted by. */
  model: string;
}

/** A key was had. */
export interface LeaseEvent extends OfRequest {
  type: 'lease';
  keyId: string;
  /** "": unknown. */
  project: string;
  /** Time until it was had. */
  waitedMs: number;
  /** 0 for the first try of the request. */
  attempt: number;
}

/** Another try follows. */
export interface RetryEvent extends OfRequest {
  type: 'retry';
  /** The key of the try that failed. */
  keyId: string;
  errorClass: string;
  /** Pause before the try. */
  delayMs: number;
  /** Of the try that follows: 1 for the second. */
  attempt: number;
  /** Whether it looks for the project of a file or another resource that the request names. */
  search: boolean;
}

/** What came of a lease is on its way to the balancer. */
export interface ReportEvent extends OfRequest {
  type: 'report';
  keyId: string;
  outcome: 'success' | 'failure' | 'unused';
  /** ErrorClass name; "": none; "UNKNOWN": the balancer did not say in time. */
  errorClass: string;
  /** HTTP status of the answer; 0: none came. */
  httpStatus: number;
  /** Time that Gemini took; pauses of whoever reads a stream are not its time. */
  latencyMs: number;
  inputTokens: number;
  outputTokens: number;
}

/** No key could be had, so the request ends. */
export interface ExhaustedEvent extends OfRequest {
  type: 'exhausted';
  reason: ReasonName;
  /** When a repeat may succeed; undefined: unknown. */
  retryAfterMs: number | undefined;
  /** Tries that were made. */
  attempts: number;
}
