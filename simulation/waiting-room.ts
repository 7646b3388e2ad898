import type { Failure } from './gemini.ts';
import type { Advice, Call, Callers, Grant, Scheduler } from './scheduler.ts';

/** A scheduler that knows no waiting: it has a key now, or says when to ask again. */
export interface Picker {
  /** How many queues there are, and in which a model's calls wait. */
  readonly lines: number;
  lineOf(model: number): number;
  /** Index of a key; -1: none now. */
  pick(call: Call, now: number): number;
  /** After `pick` found none for a call: when there may be one. Later than `now`. */
  askAgainAt(call: Call, now: number): number;
  report(key: number, failure: Failure | undefined, now: number): Advice;
}

interface Waiting {
  call: Call;
  giveUpAt: number;
}

/** Lets the calls of a picker wait, first in first out; all wait equally long. */
export class WaitingRoom implements Scheduler {
  readonly #picker: Picker;
  readonly #callers: Callers;
  readonly #lines: Waiting[][];
  /** When each line's first may be served, or leaves. */
  readonly #due: Float64Array;
  readonly #grants: Grant[] = [];
  nextDeadline = Infinity;

  constructor(picker: Picker, callers: Callers) {
    this.#picker = picker;
    this.#callers = callers;
    this.#lines = Array.from({ length: picker.lines }, () => []);
    this.#due = new Float64Array(picker.lines).fill(Infinity);
  }

  advance(now: number): void {
    if (now < this.nextDeadline) return;
    this.#due.forEach((due, line) => {
      if (due <= now) this.#serve(line, now);
    });
  }

  acquire(call: Call, giveUpAt: number, now: number): void {
    const index = this.#picker.lineOf(call.model);
    const line = this.#lines[index]!;
    if (line.length === 0) {
      const key = this.#picker.pick(call, now);
      if (key >= 0) {
        this.#callers.granted(call, this.#grantOf(key), now);
        return;
      }
    }
    line.push({ call, giveUpAt });
    if (line.length === 1) this.#rest(index, now);
  }

  report(_: Call, { key }: Grant, failure: Failure | undefined, now: number): Advice {
    return this.#picker.report(key, failure, now);
  }

  knowsDead(): boolean {
    return false;
  }

  isDisabled(): boolean {
    return false;
  }

  #serve(index: number, now: number): void {
    const line = this.#lines[index]!;
    let first = line[0];
    while (first !== undefined) {
      const key = first.giveUpAt > now ? this.#picker.pick(first.call, now) : -1;
      if (key < 0 && first.giveUpAt > now) break;
      line.shift();
      if (key < 0) this.#callers.refused(first.call, now);
      else this.#callers.granted(first.call, this.#grantOf(key), now);
      first = line[0];
    }
    this.#rest(index, now);
  }

  #rest(index: number, now: number): void {
    const first = this.#lines[index]![0];
    this.#due[index] =
      first === undefined ? Infinity : Math.min(first.giveUpAt, this.#picker.askAgainAt(first.call, now));
    this.nextDeadline = this.#due.reduce((a, b) => Math.min(a, b));
  }

  #grantOf(key: number): Grant {
    this.#grants[key] ??= { key, probe: false };
    return this.#grants[key];
  }
}
