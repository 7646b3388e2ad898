import { BalancerError, shown } from '../../engine/errors.ts';
import type { Idempotency } from '../store.ts';
import type { ReplayRow } from './journal.ts';

/** How long the answer to a request id is remembered. */
export const REPLAY_MS = 600_000;

interface Running {
  contentHash: string;
  result: Promise<unknown>;
}

/**
 * Answers to requests that carried a request id, so that a repeat gets the first one's. What is remembered is what the answer
 * can be made of again, as JSON, never a secret. Oldest first in the map, so that forgetting looks at nothing else.
 */
export class Replays {
  readonly #answers = new Map<string, ReplayRow>();
  readonly #running = new Map<string, Running>();
  #unwritten = new Map<string, ReplayRow>();
  readonly #wallNow: () => number;

  constructor(wallNow: () => number) {
    this.#wallNow = wallNow;
  }

  restore(row: ReplayRow): void {
    this.#answers.set(nameOf(row), row);
  }

  /**
   * Runs `first` for a request seen for the first time, `again` with the remembered answer for a repeat. A repeat that comes
   * while the first still runs gets its result, unless the first one's caller gives up: then the repeat takes its place.
   * Failures are not remembered.
   */
  async once<T extends object>(
    idempotency: Idempotency | undefined,
    first: () => Promise<T>,
    again: (answer: string) => Promise<T> | T,
  ): Promise<T & { replayed: boolean }> {
    if (idempotency === undefined) return { ...(await first()), replayed: false };
    const name = nameOf(idempotency);
    const running = this.#running.get(name);
    if (running !== undefined) {
      check(idempotency, running.contentHash);
      try {
        return { ...((await running.result) as T), replayed: true };
      } catch (error) {
        if (!(error instanceof BalancerError) || error.reason !== 'OPERATION_CANCELLED') throw error;
        return this.once(idempotency, first, again);
      }
    }
    this.#expire();
    const known = this.#answers.get(name);
    if (known !== undefined) {
      check(idempotency, known.contentHash);
      return { ...(await again(known.answer)), replayed: true };
    }
    const result = first();
    this.#running.set(name, { contentHash: idempotency.contentHash, result });
    try {
      return { ...(await result), replayed: false };
    } finally {
      this.#running.delete(name);
    }
  }

  /** To be called by `first` when it has its answer and before what it changed is stored, so that both are stored together. */
  remember(idempotency: Idempotency | undefined, answer: unknown): void {
    if (idempotency === undefined) return;
    const row = { ...idempotency, time: this.#wallNow(), answer: JSON.stringify(answer) };
    this.#answers.set(nameOf(row), row);
    this.#unwritten.set(nameOf(row), row);
  }

  /** The change that the answer tells of could not be stored. */
  forget(idempotency: Idempotency | undefined): void {
    if (idempotency === undefined) return;
    this.#answers.delete(nameOf(idempotency));
    this.#unwritten.delete(nameOf(idempotency));
  }

  get unwritten(): boolean {
    return this.#unwritten.size > 0;
  }

  /** Rows to store. They count as written once written() is called. */
  rows(): ReplayRow[] {
    return [...this.#unwritten.values()];
  }

  written(rows: readonly ReplayRow[]): void {
    for (const row of rows) if (this.#unwritten.get(nameOf(row)) === row) this.#unwritten.delete(nameOf(row));
  }

  #expire(): void {
    const oldest = this.#wallNow() - REPLAY_MS;
    for (const [name, row] of this.#answers) {
      if (row.time >= oldest) break;
      this.#answers.delete(name);
    }
  }
}

function nameOf(id: Pick<Idempotency, 'caller' | 'method' | 'requestId'>): string {
  return `${id.caller}\n${id.method}\n${id.requestId}`;
}

function check(idempotency: Idempotency, contentHash: string): void {
  if (idempotency.contentHash === contentHash) return;
  throw new BalancerError(
    'REQUEST_ID_REUSED',
    `request_id ${shown(idempotency.requestId)} was used before with other content`,
    { metadata: { request_id: idempotency.requestId } },
  );
}
