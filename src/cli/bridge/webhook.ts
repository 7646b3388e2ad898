import { createHmac } from 'node:crypto';
import { WatchHealthResponseSchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { messageJson } from '../json.ts';
import type { BridgeEvent, Gap } from './event.ts';
import type { Sink, SinkRequest } from './sink.ts';

/** Begins secrets that are given in base64. */
const BASE64_SECRET = 'whsec_';

/** A URL that takes events as JSON, signed as Standard Webhooks has it where there is a secret. docs/bridge.md describes the body. */
export class Webhook implements Sink {
  readonly url: URL;
  readonly #server: string;
  readonly #secret: Buffer | undefined;

  /** `server`: which balancer it is, for the receiver. */
  constructor(url: URL, { server, secret }: { server: string; secret: string | undefined }) {
    this.url = url;
    this.#server = server;
    this.#secret = secret === undefined ? undefined : secretBytes(secret);
  }

  request(events: readonly BridgeEvent[]): SinkRequest {
    const now = Date.now();
    const body = JSON.stringify({
      source: 'keybalancer',
      server: this.#server,
      sentAt: new Date(now).toISOString(),
      events: events.map(eventJson),
    });
    // The same each time the batch is sent, as a receiver that keeps ids expects.
    const id = `${events[0]!.id}.${events.length}`;
    const timestamp = String(Math.floor(now / 1000));
    const headers = { 'content-type': 'application/json', 'webhook-id': id, 'webhook-timestamp': timestamp };
    if (this.#secret === undefined) return { headers, body };
    const signature = createHmac('sha256', this.#secret).update(`${id}.${timestamp}.${body}`).digest('base64');
    return { headers: { ...headers, 'webhook-signature': `v1,${signature}` }, body };
  }

  refused(): undefined {
    return undefined;
  }
}

/** WatchHealthResponse in protobuf JSON, with an id in place of the token, which is the bridge's own. */
function eventJson({ id, told }: BridgeEvent): unknown {
  if ('gap' in told) return { id, ...gapJson(told.gap) };
  const { resumeToken: _, ...event } = messageJson(WatchHealthResponseSchema, told.health) as Record<string, unknown>;
  return { id, ...event };
}

function gapJson({ reason, time, changes }: Gap): object {
  return { eventTime: new Date(time).toISOString(), gap: { reason, changes } };
}

function secretBytes(secret: string): Buffer {
  return secret.startsWith(BASE64_SECRET)
    ? Buffer.from(secret.slice(BASE64_SECRET.length), 'base64')
    : Buffer.from(secret);
}
