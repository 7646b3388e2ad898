import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** A child gets so long to end by itself after it was asked to. */
const PATIENCE_MS = 5_000;
/** What is kept of a child's standard error, to say why it ended. */
const TAIL = 2_000;

/** A process of the demo. */
export interface Child {
  readonly name: string;
  readonly process: ChildProcess;
  /** Exit code, or -1 after a signal. Never rejects. */
  readonly ended: Promise<number>;
  /** What it printed to standard output so far. */
  output(): string;
  /** The end of its standard error. */
  complaint(): string;
  /** Sends a message over its IPC channel. */
  send(message: string): void;
}

/** The processes that the demo started, each ended by its own id. */
export class Processes {
  readonly #running = new Set<Child>();
  readonly #expected = new Set<Child>();
  readonly #onLoss: (error: Error) => void;
  #over = false;

  /** `onLoss` is told of a process that ended without having been asked to. */
  constructor(onLoss: (error: Error) => void) {
    this.#onLoss = onLoss;
  }

  /** Runs a file of this checkout by this very Node, with an IPC channel where it is the demo's own. */
  start(name: string, file: string, args: readonly string[], channel: 'ipc' | 'ignore'): Child {
    if (this.#over) throw new Error(`${name} is not started: the demo is over`);
    const path = fileURLToPath(new URL(file, import.meta.url));
    const spawned = spawn(process.execPath, [path, ...args], {
      stdio: ['ignore', 'pipe', 'pipe', channel],
      env: bareEnvironment(),
    });
    let output = '';
    let tail = '';
    spawned.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    spawned.stderr?.setEncoding('utf8').on('data', (text: string) => {
      tail = (tail + text).slice(-TAIL);
    });
    const ended = new Promise<number>((resolve) => {
      spawned.once('error', (error) => {
        tail += error.message;
        resolve(-1);
      });
      spawned.once('close', (code) => resolve(code ?? -1));
    });
    const child: Child = {
      name,
      process: spawned,
      ended,
      output: () => output,
      complaint: () => tail.trim(),
      send: (message) => {
        // One that has just ended is told nothing; `ended` says so.
        if (spawned.connected) spawned.send(message, () => {});
      },
    };
    this.#running.add(child);
    void ended.then((code) => {
      this.#running.delete(child);
      if (this.#expected.has(child)) return;
      this.#onLoss(
        new Error(`${name} ended before its time, with code ${code}${tail === '' ? '' : `: ${tail.trim()}`}`),
      );
    });
    return child;
  }

  /** From now on it may end. */
  mayEnd(child: Child): Promise<number> {
    this.#expected.add(child);
    return child.ended;
  }

  /** Asks it to end, and after a while ends it. Resolves with its exit code. */
  async end(child: Child): Promise<number> {
    this.#expected.add(child);
    child.process.kill('SIGTERM');
    const timer = setTimeout(() => child.process.kill('SIGKILL'), PATIENCE_MS);
    const code = await child.ended;
    clearTimeout(timer);
    return code;
  }

  /** Ends what runs; nothing starts any more. */
  async endAll(): Promise<void> {
    this.#over = true;
    await Promise.all([...this.#running].map((child) => this.end(child)));
  }
}

/** The environment without settings that would change what the demo shows, or where its calls go. */
function bareEnvironment(): NodeJS.ProcessEnv {
  const foreign = /^(KEYBALANCER_|GOOGLE_|GEMINI_|NODE_USE_ENV_PROXY$)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}
