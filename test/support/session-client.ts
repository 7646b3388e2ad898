import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { onTestFinished } from 'vitest';
import {
  type OperationResult,
  type OperationSchema,
  type SessionRequest,
  SessionRequestSchema,
  type SessionResponse,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import type { ServiceContext } from '../../src/server/service/service-context.ts';
import { session } from '../../src/server/service/session/session.ts';
import { caller } from './streams.ts';

type OperationInit = MessageInitShape<typeof OperationSchema>;

/** A client of Session: sends when it likes, reads when it likes. */
export class SessionClient {
  readonly call = caller();
  readonly responses: SessionResponse[] = [];
  /** Messages that the server has read. */
  read = 0;
  readonly #unread: SessionRequest[] = [];
  #arrived: (() => void) | undefined;
  #finished = false;
  readonly #stream: AsyncGenerator<SessionResponse>;

  constructor(context: ServiceContext) {
    this.#stream = session(context, this.#requests(), this.call);
    onTestFinished(() => this.leave());
  }

  /** One message. */
  send(...operations: OperationInit[]): void {
    this.#unread.push(create(SessionRequestSchema, { operations }));
    this.#arrived?.();
  }

  /** No more requests will come. */
  finish(): void {
    this.#finished = true;
    this.#arrived?.();
  }

  /** One response; undefined: the stream has ended. */
  async next(): Promise<SessionResponse | undefined> {
    const next = await this.#stream.next();
    if (next.done === true) return undefined;
    this.responses.push(next.value);
    return next.value;
  }

  /** Reads until so many results have come, and gives all of them by correlation id. */
  async results(count: number): Promise<Map<bigint, OperationResult['result']>> {
    while (this.#results.length < count) {
      if ((await this.next()) === undefined) throw new Error(`the stream ended after ${this.#results.length} results`);
    }
    return new Map(this.#results.map(({ correlationId, result }) => [correlationId, result]));
  }

  /** Reads to the end. */
  async end(): Promise<void> {
    while ((await this.next()) !== undefined);
  }

  async leave(): Promise<void> {
    this.call.leave();
    this.finish();
    await this.#stream.return(undefined);
  }

  get #results(): OperationResult[] {
    return this.responses.flatMap((response) => response.results);
  }

  async *#requests(): AsyncGenerator<SessionRequest> {
    for (;;) {
      const next = this.#unread.shift();
      if (next !== undefined) {
        this.read++;
        yield next;
      } else if (this.#finished) return;
      else {
        await new Promise<void>((resolve) => {
          this.#arrived = resolve;
        });
      }
    }
  }
}

let lastId = 0n;

/** Operations with a correlation id of their own. */
export function acquire(
  value: Extract<NonNullable<OperationInit['operation']>, { case: 'acquire' }>['value'] = {},
  correlationId = ++lastId,
) {
  return { correlationId, operation: { case: 'acquire' as const, value } };
}

export function reportOf(
  value: Extract<NonNullable<OperationInit['operation']>, { case: 'report' }>['value'],
  correlationId = ++lastId,
) {
  return { correlationId, operation: { case: 'report' as const, value } };
}

export function renewOf(leaseId: string, correlationId = ++lastId) {
  return { correlationId, operation: { case: 'renew' as const, value: { leaseId } } };
}

export function cancel(targetCorrelationId: bigint) {
  return { correlationId: ++lastId, operation: { case: 'cancel' as const, value: { targetCorrelationId } } };
}

/** The lease of a result that must be one. */
export function leaseOf(result: OperationResult['result'] | undefined) {
  if (result?.case !== 'acquire' || result.value.lease === undefined) {
    throw new Error(`no lease but ${result?.case === 'error' ? result.value.message : result?.case}`);
  }
  return result.value.lease;
}
