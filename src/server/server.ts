import type { Logger } from 'pino';
import { socketPath } from '../store/data-dir.ts';
import type { MasterKeySource } from '../store/master-key.ts';
import { openStore } from '../store/open-store.ts';
import { checkExposure } from './config/exposure.ts';
import type { LiveConfig } from './config/live-config.ts';
import { createGeminiProbe } from './gemini-probe.ts';
import { GrpcServer } from './grpc/grpc-server.ts';
import type { HttpServer } from './http/http-server.ts';
import { createOperatorService } from './operator/operator-service.ts';
import type { ServiceContext } from './service/service-context.ts';
import { createServices } from './service/services.ts';
import type { Telemetry } from './telemetry/telemetry.ts';
import { type CallFields, createWatchCalls } from './telemetry/watch-calls.ts';
import { VERSION } from './version.ts';

export interface ServerOptions {
  dataDir: string;
  /** undefined: off. Port 0: a free one. */
  grpc: { host: string; port: number } | undefined;
  http: { host: string; port: number } | undefined;
  durability: 'full' | 'normal';
  masterKey: MasterKeySource;
  /** Serve addresses other than loopback without TLS. */
  insecure: boolean;
  /** Where Gemini is, for what the server asks it itself. */
  geminiBaseUrl: string;
  /** Whether it asks before a suspected key is disabled; else the report decides. */
  verify: boolean;
  logger: Logger;
  /** What an operator can change while it runs. Default: nothing. */
  config?: LiveConfig;
  /** Default: none is sent. */
  telemetry?: Telemetry | undefined;
}

/** Calls that run get so long to end, and what they answered so long to arrive: 2 s less than 10 s, for the last commit. */
const DRAIN_MS = 7_000;
const CLOSE_MS = 1_000;

/** A server that serves. */
export class RunningServer {
  /** HOST:PORT of each door; undefined where it is off. */
  readonly grpc: string | undefined;
  readonly http: string | undefined;
  readonly socket: string | undefined;
  readonly #stop: () => Promise<void>;
  #stopping: Promise<void> | undefined;

  constructor(addresses: Pick<RunningServer, 'grpc' | 'http' | 'socket'>, stop: () => Promise<void>) {
    this.grpc = addresses.grpc;
    this.http = addresses.http;
    this.socket = addresses.socket;
    this.#stop = stop;
  }

  /** Stops in good order, within 10 s: refuses new leases, lets running calls end, commits, closes. */
  drain(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }
}

/** Opens the store and the doors. Rejects with an error that says what to do; then nothing is left open. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { logger, dataDir, telemetry } = options;
  checkExposure(options);
  // Before the store counts anything: its counters are told of as counted since then.
  const startTime = Date.now();
  const store = await openStore({
    dataDir,
    durability: options.durability,
    masterKey: options.masterKey,
    verify: options.verify,
    probe: createGeminiProbe({ baseUrl: options.geminiBaseUrl }),
    warn: (message) => logger.warn(message),
  });
  const draining = new AbortController();
  const context: ServiceContext = {
    store,
    version: VERSION,
    startTime,
    draining: draining.signal,
    open: { watchers: 0, sessions: 0 },
  };
  let grpc: GrpcServer | undefined;
  let http: HttpServer | undefined;
  try {
    const services = createServices(context);
    const socket = socketPath(dataDir);
    if (socket === undefined) logger.warn({ dataDir }, 'the path of the data dir is too long for a unix socket in it');
    const watch = createWatchCalls(logger, telemetry?.tracing);
    const failed = (method: string, err: unknown, call?: CallFields): void =>
      logger.error({ method, ...call, err }, 'a call failed inside');
    const perKey = (): boolean => options.config?.metricsPerKey ?? false;
    const operator = createOperatorService({ maintenance: store.maintenance, config: options.config });
    grpc = await GrpcServer.start({ tcp: options.grpc, socket, services, operator, failed, watch });
    if (options.http !== undefined) {
      // Hundreds of modules, which a server without this door starts sooner without.
      const { startHttpServer } = await import('./http/http-server.ts');
      http = await startHttpServer({
        ...options.http,
        services,
        context,
        metricsPerKey: perKey,
        watch,
        ready: () => !draining.signal.aborted,
        onError: (error, call) => failed('http', error, call),
      });
    }
    const addresses = { grpc: grpc.address, http: http?.address, socket };
    await store.announce(Object.fromEntries(Object.entries(addresses).filter(([, value]) => value !== undefined)));
    grpc.serve();
    const [grpcDoor, httpDoor] = [grpc, http];
    const figures = telemetry && new (await import('./metrics/server-figures.ts')).ServerFigures(context, perKey);
    const endMetrics = figures && telemetry.sendMetrics(figures);
    return new RunningServer(addresses, async () => {
      const deadline = AbortSignal.timeout(DRAIN_MS);
      store.drain();
      draining.abort();
      httpDoor?.drain();
      await Promise.race([grpcDoor.drained(), aborted(deadline)]);
      // The last figures while the store still has them.
      await Promise.all([grpcDoor.close(CLOSE_MS), httpDoor?.close(), endMetrics?.()]);
      figures?.close();
      await store.close();
    });
  } catch (error) {
    await Promise.all([grpc?.close(0), http?.close()]);
    await store.close();
    throw error;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
