import { create, type DescMethodUnary, type Message } from '@bufbuild/protobuf';
import { type Metadata, type ServiceError, status } from '@grpc/grpc-js';
import {
  type AcquireKeyRequest,
  KeyBalancerService,
  Outcome,
  ReportResultRequestSchema,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { awayPauseMs } from '../away.ts';
import type { CallOptions, InvokeUnary } from '../balancer.ts';
import type { Credentials } from '../credentials.ts';
import type { Endpoints } from '../endpoints.ts';
import { cancelledError, closedError, KeyBalancerError } from '../errors.ts';
import { timeoutOf } from '../grpc-calls.ts';
import { isUnsent, remoteError } from '../remote-error.ts';
import { ClientStream, type StreamEnd, type StreamEvents } from './client-stream.ts';
import { Fallback } from './fallback.ts';
import { Lines } from './lines.ts';
import { KIND_OF, Operation } from './operation.ts';
import { beforeExit, notBeforeExit } from './parking.ts';

/** Longest wait of a relaxed report for company. */
const PARKED_MS = 10;
/** A stream that was cut younger than this may have been cut for being one. */
const YOUNG_MS = 5_000;
/** Between tries to open a stream where nobody answers. */
const LONGEST_PAUSE_MS = 400;
/** For the answers of reports that are under way as the client is closed. */
const CLOSE_MS = 2_000;

export interface SessionCallsOptions {
  endpoints: Endpoints;
  metadata: Credentials['metadata'];
  /** Of a call that says nothing else. */
  timeoutMs: number;
  /** Makes a call by itself, for what no stream carries. */
  single: InvokeUnary;
}

/**
 * Acquires, reports and renewals of one client, on one Session stream. Operations of a tick leave together. A stream that
 * breaks takes its operations with it (UNAVAILABLE: request ids and leases make repeats safe), and the next operation opens
 * another.
 */
export class SessionCalls implements StreamEvents {
  readonly #options: SessionCallsOptions;
  readonly #endpoints: Endpoints;
  readonly #lines = new Lines();
  readonly #fallback = new Fallback((why) => this.#warn(why));
  readonly #streams = new Set<ClientStream>();
  /** Takes new operations. */
  #current: ClientStream | undefined;
  /** Of a server that goes away; takes reports and renewals while it lives. */
  #leaving: ClientStream | undefined;
  #opening = false;
  /** Streams that failed in a row before the server's settings came. */
  #failures = 0;
  #notBefore = 0;
  #pause: NodeJS.Timeout | undefined;
  #tick: NodeJS.Immediate | undefined;
  #parking: NodeJS.Timeout | undefined;
  /** Reports under way by calls of their own. */
  #lone = 0;
  #closed = false;
  #quiet: (() => void) | undefined;

  constructor(options: SessionCallsOptions) {
    this.#options = options;
    this.#endpoints = options.endpoints;
  }

  /** A lease that is bound to a session would end with this one, of which its caller knows nothing: the server refuses that. */
  carries(method: DescMethodUnary, request: Message): boolean {
    return KIND_OF[method.localName] !== undefined && !(request as AcquireKeyRequest).bindToSession;
  }

  invoke(method: DescMethodUnary, request: Message, call: CallOptions): Promise<Message> {
    if (this.#closed) throw closedError(this.#endpoints.where);
    if (call.signal?.aborted) throw cancelledError(call.signal);
    if (this.#fallback.way !== 'stream') return this.#alone(method, request, call);
    return this.#begin(method, request, call).answer;
  }

  /** What waits is given up; reports under way get their answers, for a short while. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#flush();
    for (const operation of this.#lines.takeAll()) {
      if (operation.kind === 'acquire') operation.leave(closedError(this.#endpoints.where));
      else this.#lines.putBack([operation]);
    }
    for (const stream of this.#streams) stream.leaveAcquires(() => closedError(this.#endpoints.where));
    await this.#until(() => this.#lines.size === 0 && this.#isIdle(), CLOSE_MS);
    for (const operation of this.#lines.takeAll()) operation.leave(closedError(this.#endpoints.where));
    for (const stream of this.#streams) stream.finish();
    await this.#until(() => this.#streams.size === 0, CLOSE_MS);
    for (const stream of this.#streams) stream.cut();
    clearTimeout(this.#pause);
    clearTimeout(this.#parking);
    notBeforeExit(this.#flushNow);
  }

  settings(): void {
    this.#failures = 0;
  }

  room(): void {
    if (this.#lines.size > this.#lines.parked.size) this.#schedule();
    this.#quiet?.();
  }

  goAway(stream: ClientStream): void {
    this.#leaving = stream;
    if (this.#current === stream) this.#current = undefined;
    this.#endpoints.leave(stream.endpoint);
  }

  /** Its report is nobody's: should it be lost, the lease ends by its time. */
  orphan(leaseId: string): void {
    const request = create(ReportResultRequestSchema, { leaseId, outcome: Outcome.UNUSED });
    try {
      this.#begin(KeyBalancerService.method.reportResult, request, {}).answer.catch(() => {});
    } catch {
      // No room.
    }
  }

  ended(stream: ClientStream, end: StreamEnd): void {
    this.#streams.delete(stream);
    if (this.#current === stream) this.#current = undefined;
    if (this.#leaving !== stream) this.#judge(stream, end);
    else {
      this.#leaving = undefined;
      // It may have ended as they came to it. A lease tells a report from its repeat.
      const [acquires, others] = partition(end.open, ({ kind }) => kind === 'acquire');
      this.#lines.putBack(others);
      this.#judge(stream, { ...end, open: acquires });
    }
    if (this.#lines.size > this.#lines.parked.size) this.#schedule();
    this.#quiet?.();
  }

  #begin(method: DescMethodUnary, request: Message, call: CallOptions): Operation {
    const operation = new Operation({
      method,
      kind: KIND_OF[method.localName]!,
      request,
      call,
      timeoutMs: timeoutOf(request, call, this.#options.timeoutMs),
      where: () => this.#endpoints.current.where,
    });
    try {
      this.#lines.add(operation);
    } catch (error) {
      operation.reject(error);
      return operation;
    }
    if (operation.line === this.#lines.parked) this.#park();
    else this.#schedule();
    if (operation.line === this.#lines.waiting) this.#watchWait(operation);
    return operation;
  }

  /** An acquire that found no room in its time to wait takes what there is then. */
  #watchWait(operation: Operation): void {
    const stream = this.#current;
    if (stream !== undefined && this.#lines.waiting.size <= stream.waitingRoom) return;
    const delayMs = Math.min(Math.max(0, operation.waitLeftMs), 2 ** 31 - 1);
    setTimeout(() => {
      this.#lines.waitedLong(operation);
      this.#schedule();
    }, delayMs).unref();
  }

  #park(): void {
    if (this.#lines.parked.size > 1) return;
    this.#parking = setTimeout(this.#flushNow, PARKED_MS).unref();
    beforeExit(this.#flushNow);
  }

  readonly #flushNow = (): void => this.#flush();

  #schedule(): void {
    this.#tick ??= setImmediate(this.#flushNow);
  }

  #flush(): void {
    clearImmediate(this.#tick);
    this.#tick = undefined;
    if (this.#lines.parked.size > 0) {
      clearTimeout(this.#parking);
      notBeforeExit(this.#flushNow);
      this.#lines.unpark();
    }
    if (this.#lines.size === 0) return;
    if (this.#fallback.way !== 'stream') {
      for (const operation of this.#lines.takeAll()) this.#goAlone(operation);
      return;
    }
    const { reports, acquires, waiting } = this.#lines;
    if (this.#leaving?.usable) this.#send(this.#leaving, this.#lines.take(reports, this.#leaving.room));
    if (this.#lines.size === 0) return;
    const stream = this.#current?.usable ? this.#current : this.#open();
    if (stream === undefined) return;
    const { room, waitingRoom } = stream;
    const taken = this.#lines.take(reports, room);
    taken.push(...this.#lines.take(acquires, room - taken.length));
    taken.push(...this.#lines.take(waiting, Math.min(waitingRoom, room - taken.length)));
    this.#send(stream, taken);
  }

  #send(stream: ClientStream, operations: readonly Operation[]): void {
    for (const operation of stream.send(operations)) this.#goAlone(operation);
  }

  /** undefined: not now; what waits is sent once there is one. */
  #open(): ClientStream | undefined {
    if (this.#opening || this.#pause !== undefined) return undefined;
    const pauseMs = this.#notBefore - performance.now();
    if (pauseMs > 0) {
      // Somebody waits for it: it keeps the process alive.
      this.#pause = setTimeout(() => {
        this.#pause = undefined;
        this.#schedule();
      }, pauseMs);
      return undefined;
    }
    const metadata = this.#options.metadata();
    if (!(metadata instanceof Promise)) return this.#opened(metadata);
    this.#opening = true;
    metadata.then(
      (given) => {
        this.#opening = false;
        this.#opened(given);
        this.#schedule();
      },
      (error: unknown) => {
        this.#opening = false;
        for (const operation of this.#lines.takeAll()) operation.reject(error);
        this.#quiet?.();
      },
    );
    return undefined;
  }

  #opened(metadata: Metadata): ClientStream {
    const stream = new ClientStream(this.#endpoints.current, metadata, this);
    this.#streams.add(stream);
    this.#current = stream;
    return stream;
  }

  /** What becomes of the operations of a stream that ended, and of streams. */
  #judge(stream: ClientStream, { status: ending, open, livedMs }: StreamEnd): void {
    const { endpoint, heard } = stream;
    const code = ending?.code;
    const error: Partial<ServiceError> = code === status.OK || ending === undefined ? LOST : ending;
    const isOver = code === status.OK && open.length === 0;
    if (isOver) this.#fallback.wentWell();
    if (code === status.UNIMPLEMENTED) {
      this.#fallback.unknown();
      this.#goAllAlone(open);
      return;
    }
    const said = remoteError(error, endpoint.where);
    const isCut = said.code === 'UNAVAILABLE' || said.code === 'CANCELLED' || said.code === 'DEADLINE_EXCEEDED';
    const unstarted = isUnsent(error) || (!heard && said.reason === 'DRAINING') || ending === undefined;
    if (!isCut && !DENIALS.has(said.code)) {
      // A fault in one operation takes the stream down: by themselves, the others are answered.
      if (!heard) this.#fallback.wasCut();
      this.#goAllAlone(open);
      return;
    }
    if (isCut) {
      this.#endpoints.leave(endpoint);
      if (!isOver && !isUnsent(error) && said.reason === '') {
        if (livedMs < YOUNG_MS || !heard) this.#fallback.wasCut();
        else this.#fallback.wentWell();
      }
    }
    if (!heard) this.#failures++;
    if (!heard && unstarted && this.#failures % this.#endpoints.all.length !== 0) {
      this.#lines.putBack(open);
      return;
    }
    if (!heard)
      this.#notBefore = performance.now() + awayPauseMs(Math.min(this.#failures * 25, 100), this.#longestPause());
    if (ending === undefined) {
      this.#goAllAlone(open);
      return;
    }
    for (const operation of open)
      operation.reject(isCut ? lost(said, error, endpoint.where) : remoteError(error, endpoint.where));
    if (heard || !unstarted) return;
    // Those that had no room on it are no better off.
    for (const operation of this.#lines.takeAll()) operation.reject(remoteError(error, endpoint.where));
  }

  #longestPause(): number {
    return Math.min(LONGEST_PAUSE_MS, 50 * 2 ** Math.min(this.#failures, 8));
  }

  #goAllAlone(operations: readonly Operation[]): void {
    for (const operation of operations) this.#goAlone(operation);
  }

  #goAlone(operation: Operation): void {
    if (operation.settled) return;
    const { method, request, signal, timeLeftMs } = operation;
    this.#alone(method, request, { signal, timeoutMs: timeLeftMs }).then(
      (answer) => operation.resolve(answer),
      (error: unknown) => operation.reject(error),
    );
  }

  async #alone(method: DescMethodUnary, request: Message, call: CallOptions): Promise<Message> {
    const inTrial = this.#fallback.way === 'trial';
    const isReport = method.localName === 'reportResult';
    if (isReport) this.#lone++;
    try {
      const answer = await this.#options.single(method, request, call);
      if (inTrial) this.#fallback.tried(true);
      return answer;
    } catch (error) {
      if (inTrial) this.#fallback.tried(error instanceof KeyBalancerError && error.reason !== '');
      throw error;
    } finally {
      if (isReport) this.#lone--;
      this.#quiet?.();
    }
  }

  #isIdle(): boolean {
    if (this.#lone > 0) return false;
    for (const { size } of this.#streams) if (size > 0) return false;
    return true;
  }

  async #until(condition: () => boolean, longestMs: number): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, longestMs);
      this.#quiet = () => {
        if (!condition()) return;
        clearTimeout(timer);
        resolve();
      };
    });
    this.#quiet = undefined;
  }

  #warn(why: string): void {
    process.emitWarning(
      `${this.#endpoints.where} gets each operation by a call of its own: ${why}; streams are tried again in minutes`,
      'KeyBalancerWarning',
    );
  }
}

function partition<T>(items: readonly T[], belongs: (item: T) => boolean): [T[], T[]] {
  return [items.filter(belongs), items.filter((item) => !belongs(item))];
}

/** Refusals of whoever asks, not of what is asked: a repeat by another way is refused as well. */
const DENIALS = new Set<string>(['UNAUTHENTICATED', 'PERMISSION_DENIED']);

/** The server ended the stream in order, with operations open. */
const LOST: Partial<ServiceError> = { code: status.CANCELLED, details: '' };

/** Each caller's own error: they are written on. */
function lost(said: KeyBalancerError, error: Partial<ServiceError>, where: string): KeyBalancerError {
  if (said.code === 'UNAVAILABLE') return remoteError(error, where);
  return new KeyBalancerError(`the connection to ${where} was lost`, { code: 'UNAVAILABLE' });
}
