import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

/** One request that a sink got. */
export interface SinkCall {
  path: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** How a sink answers: with a status, or by hand. undefined: 200. */
export type SinkAnswer = number | ((response: ServerResponse) => void) | undefined;

/** A real HTTP server that takes what a bridge sends, and answers as the test wants. Ends with the test. */
export class SinkServer {
  /** Each in its turn; `answer` decides. */
  readonly calls: SinkCall[] = [];
  /** Of those that were answered with 200 by this class. */
  readonly taken: SinkCall[] = [];
  answer: (call: SinkCall) => SinkAnswer = () => undefined;
  #server: Server | undefined;
  #port = 0;

  static async start(): Promise<SinkServer> {
    const sink = new SinkServer();
    await sink.open();
    onTestFinished(() => sink.close());
    return sink;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** On the port that it had before. */
  async open(): Promise<void> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('error', () => {});
      request.on('end', () => {
        this.#called({ path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks) }, response);
      });
    });
    this.#server = server;
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
  }

  /** As a process that is killed: connections and all. */
  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }

  #called(call: SinkCall, response: ServerResponse): void {
    this.calls.push(call);
    const answer = this.answer(call);
    if (typeof answer === 'function') answer(response);
    else if (answer === undefined || answer === 200) {
      this.taken.push(call);
      response.writeHead(200).end();
    } else response.writeHead(answer).end();
  }
}

/** An event as a webhook gets it. */
export interface WebhookEvent {
  id: string;
  eventTime: string;
  change?: {
    kind: string;
    pool: string;
    key?: { keyId: string; state: string };
    previousState: string;
    merged: string;
  };
  snapshot?: { keys: { keyId: string; state: string }[]; pools: { pool: string }[]; more: boolean; reset: boolean };
  gap?: { reason: string; changes: number };
}

export function eventsOf({ body }: SinkCall): WebhookEvent[] {
  return (JSON.parse(body.toString()) as { events: WebhookEvent[] }).events;
}
