import { randomUUID } from 'node:crypto';
import { BalancerError } from '../../../engine/errors.ts';
import type {
  AcquireKeyRequest,
  Operation,
  OperationResult,
  RenewLeaseRequest,
  ReportResultRequest,
  SessionRequest,
  SessionResponse,
} from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import { acquireKey } from '../acquire-key.ts';
import * as fields from '../fields.ts';
import { giveBack } from '../give-back.ts';
import { itemError } from '../item-error.ts';
import { renewLease } from '../renew-lease.ts';
import { reportResult } from '../report-result.ts';
import type { ServiceContext } from '../service-context.ts';
import type { CallContext } from '../service-functions.ts';
import { durationMessage } from '../time-messages.ts';
import { Wakeup } from '../wakeup.ts';
import { OpenOperations } from './open-operations.ts';
import { ResultBatches } from './result-batches.ts';

const MAX_OPEN = 10_000;
const MAX_WAITING = 1_000;
const MAX_OPERATIONS = 1_000;
/** Results that the client has not taken, from which on no more requests are read. */
const UNTAKEN = 1_000;
/** From GoAway to the end of the stream. */
const GRACE_MS = 5_000;
/** When an operation that found no room may find some. */
const FULL_RETRY_MS = 100;

/**
 * One Session stream. Requests are read in the background, results leave by messages() as fast as they are pulled. close()
 * must be called, and is by itself once the caller is gone.
 *
 * open --server drains--> going away --nothing is open, or the grace is over--> ended
 *   \________ client is done and everything answered, or gone, or broke the protocol ______/
 */
export class SessionStream {
  readonly #context: ServiceContext;
  readonly #call: CallContext;
  readonly #sessionId = randomUUID();
  /** Of the call, on the process's clock; undefined: none. */
  readonly #deadline: number | undefined;
  readonly #requests: AsyncIterator<SessionRequest>;
  readonly #open = new OpenOperations();
  readonly #results = new ResultBatches(() => this.#wakeup.wake());
  readonly #wakeup = new Wakeup();
  readonly #room = new Wakeup();
  readonly #drain = (): void => {
    this.#goingAway = true;
    this.#grace = setTimeout(() => {
      this.#graceOver = true;
      this.#wakeup.wake();
    }, GRACE_MS);
    this.#grace.unref();
    this.#wakeup.wake();
  };
  /** Leases given on this stream and not reported on it, about: what is reported elsewhere or expires is not subtracted. */
  #leases = 0;
  #goingAway = false;
  #grace: NodeJS.Timeout | undefined;
  #graceOver = false;
  #readAll = false;
  #failure: { error: unknown } | undefined;
  #closing: Promise<void> | undefined;

  constructor(context: ServiceContext, requests: AsyncIterable<SessionRequest>, call: CallContext) {
    this.#context = context;
    this.#call = call;
    this.#deadline = call.timeoutMs === undefined ? undefined : performance.now() + call.timeoutMs;
    this.#requests = requests[Symbol.asyncIterator]();
    context.open.sessions++;
    call.signal.addEventListener('abort', this.#gone, { once: true });
    context.draining.addEventListener('abort', this.#drain, { once: true });
    void this.#read();
  }

  readonly #gone = (): void => void this.close();

  async *messages(): AsyncGenerator<SessionResponse> {
    yield response({
      settings: {
        $typeName: 'keybalancer.v1.SessionSettings',
        maxOpenOperations: MAX_OPEN,
        maxWaiting: MAX_WAITING,
      },
    });
    let toldToGo = false;
    while (this.#closing === undefined) {
      const results = this.#results.take();
      if (results !== undefined) this.#room.wake();
      if (this.#goingAway && !toldToGo) {
        toldToGo = true;
        const grace = durationMessage(GRACE_MS);
        yield response({ results: results ?? [], goAway: { $typeName: 'keybalancer.v1.GoAway', grace } });
      } else if (results !== undefined) {
        yield response({ results });
      } else if (this.#failure !== undefined && this.#results.empty) {
        throw this.#failure.error;
      } else if (this.#graceOver || this.#done()) {
        return;
      } else {
        await this.#wakeup.sleep();
      }
    }
  }

  /** Gives up what waits and gives back what the stream holds. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  #done(): boolean {
    if (this.#open.size > 0 || !this.#results.empty) return false;
    return this.#readAll || (this.#goingAway && this.#leases <= 0);
  }

  async #close(): Promise<void> {
    this.#context.open.sessions--;
    this.#call.signal.removeEventListener('abort', this.#gone);
    this.#context.draining.removeEventListener('abort', this.#drain);
    clearTimeout(this.#grace);
    this.#wakeup.wake();
    this.#room.wake();
    this.#open.cancelAll();
    for (const { undelivered } of this.#results.takeAll()) this.#giveBack(undelivered);
    // The requests are left to the transport: ending their stream here could cut off the call's last words.
    await this.#releaseBound();
  }

  async #read(): Promise<void> {
    try {
      while (this.#closing === undefined) {
        if (this.#results.size >= UNTAKEN) {
          await this.#room.sleep();
          continue;
        }
        const next = await this.#requests.next();
        if (next.done === true || this.#closing !== undefined) break;
        for (const operation of fields.list('operations', next.value.operations, 1, MAX_OPERATIONS)) {
          this.#start(operation);
        }
      }
    } catch (error) {
      this.#failure ??= { error };
    }
    this.#readAll = true;
    this.#wakeup.wake();
  }

  #start({ correlationId, operation }: Operation): void {
    if (operation.case === 'cancel') {
      // Has no answer of its own: the acquire that it ends has.
      this.#open.cancel(operation.value.targetCorrelationId);
      return;
    }
    const refusal = this.#refusal(correlationId, operation.case);
    if (refusal !== undefined) this.#answer(correlationId, { case: 'error', value: itemError(refusal) });
    else if (operation.case === 'acquire') this.#acquire(correlationId, operation.value);
    else if (operation.case === 'report') this.#report(correlationId, operation.value);
    else if (operation.case === 'renew') this.#renew(correlationId, operation.value);
  }

  #refusal(correlationId: bigint, operation: Operation['operation']['case']): BalancerError | undefined {
    if (operation === undefined) {
      return fields.refused('operation', 'none that this server knows', 'acquire, report, renew or cancel');
    }
    if (this.#open.has(correlationId)) {
      return fields.refused('correlation_id', correlationId, 'one that no open operation of the stream has');
    }
    if (this.#open.size < MAX_OPEN) return undefined;
    return queueFull(`${MAX_OPEN} operations are open on this stream`, FULL_RETRY_MS);
  }

  #acquire(correlationId: bigint, request: AcquireKeyRequest): void {
    const mayWait = request.maxWait !== undefined;
    // What can be served at once never waits, however many do.
    const full = mayWait && this.#open.waiting >= MAX_WAITING;
    const giveUp = mayWait && !full ? new AbortController() : undefined;
    this.#open.add(correlationId, giveUp);
    const call: CallContext = {
      caller: this.#call.caller,
      signal: giveUp?.signal ?? this.#call.signal,
      timeoutMs: this.#deadline === undefined ? undefined : Math.max(0, this.#deadline - performance.now()),
    };
    const acquire = acquireKey(
      this.#context,
      full ? { ...request, maxWait: undefined } : request,
      call,
      this.#sessionId,
    );
    acquire.then(
      (value) => {
        this.#leases++;
        // Its repeat may still ask for one with a request id; one that is bound ends with the session.
        const undelivered = request.requestId === '' && !request.bindToSession ? value.lease?.leaseId : undefined;
        this.#finish(correlationId, { case: 'acquire', value }, undelivered);
        if (this.#closing !== undefined && request.bindToSession) void this.#releaseBound();
      },
      (error: unknown) => {
        const noRoom = full && error instanceof BalancerError && error.reason === 'NO_KEY_AVAILABLE';
        if (!noRoom) this.#fail(correlationId, error);
        else {
          const retryMs = error.retryDelayMs ?? FULL_RETRY_MS;
          this.#fail(correlationId, queueFull(`${MAX_WAITING} acquires wait on this stream`, retryMs));
        }
      },
    );
  }

  #report(correlationId: bigint, request: ReportResultRequest): void {
    this.#open.add(correlationId);
    reportResult(this.#context, request, this.#call).then(
      (value) => {
        if (!request.keepLease && !value.duplicate) this.#leases--;
        this.#finish(correlationId, { case: 'report', value });
      },
      (error: unknown) => this.#fail(correlationId, error),
    );
  }

  #renew(correlationId: bigint, request: RenewLeaseRequest): void {
    this.#open.add(correlationId);
    renewLease(this.#context, request, this.#call).then(
      (value) => this.#finish(correlationId, { case: 'renew', value }),
      (error: unknown) => this.#fail(correlationId, error),
    );
  }

  #fail(correlationId: bigint, error: unknown): void {
    if (error instanceof BalancerError) this.#finish(correlationId, { case: 'error', value: itemError(error) });
    else {
      this.#failure ??= { error };
      this.#wakeup.wake();
    }
  }

  #finish(correlationId: bigint, result: OperationResult['result'], undelivered?: string): void {
    this.#open.delete(correlationId);
    if (this.#closing === undefined) this.#answer(correlationId, result, undelivered);
    else this.#giveBack(undelivered);
  }

  #answer(correlationId: bigint, result: OperationResult['result'], undelivered?: string): void {
    const message: OperationResult = { $typeName: 'keybalancer.v1.OperationResult', correlationId, result };
    this.#results.add({ message, undelivered });
  }

  /** A lease that its client never got. Where that cannot be stored, it expires. */
  #giveBack(leaseId: string | undefined): void {
    if (leaseId === undefined) return;
    giveBack(this.#context, this.#call.caller, leaseId).catch(() => {});
  }

  /** What the store could not write now it writes once it can, or the leases expire. */
  async #releaseBound(): Promise<void> {
    await this.#context.store.endSession(this.#sessionId).catch(() => {});
  }
}

function queueFull(what: string, retryDelayMs: number): BalancerError {
  return new BalancerError('QUEUE_FULL', `${what}: wait for results before more is sent`, { retryDelayMs });
}

function response(parts: Partial<Omit<SessionResponse, '$typeName'>>): SessionResponse {
  return { $typeName: 'keybalancer.v1.SessionResponse', results: [], ...parts };
}
