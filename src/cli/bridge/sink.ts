import type { BridgeEvent } from './event.ts';

/** One request to a sink. */
export interface SinkRequest {
  headers: Record<string, string>;
  body: string | Uint8Array;
}

/** Where events go: what a request to it looks like. How it is sent, and again, is Delivery's part. */
export interface Sink {
  readonly url: URL;
  request(events: readonly BridgeEvent[]): SinkRequest;
  /** Of a batch that was taken: events that it will not keep, and why, by the answer's body. It must not be sent those again. */
  refused(body: Uint8Array): { count: number; why: string } | undefined;
}
