/** Operations of a session that have no result yet. */
export class OpenOperations {
  /** By correlation id: how to give the operation up, if it can be. */
  readonly #open = new Map<bigint, AbortController | undefined>();
  #waiting = 0;

  get size(): number {
    return this.#open.size;
  }

  /** Acquires that may wait, from their start to their answer. */
  get waiting(): number {
    return this.#waiting;
  }

  has(correlationId: bigint): boolean {
    return this.#open.has(correlationId);
  }

  /** `waiting`: aborted when the operation, an acquire that may wait, is given up. */
  add(correlationId: bigint, waiting?: AbortController): void {
    this.#open.set(correlationId, waiting);
    if (waiting !== undefined) this.#waiting++;
  }

  delete(correlationId: bigint): void {
    if (this.#open.get(correlationId) !== undefined) this.#waiting--;
    this.#open.delete(correlationId);
  }

  /** What cannot be given up goes on, and so does what is not open. */
  cancel(correlationId: bigint): void {
    this.#open.get(correlationId)?.abort();
  }

  cancelAll(): void {
    for (const waiting of this.#open.values()) waiting?.abort();
  }
}
