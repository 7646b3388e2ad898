import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Account } from './account.ts';
import { BACKENDS } from './cast.ts';
import { startDemoGemini } from './gemini.ts';
import { demoKeys } from './keys.ts';
import { type DemoOptions, HELP, readOptions } from './options.ts';
import { perform } from './perform.ts';
import { Processes } from './processes.ts';
import { Scene } from './scene.ts';
import { summaryOf } from './summary.ts';
import { checksOf, figuresOf } from './verdict.ts';
import { viewFor } from './view/view.ts';

const SIGNAL_EXITS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

class Interrupted extends Error {
  readonly exitCode: number;

  constructor(signal: keyof typeof SIGNAL_EXITS) {
    super(`ended by ${signal}; nothing of the demo is left`);
    this.exitCode = SIGNAL_EXITS[signal];
  }
}

/** What ends the demo early: a signal, a lost process, an error that nobody handled. The first one counts. */
class Emergency {
  readonly #controller = new AbortController();
  readonly signal = this.#controller.signal;
  readonly call = (error: Error): void => this.#controller.abort(error);
  /** Rejects with the error that ends the demo. */
  readonly promise = new Promise<never>((_, reject) => {
    this.signal.addEventListener('abort', () => reject(this.signal.reason), { once: true });
  });

  constructor() {
    this.promise.catch(() => {});
    for (const name of Object.keys(SIGNAL_EXITS) as (keyof typeof SIGNAL_EXITS)[]) {
      process.on(name, () => this.call(new Interrupted(name)));
    }
    process.on('uncaughtException', this.call);
    // Whoever read the output has left.
    process.stdout.on('error', this.call);
  }
}

try {
  const options = readOptions(process.argv.slice(2));
  if (options.help) process.stdout.write(HELP);
  else await run(options);
} catch (error) {
  process.stderr.write(`demo: ${(error as Error).message}\n`);
  process.exitCode = error instanceof Interrupted ? error.exitCode : 1;
}

async function run(options: DemoOptions): Promise<void> {
  const emergency = new Emergency();
  const begun = performance.now();
  const scene = new Scene(BACKENDS, options.seconds);
  const view = viewFor(scene, options.json);
  let account: Account;
  try {
    account = await onStage(scene, emergency);
  } finally {
    view.close();
  }
  const problems = checksOf(account).flatMap(({ claim, problems }) => problems.map((each) => `${claim}: ${each}`));
  if (options.json) process.stdout.write(`${JSON.stringify(figuresOf(account))}\n`);
  else view.print(summaryOf(scene, account, (performance.now() - begun) / 1000));
  if (problems.length === 0) return;
  process.exitCode = 1;
  if (options.json) process.stderr.write(problems.map((each) => `demo: not so: ${each}\n`).join(''));
}

/** Sets up what the demo needs, and takes all of it away again, however the demo ends. */
async function onStage(scene: Scene, emergency: Emergency): Promise<Account> {
  const processes = new Processes(emergency.call);
  const keys = demoKeys();
  const gemini = await startDemoGemini(keys, scene.models, scene.seconds);
  const dir = await mkdtemp(join(tmpdir(), 'keybalancer-demo-'));
  try {
    const performing = perform({ scene, keys, gemini, processes, dir, signal: emergency.signal });
    // Lost when an emergency ends it, and then no news.
    performing.catch(() => {});
    return await Promise.race([emergency.promise, performing]);
  } finally {
    await processes.endAll();
    await gemini.close();
    await rm(dir, { recursive: true, force: true });
  }
}
