import { clearImmediate, clearTimeout, setImmediate, setTimeout } from 'node:timers';
import { create, type DescMethodUnary, type Message } from '@bufbuild/protobuf';
import {
  type AcquireKeyRequest,
  KeyBalancerService,
  Outcome,
  ReportResultRequestSchema,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CallOptions, InvokeUnary } from '../balancer.ts';
import type { Credentials } from '../credentials.ts';
import type { Endpoints } from '../endpoints.ts';
import { cancelledError, closedError, type KeyBalancerError } from '../errors.ts';
import { timeoutOf } from '../grpc-calls.ts';
import { deadlineError } from '../remote-error.ts';
import type { ClientStream, StreamEnd } from './client-stream.ts';
import { Fallback } from './fallback.ts';
import { Lines } from './lines.ts';
import { LoneCalls } from './lone-calls.ts';
import { KIND_OF, Operation } from './operation.ts';
import { beforeExit, notBeforeExit } from './parking.ts';
import { type Judgement, judge, type Verdict } from './stream-end.ts';
import { type OpenerEvents, StreamOpener } from './stream-opener.ts';

/** Longest wait of a relaxed report for company. */
const PARKED_MS = 10;
const MOST_PARKED = 500;
/** A stream that was cut younger than this may have been cut for being one. */
const YOUNG_MS = 5_000;
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
export class SessionCalls implements OpenerEvents {
  readonly #options: SessionCallsOptions;
  readonly #endpoints: Endpoints;
  readonly #opener: StreamOpener;
  readonly #lines = new Lines();
  readonly #fallback = new Fallback((why) => this.#warn(why));
  readonly #lone: LoneCalls;
  readonly #streams = new Set<ClientStream>();
  /** Takes new operations. */
  #current: ClientStream | undefined;
  /** Of a server that goes away; takes reports and renewals while it lives. */
  #leaving: ClientStream | undefined;
  #tick: NodeJS.Immediate | undefined;
  #parking: NodeJS.Timeout | undefined;
  #closed = false;
  /** Told when something has ended. */
  #quiet: (() => void) | undefined;

  constructor(options: SessionCallsOptions) {
    this.#options = options;
    this.#endpoints = options.endpoints;
    this.#lone = new LoneCalls(options.single, this.#fallback, () => this.#quiet?.());
    this.#opener = new StreamOpener(options.endpoints, options.metadata, this);
  }

  /** A lease that is bound to a session would end with this one, of which its caller knows nothing: the server refuses that. */
  carries(method: DescMethodUnary, request: Message): boolean {
    return KIND_OF[method.localName] !== undefined && !(request as AcquireKeyRequest).bindToSession;
  }

  invoke(method: DescMethodUnary, request: Message, call: CallOptions): Promise<Message> {
    if (this.#closed) throw this.#closedError();
    if (call.signal?.aborted) throw cancelledError(call.signal);
    if (this.#fallback.way !== 'stream') return this.#lone.invoke(method, request, call);
    return this.#begin(method, request, call).answer;
  }

  /** Acquires are given up; reports under way get their answers, for a short while. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const line of [this.#lines.acquires, this.#lines.waiting]) {
      for (const operation of line) operation.leave(this.#closedError());
    }
    for (const stream of this.#streams) stream.leaveAcquires(() => this.#closedError());
    this.#flushAll();
    await this.#until(() => this.#lines.size === 0 && this.#isIdle(), CLOSE_MS);
    this.#opener.close();
    for (const operation of this.#lines.takeAll()) operation.leave(this.#closedError());
    for (const stream of this.#streams) stream.finish();
    await this.#until(() => this.#streams.size === 0, CLOSE_MS);
    for (const stream of this.#streams) stream.cut();
    this.#unpark();
  }

  opened(stream: ClientStream): void {
    this.#streams.add(stream);
    this.#current = stream;
    this.#flush();
  }

  refused(error: unknown): void {
    for (const operation of this.#lines.takeAll()) operation.reject(error);
    this.#quiet?.();
  }

  settings(): void {
    this.#opener.succeeded();
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

  /** Its report is nobody's: should it be lost, or find no room, the lease ends by its time. */
  orphan(leaseId: string): void {
    const request = create(ReportResultRequestSchema, { leaseId, outcome: Outcome.UNUSED });
    this.#begin(KeyBalancerService.method.reportResult, request, {}).answer.catch(() => {});
  }

  ended(stream: ClientStream, end: StreamEnd): void {
    this.#streams.delete(stream);
    if (this.#current === stream) this.#current = undefined;
    const judgement = judge(stream, end);
    if (this.#leaving !== stream) this.#settle(stream, judgement, end);
    else {
      this.#leaving = undefined;
      // It may have ended as they came to it. A lease tells a report from its repeat.
      this.#lines.putBack(end.open.filter(({ kind }) => kind !== 'acquire'));
      this.#settle(stream, judgement, { ...end, open: end.open.filter(({ kind }) => kind === 'acquire') });
    }
    this.room();
  }

  #begin(method: DescMethodUnary, request: Message, call: CallOptions): Operation {
    const timeoutMs = timeoutOf(request, call, this.#options.timeoutMs);
    const operation = new Operation({
      method,
      kind: KIND_OF[method.localName]!,
      request,
      call,
      timeoutMs,
      late: ({ sentOn }) => this.#late(sentOn, timeoutMs),
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

  /** Whoever is late and has said nothing yet may be mute: what comes next goes to the next address, if there is one. */
  #late(stream: ClientStream | undefined, timeoutMs: number): KeyBalancerError {
    const { endpoint } = stream ?? { endpoint: this.#endpoints.current };
    if (stream !== undefined && !stream.heard) {
      this.#endpoints.leave(endpoint);
      if (this.#current === stream && this.#endpoints.current !== endpoint) this.#current = undefined;
    }
    return deadlineError(endpoint.where, timeoutMs);
  }

  /** An acquire that found no room in its time to wait takes what there is then. */
  #watchWait(operation: Operation): void {
    const stream = this.#current;
    if (stream !== undefined && this.#lines.waiting.size <= stream.waitingRoom) return;
    operation.whenWaited(() => {
      this.#lines.waitedLong(operation);
      this.#schedule();
    });
  }

  #park(): void {
    if (this.#lines.parked.size === MOST_PARKED) this.#flushAll();
    if (this.#lines.parked.size !== 1) return;
    clearTimeout(this.#parking);
    this.#parking = setTimeout(this.#flushAll, PARKED_MS).unref();
    beforeExit(this.#flushAll);
  }

  #unpark(): void {
    clearTimeout(this.#parking);
    notBeforeExit(this.#flushAll);
    this.#lines.unpark();
  }

  /** Those that are parked, too. */
  readonly #flushAll = (): void => {
    if (this.#lines.parked.size > 0) this.#unpark();
    this.#flush();
  };

  readonly #flushTick = (): void => this.#flush();

  #schedule(): void {
    this.#tick ??= setImmediate(this.#flushTick);
  }

  #flush(): void {
    clearImmediate(this.#tick);
    this.#tick = undefined;
    if (this.#lines.size === this.#lines.parked.size) return;
    if (this.#opener.closed) {
      for (const operation of this.#lines.takeAll()) operation.leave(this.#closedError());
      return;
    }
    if (this.#fallback.way !== 'stream') {
      for (const operation of this.#lines.takeAll()) this.#lone.carry(operation);
      return;
    }
    const { reports, acquires, waiting } = this.#lines;
    if (this.#leaving?.usable) this.#send(this.#leaving, this.#lines.take(reports, this.#leaving.room));
    if (this.#lines.size === 0) return;
    const stream = this.#current;
    if (!stream?.usable) {
      this.#opener.open();
      return;
    }
    const { room, waitingRoom } = stream;
    const taken = this.#lines.take(reports, room);
    taken.push(...this.#lines.take(acquires, room - taken.length));
    taken.push(...this.#lines.take(waiting, Math.min(waitingRoom, room - taken.length)));
    this.#send(stream, taken);
  }

  #send(stream: ClientStream, operations: readonly Operation[]): void {
    for (const operation of stream.send(operations)) this.#lone.carry(operation);
  }

  /** What becomes of the operations of a stream that ended, and of streams. */
  #settle(stream: ClientStream, { verdict, error }: Judgement, { open, livedMs }: StreamEnd): void {
    const { endpoint, heard } = stream;
    if (verdict === 'over') {
      this.#fallback.wentWell();
      return;
    }
    if (verdict === 'unknown') this.#fallback.unknown();
    else if (verdict === 'silent' || (verdict === 'fault' && !heard)) this.#fallback.wasCut();
    else if (verdict === 'cut') {
      if (!heard || livedMs < YOUNG_MS) this.#fallback.wasCut();
      else this.#fallback.wentWell();
    }
    if (ELSEWHERE.has(verdict)) this.#endpoints.leave(endpoint);
    const isLast = heard || this.#opener.failed();
    if (!isLast && (verdict === 'unsent' || verdict === 'silent')) {
      this.#lines.putBack(open);
      return;
    }
    // A fault in one operation takes the stream down: by themselves, the others are answered.
    if (ALONE.has(verdict)) for (const operation of open) this.#lone.carry(operation);
    else for (const operation of open) operation.reject(error());
    // Those that had no room on it are no better off.
    if (verdict === 'unsent') for (const operation of this.#lines.takeAll()) operation.reject(error());
  }

  #isIdle(): boolean {
    return this.#lone.reports === 0 && ![...this.#streams].some(({ size }) => size > 0);
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

  #closedError(): KeyBalancerError {
    return closedError(this.#endpoints.where);
  }

  #warn(why: string): void {
    process.emitWarning(
      `${this.#endpoints.where} gets each operation by a call of its own: ${why}; streams are tried again in minutes`,
      'KeyBalancerWarning',
    );
  }
}

/** Ends of streams after which operations are tried by single calls. */
const ALONE: ReadonlySet<Verdict> = new Set(['unknown', 'silent', 'fault']);
/** Ends after which the next address is used. */
const ELSEWHERE: ReadonlySet<Verdict> = new Set(['unsent', 'silent', 'cut']);
