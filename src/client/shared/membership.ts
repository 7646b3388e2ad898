import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CallOptions } from '../balancer.ts';
import { cancelledError, closedError, KeyBalancerError } from '../errors.ts';
import { enter, type Guest, join, type Member, type SharedDir } from './member.ts';

/** An owner that cannot be joined yet gets so long at the beginning: it reads its database, or is about to end. */
const FIRST_PATIENCE_MS = 20_000;
/** Processes that lose their owner try to be the next apart from each other. */
const SPREAD_MS = 150;
/** A server that went gets so long to be started again before one of its guests becomes the owner. */
const SERVER_BACK_MS = 1_000;
/** A process that failed to become the owner leaves the lock to the others for so long. */
const TRY_AGAIN_MS = 5_000;
const MOST_WAITING = 10_000;

/**
 * What this process is to its data dir, over its life:
 *
 *     owner or guest --the owner is gone--> without --the lock is free, or somebody else was faster--> owner or guest
 *
 * An owner stays it until it closes. Nothing here keeps the process alive but those who wait.
 */
export class Membership {
  readonly #dir: SharedDir;
  readonly #closing = new AbortController();
  /** Guests of owners that are gone, whose last calls have not ended. */
  readonly #leaving = new Set<Guest>();
  #current: Member | undefined;
  #seeking: Promise<void> | undefined;
  #ending: Promise<void> | undefined;
  #waiting = 0;
  #warned = false;
  /** Why this process is without: the newest that was met. */
  #trouble: Error | undefined;

  private constructor(dir: SharedDir) {
    this.#dir = dir;
  }

  static async begin(dir: SharedDir): Promise<Membership> {
    const membership = new Membership(dir);
    membership.#became(await firstMember(dir));
    return membership;
  }

  get where(): string {
    return this.#current?.balancer.where ?? `data dir ${this.#dir.dataDir}`;
  }

  /** undefined: this process is without an owner at the moment. */
  get current(): Member | undefined {
    return this.#current;
  }

  /** What this process is, or will be next. Rejects UNAVAILABLE when it is nothing in time. */
  async next({ signal, timeoutMs }: CallOptions, patienceMs: number): Promise<Member> {
    const isDeadline = timeoutMs !== undefined && timeoutMs < patienceMs;
    const end = performance.now() + (isDeadline ? timeoutMs : patienceMs);
    for (;;) {
      if (this.#closed) throw closedError(this.where);
      if (signal?.aborted) throw cancelledError(signal);
      if (this.#current !== undefined) return this.#current;
      const leftMs = end - performance.now();
      if (leftMs <= 0 && isDeadline) throw new KeyBalancerError('the deadline passed', { code: 'DEADLINE_EXCEEDED' });
      if (leftMs <= 0 || this.#waiting >= MOST_WAITING) throw this.#without();
      this.#waiting++;
      await settledWithin(this.#seeking, leftMs, signal);
      this.#waiting--;
    }
  }

  /** The answer of a call that was made as `member`. */
  answer<T>(member: Member, answer: Promise<T>): Promise<T> {
    return member.role === 'owner' ? answer : this.#answerOf(member, answer);
  }

  close(): Promise<void> {
    this.#ending ??= this.#close();
    return this.#ending;
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    // An attempt that is under way may still make an owner.
    await this.#seeking;
    const members = [...(this.#current ? [this.#current] : []), ...this.#leaving];
    this.#current = undefined;
    this.#leaving.clear();
    await Promise.all(members.map(leave));
  }

  #became(member: Member): void {
    this.#current = member;
    this.#trouble = undefined;
    if (member.role === 'guest') {
      void member.watch?.gone.then(() => this.#lost(member));
      return;
    }
    member.balancer.serve().catch((error: unknown) => {
      if (!this.#closed)
        this.#dir.warn(`other processes cannot join ${this.#dir.dataDir}: ${(error as Error).message}`);
    });
  }

  #lost(guest: Guest): void {
    if (this.#current !== guest || this.#closed) return;
    this.#current = undefined;
    this.#leaving.add(guest);
    this.#leaveWhenDone(guest);
    const seeking = this.#seek(guest.ofServer ? SERVER_BACK_MS : 0).finally(() => {
      if (this.#seeking === seeking) this.#seeking = undefined;
    });
    this.#seeking = seeking;
  }

  async #answerOf<T>(guest: Guest, answer: Promise<T>): Promise<T> {
    guest.calls++;
    try {
      return await answer;
    } catch (error) {
      if (guest.watch === undefined && isUnreached(error)) this.#lost(guest);
      throw error;
    } finally {
      guest.calls--;
      this.#leaveWhenDone(guest);
    }
  }

  /** Calls that had not been sent may well have found their way to the next owner: they are not cut off. */
  #leaveWhenDone(guest: Guest): void {
    if (guest.calls === 0 && this.#leaving.delete(guest)) void leave(guest);
  }

  /** Resolves with a member, or closed. `joinMs`: how long only to join. */
  async #seek(joinMs: number): Promise<void> {
    let ownFrom = performance.now() + joinMs;
    const pauses = new Pauses();
    await this.#pause(Math.random() * SPREAD_MS);
    while (!this.#closed) {
      try {
        const found = performance.now() < ownFrom ? await join(this.#dir) : await enter(this.#dir);
        if ('role' in found && found.role !== 'none') return this.#became(found);
        if ('error' in found) this.#trouble = found.error;
      } catch (error) {
        this.#cannotOwn(error as Error);
        ownFrom = performance.now() + TRY_AGAIN_MS;
      }
      await this.#pause(pauses.next());
    }
  }

  /** Another process may: this one goes on to look for it. */
  #cannotOwn(error: Error): void {
    this.#trouble = error;
    if (this.#warned) return;
    this.#warned = true;
    this.#dir.warn(
      `the owner of ${this.#dir.dataDir} is gone, and this process cannot take its place: ${error.message}`,
    );
  }

  #without(): KeyBalancerError {
    const why = this.#trouble === undefined ? '' : `: ${this.#trouble.message}`;
    return new KeyBalancerError(`the owner of data dir ${this.#dir.dataDir} is gone, and there is no other yet${why}`, {
      code: 'UNAVAILABLE',
      ...(this.#trouble instanceof KeyBalancerError && { reason: this.#trouble.reason }),
      cause: this.#trouble,
    });
  }

  /** Until closed at the latest. */
  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { ref: false, signal: this.#closing.signal }).catch(() => {});
  }
}

/** Joins the owner or becomes it; an owner that cannot be joined yet gets some time. */
export async function firstMember(dir: SharedDir): Promise<Member> {
  const end = performance.now() + FIRST_PATIENCE_MS;
  for (const pauses = new Pauses(); ; ) {
    const entered = await enter(dir);
    if (entered.role !== 'none') return entered;
    if (entered.isFinal || performance.now() >= end) throw entered.error;
    await sleep(pauses.next());
  }
}

async function leave(member: Member): Promise<void> {
  if (member.role === 'guest') member.watch?.close();
  await member.balancer.close();
}

/** It was the transport that spoke. */
function isUnreached(error: unknown): boolean {
  return error instanceof KeyBalancerError && error.code === 'UNAVAILABLE' && error.reason === '';
}

/** Between tries, in milliseconds: apart from those of other processes, and rarer with time, since each tries the lock. */
class Pauses {
  #longest = 50;

  next(): number {
    const pause = this.#longest * (0.5 + Math.random() / 2);
    this.#longest = Math.min(300, this.#longest * 1.5);
    return pause;
  }
}

/** Keeps the process alive meanwhile: somebody waits. */
async function settledWithin(promise: Promise<void> | undefined, ms: number, signal: AbortSignal | undefined) {
  const over = new AbortController();
  const ends = signal === undefined ? over.signal : AbortSignal.any([over.signal, signal]);
  await Promise.race([promise, sleep(ms, undefined, { signal: ends }).catch(() => {})]);
  over.abort();
}
