import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { formatHostPort, isLoopback } from '../host-port.ts';
import { ListenError } from '../listen-error.ts';
import { createMetrics } from '../metrics/metrics.ts';
import type { ServiceContext } from '../service/service-context.ts';
import type { Services } from '../service/services.ts';
import type { WatchCalls } from '../telemetry/watch-calls.ts';
import { connectRoutes, type OnFault } from './connect-routes.ts';
import { sendJson, sendRefusal } from './json-reply.ts';
import { foreignPage } from './origin-guard.ts';
import { serveRpc } from './rpc.ts';

export interface HttpServerOptions {
  host: string;
  /** 0: a free one. */
  port: number;
  services: Services;
  /** What /metrics reads. */
  context: ServiceContext;
  /** Whether /metrics has series of single keys, asked at each scrape. Default: it has none. */
  metricsPerKey?: () => boolean;
  /** What /readyz says. */
  ready: () => boolean;
  /** Told of faults of this program; refusals are none. */
  onError?: OnFault;
  /** Asked of each RPC as it begins. Default: nobody is. */
  watch?: WatchCalls;
  /** How long after the drain began calls may still run. Default: 8.5 s, so that all of a stop takes less than 10 s. */
  lingerMs?: number;
}

/** The HTTP door: the services by Connect and gRPC-Web, and what operators look at. */
export interface HttpServer {
  /** HOST:PORT, with brackets around an IPv6 host. */
  readonly address: string;
  /** Not ready any more: connections end with their next answer. Calls are still served. */
  drain(): void;
  /** Stops listening, lets running calls end, and cuts those that have not ended lingerMs after the drain began. */
  close(): Promise<void>;
}

const DEFAULT_LINGER_MS = 8_500;

/** How slowly a client may send, so that it cannot hold connections open for nothing. */
const LIMITS = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 2_000,
  maxHeaderSize: 16 * 1024,
};

export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const door = new Door(options);
  await door.listen();
  return door;
}

class Door implements HttpServer {
  address = '';
  readonly #options: HttpServerOptions;
  readonly #server: Server = createServer(LIMITS, (request, response) => this.#serve(request, response));
  readonly #routes: ReturnType<typeof connectRoutes>;
  readonly #metrics: ReturnType<typeof createMetrics>;
  readonly #loopback: boolean;
  /** How many requests run on each connection. */
  readonly #running = new Map<Socket, number>();
  #drainingSince: number | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#loopback = isLoopback(options.host);
    this.#routes = connectRoutes(options.services, this.#fault, options.watch);
    this.#metrics = createMetrics(options.context, options.metricsPerKey ?? (() => false));
    this.#server.on('connection', (socket: Socket) => {
      this.#running.set(socket, 0);
      socket.once('close', () => this.#running.delete(socket));
    });
  }

  readonly #fault: OnFault = (error, call) => this.#options.onError?.(error, call);

  async listen(): Promise<void> {
    const { host, port } = this.#options;
    this.#server.listen(port, host);
    try {
      await once(this.#server, 'listening');
    } catch (error) {
      this.#metrics.close();
      throw new ListenError(formatHostPort({ host, port }), error as Error);
    }
    this.address = formatHostPort({ host, port: (this.#server.address() as AddressInfo).port });
  }

  drain(): void {
    this.#drainingSince ??= performance.now();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.drain();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const [socket, running] of this.#running) if (running === 0) socket.destroy();
    const { lingerMs = DEFAULT_LINGER_MS } = this.#options;
    const left = this.#drainingSince! + lingerMs - performance.now();
    const cut = setTimeout(() => this.#server.closeAllConnections(), Math.max(0, left));
    await closed;
    clearTimeout(cut);
    this.#metrics.close();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    this.#count(request.socket, response);
    if (this.#drainingSince !== undefined) response.shouldKeepAlive = false;
    // Answers carry keys and states: no cache may keep them, no browser may take them for a page.
    response.setHeader('cache-control', 'no-store');
    response.setHeader('x-content-type-options', 'nosniff');
    this.#route(request, response).catch((error: unknown) => {
      this.#fault(error);
      if (response.headersSent) response.destroy();
      else
        sendRefusal(response, { status: 500, code: 'internal', message: 'internal error; the server log says more' });
    });
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refusal = foreignPage(request.headers, this.#loopback);
    if (refusal !== undefined) return sendRefusal(response, refusal);
    const path = request.url?.split('?', 1)[0] ?? '';
    const handler = this.#routes.get(path);
    if (handler !== undefined) return serveRpc(handler, request, response, this.#fault);
    const page = this.#pages[path];
    if (page === undefined) return sendRefusal(response, unknownPath(path));
    if (request.method === 'GET' || request.method === 'HEAD') return page(response);
    sendRefusal(response, {
      status: 405,
      code: 'unimplemented',
      message: `${path} takes GET, not ${request.method}`,
      headers: { allow: 'GET, HEAD' },
    });
  }

  readonly #pages: Record<string, (response: ServerResponse) => void | Promise<void>> = {
    '/healthz': (response) => sendJson(response, 200, { status: 'ok' }),
    '/readyz': (response) => {
      const ready = this.#drainingSince === undefined && this.#options.ready();
      sendJson(response, ready ? 200 : 503, { status: ready ? 'ready' : 'not ready' });
    },
    '/metrics': async (response) => {
      const text = await this.#metrics.text();
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
      response.end(text);
    },
  };

  /** A connection whose last request has ended goes when the door closes, whatever its client would like. */
  #count(socket: Socket, response: ServerResponse): void {
    this.#running.set(socket, (this.#running.get(socket) ?? 0) + 1);
    response.once('close', () => {
      const running = (this.#running.get(socket) ?? 1) - 1;
      if (socket.destroyed) return;
      this.#running.set(socket, running);
      if (running === 0 && this.#closing !== undefined) socket.destroySoon();
    });
  }
}

function unknownPath(path: string): { status: number; code: string; message: string } {
  return {
    status: 404,
    // What clients of Connect make of a method that the server does not know.
    code: 'unimplemented',
    message:
      `nothing is at ${JSON.stringify(path.length > 120 ? `${path.slice(0, 120)}…` : path)}; ` +
      'there are POST /keybalancer.v1.KeyBalancerService/METHOD, POST /keybalancer.v1.KeyAdminService/METHOD, ' +
      'GET /healthz, /readyz and /metrics',
  };
}
