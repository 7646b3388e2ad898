import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { onTestFinished } from 'vitest';
import { MAIN } from './build.ts';
import { INHERITED } from './inherited.ts';
import { tempDir } from './temp-dir.ts';

export interface CliResult {
  /** undefined: ended by a signal. */
  exitCode: number | undefined;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  input?: string;
  env?: NodeJS.ProcessEnv;
}

/** A process of the command line, with nothing of this process's environment. */
export class Cli {
  stdout = '';
  stderr = '';
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<CliResult>;

  constructor(args: readonly string[], { input, env = {} }: CliOptions = {}) {
    const home = tempDir();
    this.child = spawn(process.execPath, [MAIN, ...args], { env: { HOME: home, ...INHERITED, ...env } });
    this.child.stdout.on('data', (chunk) => {
      this.stdout += chunk;
    });
    this.child.stderr.on('data', (chunk) => {
      this.stderr += chunk;
    });
    this.child.stdin.on('error', () => {});
    if (input !== undefined) this.child.stdin.end(input);
    this.ended = new Promise((resolve) => {
      this.child.on('close', (code) => {
        resolve({ exitCode: code ?? undefined, stdout: this.stdout, stderr: this.stderr });
      });
    });
    onTestFinished(async () => {
      this.child.kill('SIGKILL');
      await this.ended;
    });
  }

  /** The log, line by line; fails where a line is no JSON. */
  log(): Record<string, unknown>[] {
    return this.stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
  }
}

/** Runs a command to its end; standard input is empty if nothing is said. */
export function cli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return new Cli(args, { input: '', ...options }).ended;
}

export interface Served extends Cli {
  /** HOST:PORT of gRPC. */
  grpc: string;
  http: string;
}

/** Starts `serve` on free ports and waits until it is ready. */
export async function startServe(dataDir: string, ...args: string[]): Promise<Served> {
  const served = new Cli(['serve', '--data-dir', dataDir, '--grpc', '127.0.0.1:0', '--http', '127.0.0.1:0', ...args]);
  await firstLine(served);
  const door = (name: string): string => new RegExp(`${name}=(\\S+)`).exec(served.stdout)?.[1] ?? '';
  return Object.assign(served, { grpc: door('grpc'), http: door('http') });
}

/** Waits for a line on standard output; rejects with what was said instead. */
export function firstLine(process: Cli): Promise<void> {
  return new Promise((resolve, reject) => {
    process.child.stdout.on('data', () => {
      if (process.stdout.includes('\n')) resolve();
    });
    process.ended.then(({ exitCode, stderr }) => reject(new Error(`ended with ${exitCode}: ${stderr}`)));
  });
}
