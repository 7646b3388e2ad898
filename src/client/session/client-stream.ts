import { performance } from 'node:perf_hooks';
import { clearTimeout, setImmediate, setTimeout } from 'node:timers';
import { fromBinary, type Message } from '@bufbuild/protobuf';
import { durationMs } from '@bufbuild/protobuf/wkt';
import type { ClientDuplexStream, Metadata, StatusObject } from '@grpc/grpc-js';
import {
  type OperationResult,
  type SessionResponse,
  SessionResponseSchema,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Endpoint } from '../endpoints.ts';
import { KeyBalancerError } from '../errors.ts';
import type { Operation } from './operation.ts';
import { refusal } from './refusal.ts';
import { cancelBytes, messagesOf } from './request-bytes.ts';

const PATH = '/keybalancer.v1.KeyBalancerService/Session';

/** What is sent on a stream of a server that has not said what it allows: any has room for so much. */
const FIRST_LIMITS = { open: 100, waiting: 100 };
/** Connecting included. */
const SETTINGS_MS = 5_000;
/** Without any operation; then the stream ends, so that it keeps no process alive. Another is opened with the next operation. */
const IDLE_MS = 500;
/** For a server to end a stream that it should, beyond the grace that it named itself. */
const END_MS = 1_000;

export interface StreamEvents {
  settings(stream: ClientStream): void;
  /** More may be sent. */
  room(): void;
  goAway(stream: ClientStream): void;
  /** A lease came for nobody. */
  orphan(leaseId: string): void;
  ended(stream: ClientStream, end: StreamEnd): void;
}

export interface StreamEnd {
  /** undefined: no settings came in time. */
  status: StatusObject | undefined;
  /** Without answers, given up or not. */
  open: readonly Operation[];
  livedMs: number;
}

/**
 * One Session stream.
 *
 * open --server says go away--> leaving (for reports only) --server ends, or the grace is over--> ended
 *   \__ nothing to do, or closed --> ending ____________________/
 */
export class ClientStream {
  readonly endpoint: Endpoint;
  /** Whether the server's settings came. */
  heard = false;
  /** Whether anything more may be sent. */
  usable = true;
  readonly #events: StreamEvents;
  readonly #call: ClientDuplexStream<Buffer, SessionResponse>;
  readonly #open = new Map<bigint, Operation>();
  readonly #startedAt = performance.now();
  #limits = FIRST_LIMITS;
  #waiting = 0;
  #lastId = 0n;
  #ended = false;
  #emptySince = this.#startedAt;
  #idle: NodeJS.Timeout | undefined;
  /** Ends what the server should have ended. */
  #guard: NodeJS.Timeout;

  constructor(endpoint: Endpoint, metadata: Metadata, events: StreamEvents) {
    this.endpoint = endpoint;
    this.#events = events;
    this.#call = endpoint.client.makeBidiStreamRequest(
      PATH,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => fromBinary(SessionResponseSchema, bytes),
      metadata,
    );
    this.#call.on('data', (response: SessionResponse) => this.#receive(response));
    // Comes with a status, which says it all.
    this.#call.on('error', () => {});
    // What came before the status may still be on its way through the stream.
    this.#call.on('status', (status: StatusObject) => setImmediate(() => this.#end(status)));
    this.#guard = setTimeout(() => this.#end(undefined), SETTINGS_MS).unref();
    this.#restWhenIdle();
  }

  /** Operations that have no answer yet. */
  get size(): number {
    return this.#open.size;
  }

  get room(): number {
    return Math.max(0, this.#limits.open - this.#open.size);
  }

  /** For acquires that wait; a part of all room is never theirs. */
  get waitingRoom(): number {
    const most = Math.min(this.#limits.waiting, this.#limits.open - Math.ceil(this.#limits.open / 10));
    return Math.min(this.room, Math.max(0, most - this.#waiting));
  }

  /** Gives back what fits into no message. */
  send(operations: readonly Operation[]): Operation[] {
    if (operations.length === 0) return [];
    const { messages, unfit } = messagesOf(operations, (operation) => this.#add(operation));
    for (const message of messages) this.#call.write(message);
    for (const [id, operation] of unfit) this.#delete(id, operation);
    return unfit.map(([, operation]) => operation);
  }

  /** Sends no more; the answers of what is open still come. */
  finish(): void {
    if (!this.usable) return;
    this.usable = false;
    this.#call.end();
    this.#guardFor(END_MS);
  }

  /** Their callers need acquires no more; a lease that comes is given back. */
  leaveAcquires(error: () => KeyBalancerError): void {
    for (const operation of this.#open.values()) if (operation.kind === 'acquire') operation.leave(error());
  }

  /** Ends at once. */
  cut(): void {
    if (!this.#ended) this.#call.cancel();
  }

  #add(operation: Operation): bigint {
    const id = ++this.#lastId;
    this.#open.set(id, operation);
    operation.sentOn = this;
    if (operation.mayWait) {
      this.#waiting++;
      operation.cancel = () => {
        if (this.usable) this.#call.write(cancelBytes(++this.#lastId, id));
      };
    }
    return id;
  }

  #delete(id: bigint, operation: Operation): void {
    this.#open.delete(id);
    if (operation.mayWait) this.#waiting--;
    operation.sentOn = undefined;
    operation.cancel = undefined;
    if (this.#open.size > 0) return;
    this.#emptySince = performance.now();
    this.#restWhenIdle();
  }

  #receive({ settings, results, goAway }: SessionResponse): void {
    if (settings !== undefined) {
      this.heard = true;
      clearTimeout(this.#guard);
      const { maxOpenOperations, maxWaiting } = settings;
      this.#limits = { open: Math.max(1, maxOpenOperations), waiting: Math.max(1, maxWaiting) };
      this.#events.settings(this);
    }
    for (const result of results) this.#answer(result);
    if (goAway !== undefined) {
      this.#guardFor((goAway.grace === undefined ? 0 : durationMs(goAway.grace)) + END_MS);
      this.#events.goAway(this);
    }
    this.#events.room();
  }

  #answer({ correlationId, result }: OperationResult): void {
    const operation = this.#open.get(correlationId);
    if (operation === undefined) return;
    this.#delete(correlationId, operation);
    if (result.case === 'acquire' && operation.isOrphan) {
      const leaseId = result.value.lease?.leaseId;
      if (leaseId !== undefined) this.#events.orphan(leaseId);
    } else if (result.case === operation.kind) operation.resolve(result.value as Message);
    else if (result.case === 'error') operation.reject(refusal(result.value));
    else {
      const message = `${this.endpoint.where} answered with something that is no answer`;
      operation.reject(new KeyBalancerError(message, { code: 'INTERNAL' }));
    }
  }

  #end(status: StatusObject | undefined): void {
    if (this.#ended) return;
    if (status === undefined) this.#call.cancel();
    this.#ended = true;
    this.usable = false;
    clearTimeout(this.#guard);
    clearTimeout(this.#idle);
    const open = [...this.#open.values()];
    for (const operation of open) {
      operation.sentOn = undefined;
      operation.cancel = undefined;
    }
    this.#open.clear();
    this.#events.ended(this, { status, open, livedMs: performance.now() - this.#startedAt });
  }

  #guardFor(ms: number): void {
    clearTimeout(this.#guard);
    this.#guard = setTimeout(() => this.#call.cancel(), ms).unref();
  }

  /** The timer looks after the stream rather than being moved with each operation. */
  #restWhenIdle(delayMs = IDLE_MS): void {
    if (this.#idle !== undefined || this.#ended) return;
    this.#idle = setTimeout(() => {
      this.#idle = undefined;
      // The next one that empties it begins anew.
      if (this.#open.size > 0 || !this.usable) return;
      const left = this.#emptySince + IDLE_MS - performance.now();
      if (left > 0) this.#restWhenIdle(left);
      else this.finish();
    }, delayMs).unref();
  }
}
