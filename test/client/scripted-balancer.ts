import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Server, ServerCredentials, type ServerOptions } from '@grpc/grpc-js';
import { onTestFinished } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { connectRemote, type RemoteOptions } from '../../src/client/remote.ts';
import {
  AcquireKeyResponseSchema,
  KeyBalancerService,
  type Operation,
  type OperationResultSchema,
  ReportResultResponseSchema,
  type SessionRequest,
  type SessionResponse,
  SessionResponseSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { addService } from '../../src/server/grpc/service-adapter.ts';
import type { ServiceFunctions } from '../../src/server/service/service-functions.ts';

export type Functions = ServiceFunctions<typeof KeyBalancerService>;

export interface Listening {
  address: string;
  server: Server;
}

/** A gRPC server of these functions, until the test ends. What is missing answers UNIMPLEMENTED. */
export async function listen(
  functions: Functions,
  { target = '127.0.0.1:0', credentials = ServerCredentials.createInsecure(), options = {} as ServerOptions } = {},
): Promise<Listening> {
  const server = new Server(options);
  addService(server, KeyBalancerService, functions, { started() {}, ended() {}, failed() {} });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(target, credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  onTestFinished(() => server.forceShutdown());
  const host = target.startsWith('unix:') ? target : `${target.slice(0, target.lastIndexOf(':'))}:${port}`;
  return { address: host, server };
}

export function remote(address: string | readonly string[], options: RemoteOptions = {}): Balancer {
  const balancer = connectRemote(address, options);
  onTestFinished(() => balancer.close());
  return balancer;
}

type ResultInit = MessageInitShape<typeof OperationResultSchema>['result'];

/** The server's side of Session streams, as a test plays it. Answers nothing by itself, unless `obliging`. */
export class SessionDesk {
  /** Operations of each message, of all streams. */
  readonly messages: Operation[][] = [];
  readonly streams: DeskStream[] = [];
  /** Whether each operation is answered at once. */
  obliging = false;
  /** Operations open at once, at most: all, and acquires that wait. */
  mostOpen = 0;
  mostWaiting = 0;
  settings = { maxOpenOperations: 10_000, maxWaiting: 1_000 };

  readonly session: NonNullable<Functions['session']> = (requests) => {
    const stream = new DeskStream(this, requests);
    this.streams.push(stream);
    return stream.responses();
  };

  get operations(): Operation[] {
    return this.messages.flat();
  }

  /** Those of a kind. */
  of(kind: Operation['operation']['case']): Operation[] {
    return this.operations.filter(({ operation }) => operation.case === kind);
  }

  get last(): DeskStream {
    return this.streams.at(-1)!;
  }
}

export class DeskStream {
  readonly operations: Operation[] = [];
  /** Whether the client has said that it sends no more. */
  finished = false;
  readonly #desk: SessionDesk;
  readonly #requests: AsyncIterable<SessionRequest>;
  readonly #responses: SessionResponse[] = [];
  readonly #open = new Map<bigint, Operation>();
  #wake = (): void => {};
  #end: { error: unknown } | 'ended' | undefined;

  constructor(desk: SessionDesk, requests: AsyncIterable<SessionRequest>) {
    this.#desk = desk;
    this.#requests = requests;
    this.say({ settings: desk.settings });
    void this.#read().catch(() => {});
  }

  async *responses(): AsyncGenerator<SessionResponse> {
    for (;;) {
      const next = this.#responses.shift();
      if (next !== undefined) yield next;
      else if (this.#end === 'ended') return;
      else if (this.#end !== undefined) throw this.#end.error;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  say(response: MessageInitShape<typeof SessionResponseSchema>): void {
    this.#responses.push(create(SessionResponseSchema, response));
    this.#wake();
  }

  answer(...operations: Operation[]): void {
    this.say({ results: operations.map((operation) => this.#resultOf(operation, answerOf(operation))) });
  }

  end(error?: unknown): void {
    this.#end = error === undefined ? 'ended' : { error };
    this.#wake();
  }

  #resultOf({ correlationId }: Operation, result: ResultInit) {
    this.#open.delete(correlationId);
    return { correlationId, result: result! };
  }

  async #read(): Promise<void> {
    for await (const { operations } of this.#requests) {
      this.#desk.messages.push(operations);
      this.operations.push(...operations);
      for (const operation of operations) {
        if (operation.operation.case === 'cancel') continue;
        this.#open.set(operation.correlationId, operation);
      }
      const waiting = [...this.#open.values()].filter(isWaiting).length;
      this.#desk.mostOpen = Math.max(this.#desk.mostOpen, this.#open.size);
      this.#desk.mostWaiting = Math.max(this.#desk.mostWaiting, waiting);
      if (this.#desk.obliging) this.answer(...operations.filter(({ operation }) => operation.case !== 'cancel'));
    }
    this.finished = true;
    this.end();
  }
}

export function isWaiting({ operation }: Operation): boolean {
  return operation.case === 'acquire' && operation.value.maxWait !== undefined;
}

/** A lease named after its operation; a report's success. */
export function answerOf({ correlationId, operation }: Operation): NonNullable<ResultInit> {
  if (operation.case === 'acquire') {
    const lease = { leaseId: `lease-${operation.value.model || correlationId}`, keyId: 'key' };
    return { case: 'acquire', value: create(AcquireKeyResponseSchema, { lease }) };
  }
  if (operation.case === 'report') return { case: 'report', value: create(ReportResultResponseSchema) };
  return { case: 'renew', value: { ttl: { seconds: 1n } } };
}

/** What KeyBalancer has warned of, while the test runs. */
export function warned(): string[] {
  const warnings: string[] = [];
  const listener = (warning: Error): void => {
    if (warning.name === 'KeyBalancerWarning') warnings.push(warning.message);
  };
  process.on('warning', listener);
  onTestFinished(() => void process.off('warning', listener));
  return warnings;
}
