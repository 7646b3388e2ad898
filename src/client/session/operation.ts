import { performance } from 'node:perf_hooks';
import { clearTimeout, setTimeout } from 'node:timers';
import { type DescMethodUnary, type Message, toBinary } from '@bufbuild/protobuf';
import { type Duration, durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import {
  type AcquireKeyRequest,
  type Operation as OperationMessage,
  OperationSchema,
  type RenewLeaseRequest,
  type ReportResultRequest,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CallOptions } from '../balancer.ts';
import { cancelledError, type KeyBalancerError } from '../errors.ts';
import type { ClientStream } from './client-stream.ts';

export type Kind = 'acquire' | 'report' | 'renew';

/** The methods whose calls may be operations of a session. */
export const KIND_OF: Readonly<Record<string, Kind | undefined>> = {
  acquireKey: 'acquire',
  reportResult: 'report',
  renewLease: 'renew',
};

/** Beyond it Node's timers fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export interface OperationOptions {
  method: DescMethodUnary;
  kind: Kind;
  request: Message;
  call: CallOptions;
  timeoutMs: number;
  /** What it rejects with when its time is over. */
  late: (operation: Operation) => KeyBalancerError;
}

/** One acquire, report or renewal, from its call to its answer. */
export class Operation {
  readonly method: DescMethodUnary;
  readonly kind: Kind;
  readonly request: Message;
  readonly timeoutMs: number;
  readonly relaxed: boolean;
  readonly answer: Promise<Message>;
  /** An acquire that may wait, and was not sent after its time for that. */
  mayWait: boolean;
  /** As CallOptions has it. */
  readonly mayRepeat: boolean;
  /** Where it waits to be sent. */
  line: Set<Operation> | undefined;
  /** Where it was sent, if it was. */
  sentOn: ClientStream | undefined;
  /** Gives it up there. */
  cancel: (() => void) | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #startedAt = performance.now();
  readonly #timer: NodeJS.Timeout | undefined;
  #settle: { resolve: (answer: Message) => void; reject: (error: unknown) => void } | undefined;
  #left = false;
  #overdue: NodeJS.Timeout | undefined;

  constructor({ method, kind, request, call, timeoutMs, late }: OperationOptions) {
    this.method = method;
    this.kind = kind;
    this.request = request;
    this.timeoutMs = timeoutMs;
    this.relaxed = call.relaxed === true && kind === 'report';
    this.mayWait = kind === 'acquire' && (request as AcquireKeyRequest).maxWait !== undefined;
    this.mayRepeat = call.mayRepeat ?? true;
    this.#signal = call.signal;
    this.answer = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#signal?.addEventListener('abort', this.#abort, { once: true });
    if (timeoutMs <= LONGEST_TIMER_MS) {
      // What waits for its answer keeps the process alive by its connection.
      this.#timer = setTimeout(() => this.#giveUp(late(this)), timeoutMs).unref();
    }
  }

  get settled(): boolean {
    return this.#settle === undefined;
  }

  /** Milliseconds, at least 1. */
  get timeLeftMs(): number {
    return Math.max(1, Math.round(this.timeoutMs - (performance.now() - this.#startedAt)));
  }

  /** Of max_wait, in milliseconds. */
  get waitLeftMs(): number {
    const { maxWait } = this.request as { maxWait?: Duration };
    return maxWait === undefined ? 0 : durationMs(maxWait) - (performance.now() - this.#startedAt);
  }

  /** Whether a lease that comes after all is nobody's: one with a request id may be asked for again, unless its caller left. */
  get isOrphan(): boolean {
    return this.settled && (this.#left || !this.mayRepeat || (this.request as AcquireKeyRequest).requestId === '');
  }

  get signal(): AbortSignal | undefined {
    return this.#signal;
  }

  /** Tells when it may wait no longer, unless it is settled before. */
  whenWaited(tell: () => void): void {
    this.#overdue = setTimeout(tell, Math.min(Math.max(0, this.waitLeftMs), LONGEST_TIMER_MS)).unref();
  }

  resolve(answer: Message): void {
    this.#end()?.resolve(answer);
  }

  reject(error: unknown): void {
    this.#end()?.reject(error);
  }

  /** Its caller needs it no more. */
  leave(error: KeyBalancerError): void {
    this.#left = true;
    this.#giveUp(error);
  }

  encoded(correlationId: bigint): Uint8Array {
    const operation = { case: this.kind, value: this.#timedRequest() } as OperationMessage['operation'];
    return toBinary(OperationSchema, { $typeName: 'keybalancer.v1.Operation', correlationId, operation });
  }

  /** A stream has no deadline of its own for each operation, and time passed before this one was sent. */
  #timedRequest(): AcquireKeyRequest | ReportResultRequest | RenewLeaseRequest {
    if (this.kind !== 'acquire') return this.request as ReportResultRequest | RenewLeaseRequest;
    const request = this.request as AcquireKeyRequest;
    if (request.maxWait === undefined) return request;
    if (!this.mayWait) return { ...request, maxWait: undefined };
    const wanted = durationMs(request.maxWait);
    const left = Math.floor(Math.min(this.waitLeftMs, this.timeLeftMs - marginMs(this.timeLeftMs)));
    // Its end at the server is soon enough when it differs by what a tick takes; nonsense is the server's to refuse.
    if (wanted <= 0 || wanted - left < UNNOTICED_MS) return request;
    return { ...request, maxWait: durationFromMs(Math.max(0, left)) };
  }

  readonly #abort = (): void => {
    if (this.#signal !== undefined) this.leave(cancelledError(this.#signal));
  };

  #giveUp(error: KeyBalancerError): void {
    this.reject(error);
    this.line?.delete(this);
    this.line = undefined;
    this.cancel?.();
    this.cancel = undefined;
  }

  #end(): { resolve: (answer: Message) => void; reject: (error: unknown) => void } | undefined {
    const settle = this.#settle;
    this.#settle = undefined;
    clearTimeout(this.#timer);
    clearTimeout(this.#overdue);
    this.#signal?.removeEventListener('abort', this.#abort);
    return settle;
  }
}

const UNNOTICED_MS = 20;

/** A wait ends so long before the call's deadline, that its refusal still arrives: as the server does for unary calls. */
function marginMs(timeoutMs: number): number {
  return Math.min(500, Math.max(20, timeoutMs / 10));
}
