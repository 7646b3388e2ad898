import { chmodSync, rmSync } from 'node:fs';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { Health } from '../../gen/grpc/health/v1/health_pb.ts';
import { OperatorService } from '../../gen/keybalancer/operator/v1/operator_pb.ts';
import { KeyAdminService, KeyBalancerService } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { ListenError } from '../listen-error.ts';
import type { ServiceFunctions } from '../service/service-functions.ts';
import type { Services } from '../service/services.ts';
import { HealthService } from './health-service.ts';
import { LIMITS } from './limits.ts';
import { addReflection } from './reflection.ts';
import { RunningCalls } from './running-calls.ts';
import { addService, type CallObserver } from './service-adapter.ts';

export interface GrpcServerOptions {
  /** undefined: only the socket. Port 0: a free one. */
  tcp: { host: string; port: number } | undefined;
  /** Path of the unix socket; undefined: none. */
  socket: string | undefined;
  services: Services;
  /** What the socket alone offers. */
  operator: ServiceFunctions<typeof OperatorService>;
  failed: CallObserver['failed'];
  watch?: CallObserver['watch'];
}

/** The gRPC door: TCP, and a unix socket in the data dir. Each is a server of its own, since they do not offer the same. */
export class GrpcServer {
  readonly #tcp = new Server(LIMITS);
  readonly #unix = new Server(LIMITS);
  readonly #health = new HealthService([KeyBalancerService.typeName, KeyAdminService.typeName]);
  readonly #socket: string | undefined;
  readonly #calls: RunningCalls;
  /** HOST:PORT; undefined without TCP. */
  address: string | undefined;

  private constructor({ services, operator, socket, failed, watch }: GrpcServerOptions) {
    this.#socket = socket;
    this.#calls = new RunningCalls(failed, watch);
    for (const server of [this.#tcp, this.#unix]) {
      addService(server, KeyBalancerService, services.keyBalancer, this.#calls);
      addService(server, KeyAdminService, services.keyAdmin, this.#calls);
      this.#health.addToServer(server);
    }
    addService(this.#unix, OperatorService, operator, this.#calls);
    addReflection(this.#tcp, [KeyBalancerService, KeyAdminService, Health]);
    addReflection(this.#unix, [KeyBalancerService, KeyAdminService, OperatorService, Health]);
  }

  static async start(options: GrpcServerOptions): Promise<GrpcServer> {
    const door = new GrpcServer(options);
    try {
      if (options.tcp !== undefined) {
        const { host, port } = options.tcp;
        const bound = await bind(door.#tcp, `${bracketed(host)}:${port}`);
        door.address = `${bracketed(host)}:${bound}`;
      }
      if (options.socket !== undefined) {
        // Left by an owner that was killed: whoever gets here holds the data dir's lock.
        rmSync(options.socket, { force: true });
        await bind(door.#unix, `unix:${options.socket}`);
        chmodSync(options.socket, 0o600);
      }
    } catch (error) {
      door.#forceShutdown();
      throw error;
    }
    return door;
  }

  serve(): void {
    this.#health.setServing(true);
  }

  /** Health says NOT_SERVING. Resolves when no call runs any more; new ones are still taken, such as reports. */
  drained(): Promise<void> {
    this.#health.setServing(false);
    return this.#calls.idle();
  }

  /** Stops listening and lets what is sent arrive; after `graceMs` cuts what is left. */
  async close(graceMs: number): Promise<void> {
    this.#health.endWatching();
    let cut: NodeJS.Timeout | undefined;
    await Promise.race([
      Promise.all([this.#tcp, this.#unix].map(shutDown)),
      new Promise<void>((resolve) => {
        cut = setTimeout(() => {
          this.#forceShutdown();
          // A client that reads nothing never closes its end: its connection goes with the process.
          setImmediate(resolve);
        }, graceMs);
      }),
    ]);
    clearTimeout(cut);
    if (this.#socket !== undefined) rmSync(this.#socket, { force: true });
  }

  #forceShutdown(): void {
    this.#tcp.forceShutdown();
    this.#unix.forceShutdown();
  }
}

function bind(server: Server, target: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(target, ServerCredentials.createInsecure(), (error, port) => {
      if (error) reject(new ListenError(target, error));
      else resolve(port);
    });
  });
}

function shutDown(server: Server): Promise<void> {
  return new Promise((resolve) => server.tryShutdown(() => resolve()));
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
