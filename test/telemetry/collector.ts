import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';
import { decode, type KeyValue } from './otlp-messages.ts';

export interface Span {
  traceId: string;
  spanId: string;
  parentSpanId: string | undefined;
  name: string;
  kind: number;
  status: { code: number } | undefined;
  attributes: Record<string, string | number>;
  resource: Record<string, string | number>;
}

export interface Metric {
  name: string;
  unit: string;
  kind: 'gauge' | 'sum';
  isMonotonic: boolean;
  points: { value: number; attributes: Record<string, string | number> }[];
  resource: Record<string, string | number>;
}

export interface LogLine {
  severity: number;
  level: string;
  body: string;
  traceId: string | undefined;
  spanId: string | undefined;
  attributes: Record<string, string | number>;
  resource: Record<string, string | number>;
}

/** How it answers: takes what comes, refuses it with a status, or never answers. */
export type Mood = 'takes' | 'hangs' | number;

/** An OpenTelemetry collector on a real port, which understands what it is sent. It goes with the test. */
export class Collector {
  readonly spans: Span[] = [];
  readonly logs: LogLine[] = [];
  /** Of the last sending. */
  metrics: Metric[] = [];
  /** Of each request that came. */
  readonly headers: IncomingMessage['headers'][] = [];
  /** All bodies, as they came. */
  readonly bodies: Buffer[] = [];
  mood: Mood = 'takes';
  url = '';
  readonly #server = createServer((request, response) => void this.#serve(request, response));

  static async start(port = 0): Promise<Collector> {
    const collector = new Collector();
    collector.#server.listen(port, '127.0.0.1');
    await once(collector.#server, 'listening');
    collector.url = `http://127.0.0.1:${(collector.#server.address() as AddressInfo).port}`;
    onTestFinished(() => collector.stop());
    return collector;
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.headers.push(request.headers);
    const body = await buffer(request);
    this.bodies.push(body);
    if (this.mood === 'hangs') return;
    if (this.mood === 'takes') this.#take(request.url ?? '', body);
    response.writeHead(this.mood === 'takes' ? 200 : this.mood, { 'content-type': 'application/x-protobuf' }).end();
  }

  #take(path: string, body: Buffer): void {
    switch (path) {
      case '/v1/traces':
        this.spans.push(...itemsOf<Span>(decode(body, 'Traces'), 'spans'));
        break;
      case '/v1/logs':
        for (const { body: said, ...line } of itemsOf<Omit<LogLine, 'body'> & { body: { is: unknown } }>(
          decode(body, 'Logs'),
          'records',
        )) {
          this.logs.push({ ...line, body: String(said.is) });
        }
        break;
      case '/v1/metrics':
        this.metrics = itemsOf<Metric & Record<'gauge' | 'sum', Points | undefined>>(
          decode(body, 'Metrics'),
          'metrics',
        ).map(({ gauge, sum, ...metric }) => ({
          ...metric,
          kind: gauge === undefined ? 'sum' : 'gauge',
          isMonotonic: sum?.isMonotonic === 1,
          points: (gauge ?? sum)!.points.map(withAttributes),
        }));
        break;
      default:
        throw new Error(`nothing is at ${path}`);
    }
  }
}

interface Points {
  points: { value: number; attributes: KeyValue[] }[];
  isMonotonic?: number;
}

type Raw = { attributes: KeyValue[] };
type Grouped = { resources: { resource: Raw; scopes: Record<string, Raw[]>[] }[] };

/** What is in all groups, each with what its resource says. */
function itemsOf<T>(message: Record<string, unknown>, name: string): T[] {
  return (message as unknown as Grouped).resources.flatMap(({ resource, scopes }) =>
    scopes.flatMap((scope) =>
      scope[name]!.map((item) => ({ ...withAttributes(item), resource: attributesOf(resource.attributes) }) as T),
    ),
  );
}

function withAttributes<T extends Partial<Raw>>(item: T): Omit<T, 'attributes'> & Pick<Span, 'attributes'> {
  return { ...item, attributes: attributesOf(item.attributes ?? []) };
}

function attributesOf(list: readonly KeyValue[]): Record<string, string | number> {
  return Object.fromEntries(list.map(({ key, value }) => [key, value.is]));
}
