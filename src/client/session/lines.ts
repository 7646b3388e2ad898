import { KeyBalancerError } from '../errors.ts';
import type { Operation } from './operation.ts';

/** Operations in one line; more are refused. */
const MOST_QUEUED = 10_000;
/** When one that found no room may find some. */
const FULL_RETRY_MS = 100;

/** Operations that are not sent yet. Reports and renewals have a line of their own, so that no acquire holds them up. */
export class Lines {
  /** Reports that wait for company. */
  readonly parked = new Set<Operation>();
  readonly reports = new Set<Operation>();
  /** Acquires that take what is there. */
  readonly acquires = new Set<Operation>();
  /** Acquires that may wait, for which a server has less room. */
  readonly waiting = new Set<Operation>();

  get size(): number {
    return this.parked.size + this.reports.size + this.acquires.size + this.waiting.size;
  }

  /** Throws QUEUE_FULL. */
  add(operation: Operation): void {
    const { kind, relaxed, mayWait } = operation;
    const line = kind !== 'acquire' ? (relaxed ? this.parked : this.reports) : mayWait ? this.waiting : this.acquires;
    const queued = kind === 'acquire' ? this.acquires.size + this.waiting.size : this.parked.size + this.reports.size;
    if (queued >= MOST_QUEUED) {
      throw new KeyBalancerError(`${queued} operations wait in this client to be sent`, {
        code: 'RESOURCE_EXHAUSTED',
        reason: 'QUEUE_FULL',
        retryAfterMs: FULL_RETRY_MS,
      });
    }
    this.#put(operation, line);
  }

  /** What was taken to be sent, and was not. */
  putBack(operations: readonly Operation[]): void {
    for (const operation of operations) {
      if (operation.settled) continue;
      const { kind, mayWait } = operation;
      this.#put(operation, kind !== 'acquire' ? this.reports : mayWait ? this.waiting : this.acquires);
    }
  }

  /** Those that waited for company have it. */
  unpark(): void {
    for (const operation of this.parked) this.#put(operation, this.reports);
  }

  /** An acquire that waited here as long as it may now takes what is there. */
  waitedLong(operation: Operation): void {
    if (operation.line !== this.waiting) return;
    operation.mayWait = false;
    this.#put(operation, this.acquires);
  }

  /** At most so many, in their order, which are then sent. */
  take(line: Set<Operation>, most: number): Operation[] {
    const taken: Operation[] = [];
    for (const operation of line) {
      if (taken.length >= most) break;
      taken.push(operation);
    }
    for (const operation of taken) {
      line.delete(operation);
      operation.line = undefined;
    }
    return taken;
  }

  takeAll(): Operation[] {
    return [this.parked, this.reports, this.acquires, this.waiting].flatMap((line) => this.take(line, line.size));
  }

  #put(operation: Operation, line: Set<Operation>): void {
    operation.line?.delete(operation);
    operation.line = line;
    line.add(operation);
  }
}
