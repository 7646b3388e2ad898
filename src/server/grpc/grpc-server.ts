import { chmodSync, rmSync } from 'node:fs';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { Health } from '../../gen/grpc/health/v1/health_pb.ts';
import { KeyAdminService, KeyBalancerService } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { ListenError } from '../listen-error.ts';
import type { Services } from '../service/services.ts';
import { HealthService } from './health-service.ts';
import { LIMITS } from './limits.ts';
import { addReflection } from './reflection.ts';
import { RunningCalls } from './running-calls.ts';
import { addService } from './service-adapter.ts';

export interface GrpcServerOptions {
  /** undefined: only the socket. Port 0: a free one. */
  tcp: { host: string; port: number } | undefined;
  /** Path of the unix socket; undefined: none. */
  socket: string | undefined;
  services: Services;
  failed: (method: string, error: unknown) => void;
}

/** The gRPC door: TCP and a unix socket in the data dir. */
export class GrpcServer {
  readonly #server = new Server(LIMITS);
  readonly #health = new HealthService([KeyBalancerService.typeName, KeyAdminService.typeName]);
  readonly #socket: string | undefined;
  readonly #calls: RunningCalls;
  /** HOST:PORT; undefined without TCP. */
  address: string | undefined;

  private constructor({ services, socket, failed }: GrpcServerOptions) {
    this.#socket = socket;
    this.#calls = new RunningCalls(failed);
    addService(this.#server, KeyBalancerService, services.keyBalancer, this.#calls);
    addService(this.#server, KeyAdminService, services.keyAdmin, this.#calls);
    this.#health.addToServer(this.#server);
    addReflection(this.#server, [KeyBalancerService, KeyAdminService, Health]);
  }

  static async start(options: GrpcServerOptions): Promise<GrpcServer> {
    const door = new GrpcServer(options);
    try {
      if (options.tcp !== undefined) {
        const { host, port } = options.tcp;
        const bound = await door.#bind(`${bracketed(host)}:${port}`);
        door.address = `${bracketed(host)}:${bound}`;
      }
      if (options.socket !== undefined) {
        // Left by an owner that was killed: whoever gets here holds the data dir's lock.
        rmSync(options.socket, { force: true });
        await door.#bind(`unix:${options.socket}`);
        chmodSync(options.socket, 0o600);
      }
    } catch (error) {
      door.#server.forceShutdown();
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
      new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve())),
      new Promise<void>((resolve) => {
        cut = setTimeout(() => {
          this.#server.forceShutdown();
          // A client that reads nothing never closes its end: its connection goes with the process.
          setImmediate(resolve);
        }, graceMs);
      }),
    ]);
    clearTimeout(cut);
    if (this.#socket !== undefined) rmSync(this.#socket, { force: true });
  }

  #bind(target: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(target, ServerCredentials.createInsecure(), (error, port) => {
        if (error) reject(new ListenError(target, error));
        else resolve(port);
      });
    });
  }
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
