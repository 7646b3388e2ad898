import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { INHERITED } from '../support/inherited.ts';
import type { SharedNews, SharedOrder, SharedReply } from './shared-process.ts';

/** A process beside others on a data dir, which ends with the test. */
export class SharedChild {
  readonly news: SharedNews[] = [];
  readonly exit: Promise<unknown>;
  readonly #process: ChildProcess;
  readonly #open = new Map<number, (reply: SharedReply) => void>();
  #lastId = 0;

  /** `masterKey`: "" for that of the data dir. */
  constructor(masterKey = '00'.repeat(32)) {
    const env = { ...INHERITED, KEYBALANCER_MASTER_KEY: masterKey };
    this.#process = fork(new URL('./shared-process.ts', import.meta.url), { env, serialization: 'advanced' });
    this.exit = once(this.#process, 'exit');
    this.#process.on('message', (message: SharedReply | SharedNews) => {
      if ('id' in message) this.#open.get(message.id)?.(message);
      else this.news.push(message);
    });
    onTestFinished(() => this.kill());
  }

  get pid(): number {
    return this.#process.pid!;
  }

  get calls(): { call: string; error: string | undefined }[] {
    return this.news.filter((each) => 'call' in each);
  }

  get health(): SharedNews[] {
    return this.news.filter((each) => 'health' in each);
  }

  say(order: SharedOrder): Promise<SharedReply> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#open.set(id, resolve);
      void this.exit.then(() => reject(new Error(`the process ended before it answered ${JSON.stringify(order)}`)));
      this.#process.send({ id, order });
    });
  }

  /** The answer; rejects with the refusal. */
  async get(order: SharedOrder): Promise<unknown> {
    const reply = await this.say(order);
    if ('answer' in reply) return reply.answer;
    throw Object.assign(new Error(reply.refusal.message), reply.refusal);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    if (this.#process.exitCode === null && this.#process.signalCode === null) await this.exit;
  }
}

/** The process that says it owns the data dir. */
export function ownerOf(dataDir: string): number | undefined {
  try {
    return (JSON.parse(readFileSync(join(dataDir, 'owner.json'), 'utf8')) as { pid: number }).pid;
  } catch {
    return undefined;
  }
}
