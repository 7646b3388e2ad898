import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import { BalancerError, type Reason } from '../../src/engine/errors.ts';
import type { Store } from '../../src/store/store.ts';
import type { StoreOrder, StoreReply } from './store-process.ts';

/** A store in a process of its own, which ends with the test. */
export class StoreChild {
  readonly process: ChildProcess = fork(new URL('./store-process.ts', import.meta.url), { serialization: 'advanced' });
  /** The store, one call at a time; nothing that cannot be sent (signals, listeners) may be in them. */
  readonly store: Store = new Proxy({} as Store, {
    get:
      (_, call) =>
      (...args: unknown[]) =>
        this.#say({ call: String(call), args }),
  });

  constructor() {
    onTestFinished(() => this.kill());
  }

  async open(dataDir: string, { now, wallOffset }: { now: number; wallOffset: number }): Promise<void> {
    await this.#say({ open: dataDir, now, wallOffset });
  }

  /** Lets time pass for it. */
  async pass(ms: number): Promise<void> {
    await this.#say({ pass: ms });
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exit = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await exit;
  }

  async #say(order: StoreOrder): Promise<unknown> {
    const answer = once(this.process, 'message');
    this.process.send(order);
    const [reply] = (await answer) as [StoreReply];
    if ('failure' in reply) throw new Error(reply.failure);
    if ('value' in reply) return reply.value;
    const { reason, message, retryDelayMs, metadata } = reply.refusal;
    throw new BalancerError(reason as Reason, message, {
      ...(retryDelayMs !== undefined && { retryDelayMs }),
      metadata,
    });
  }
}
