import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import type { JournalOrder, JournalReply } from './journal-process.ts';

/** A journal in a process of its own, which ends with the test. */
export class JournalChild {
  readonly process: ChildProcess = fork(new URL('./journal-process.ts', import.meta.url));

  constructor() {
    onTestFinished(() => this.kill());
  }

  async say(order: JournalOrder): Promise<JournalReply> {
    const reply = once(this.process, 'message');
    this.process.send(order);
    return (await reply)[0] as JournalReply;
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exit = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await exit;
  }

  /** From now on no file that it writes may grow beyond so many bytes: a write that fails for real, without a full disk. */
  limitFileSize(bytes: number | 'unlimited'): void {
    execFileSync('prlimit', ['--pid', String(this.process.pid), `--fsize=${bytes}:`]);
  }
}
