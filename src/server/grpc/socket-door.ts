import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { OperatorService } from '../../gen/keybalancer/operator/v1/operator_pb.ts';
import { KeyAdminService, KeyBalancerService } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { ServiceFunctions } from '../service/service-functions.ts';
import type { Services } from '../service/services.ts';
import { LIMITS } from './limits.ts';
import { RunningCalls } from './running-calls.ts';
import { addService, type CallObserver } from './service-adapter.ts';

export interface SocketDoorOptions {
  /** Path of the unix socket. */
  socket: string;
  services: Services;
  operator: ServiceFunctions<typeof OperatorService>;
  failed: CallObserver['failed'];
}

/**
 * The gRPC door of a process that has other work to do: only the unix socket of a data dir. Nothing of it keeps the process
 * alive, so it listens itself and passes the connections on.
 */
export class SocketDoor {
  readonly #calls: RunningCalls;
  readonly #grpc = new Server(LIMITS);
  readonly #connections = this.#grpc.createConnectionInjector(ServerCredentials.createInsecure());
  readonly #sockets = new Set<Socket>();
  readonly #listener: NetServer;

  private constructor({ services, operator, failed }: SocketDoorOptions) {
    this.#calls = new RunningCalls(failed);
    addService(this.#grpc, KeyBalancerService, services.keyBalancer, this.#calls);
    addService(this.#grpc, KeyAdminService, services.keyAdmin, this.#calls);
    addService(this.#grpc, OperatorService, operator, this.#calls);
    this.#listener = createServer((socket) => {
      socket.unref();
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      this.#connections.injectConnection(socket);
    }).unref();
  }

  /** Rejects with the system's error where the file system has no sockets. */
  static async open(options: SocketDoorOptions): Promise<SocketDoor> {
    const { socket } = options;
    const door = new SocketDoor(options);
    // Left by an owner that was killed: whoever gets here holds the data dir's lock.
    rmSync(socket, { force: true });
    try {
      await door.#listen(socket);
    } catch (error) {
      door.#grpc.forceShutdown();
      throw error;
    }
    chmodSync(socket, 0o600);
    closeAtExit(door.#listener);
    return door;
  }

  /** Stops listening and tells those who joined to go; what runs gets `graceMs` to end and to arrive. */
  async close(graceMs: number): Promise<void> {
    // Takes the socket's file away at once, while the lock is still held: the next owner makes its own.
    notAtExit(this.#listener);
    this.#listener.close();
    this.#connections.drain(graceMs);
    await within(graceMs, Promise.all(Array.from(this.#sockets, closed)));
    for (const socket of this.#sockets) socket.destroy();
    // Calls that were cut give back what nobody got.
    await within(graceMs, this.#calls.idle());
    this.#grpc.forceShutdown();
  }

  #listen(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#listener.once('error', reject);
      this.#listener.listen({ path }, () => {
        this.#listener.off('error', reject);
        resolve();
      });
    });
  }
}

const atExit = new Set<NetServer>();

/**
 * A process that ends gives its lock back before Node takes the files of open sockets away: what it took away then could be the
 * next owner's.
 */
function closeAtExit(listener: NetServer): void {
  if (atExit.size === 0) process.on('exit', closeAll);
  atExit.add(listener);
}

function notAtExit(listener: NetServer): void {
  atExit.delete(listener);
  if (atExit.size === 0) process.off('exit', closeAll);
}

function closeAll(): void {
  for (const listener of atExit) listener.close();
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([promise, over]);
  clearTimeout(timer);
}
