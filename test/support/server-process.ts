import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { connectRemote } from '../../src/client/remote.ts';
import { MAIN } from './build.ts';
import { freePort } from './free-port.ts';
import { INHERITED } from './inherited.ts';

/** `nodeOptions` of a heap that is collected often, so that what the process holds says what it keeps. */
export const SMALL_HEAP = '--max-semi-space-size=1 --max-old-space-size=100';

export interface ServeOptions {
  dataDir: string;
  /** HOST:PORT or off. Default: a free port of loopback. */
  grpc?: string;
  /** HOST:PORT or off. Default: off. */
  http?: string;
  /** Default: normal, which outlives the process but perhaps not the power. */
  durability?: 'full' | 'normal';
  /** More of the command line, such as --insecure. */
  more?: readonly string[];
  /** Of Node itself, such as --max-semi-space-size=1. */
  nodeOptions?: string;
  /** More variables of its environment. */
  env?: Readonly<Record<string, string>>;
  /** As whom it runs. Default: as the test. */
  user?: { uid: number; gid: number };
  /** Who kills it in the end: the test that started it, or, where many tests share it, whoever started it. Default: the test. */
  endedBy?: 'test' | 'starter';
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A server in a process of its own, started by its command line, which ends with the test. */
export class ServerProcess {
  readonly process: ChildProcess;
  /** HOST:PORT of each door; "" where it is off. */
  readonly grpc: string = '';
  readonly http: string = '';
  /** How it ended. */
  readonly exit: Promise<Exit>;
  /** What it wrote to standard output and to standard error. */
  stdout = '';
  stderr = '';
  readonly #dataDir: string;

  private constructor(options: ServeOptions) {
    const {
      dataDir,
      grpc = '127.0.0.1:0',
      http = 'off',
      durability = 'normal',
      more = [],
      nodeOptions = '',
      env,
      user,
    } = options;
    this.#dataDir = dataDir;
    const line = ['serve', '--data-dir', dataDir, '--grpc', grpc, '--http', http, '--durability', durability, ...more];
    this.process = spawn(process.execPath, [MAIN, ...line], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...INHERITED, HOME: dataDir, NODE_OPTIONS: nodeOptions, ...env },
      ...user,
    });
    this.process.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.process.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.exit = once(this.process, 'close').then(([code, signal]) => ({ code, signal }) as Exit);
  }

  /** Resolves when it serves. Rejects with what it said when it does not. */
  static async start(options: ServeOptions): Promise<ServerProcess> {
    const server = ServerProcess.#spawn({ grpc: `127.0.0.1:${await freePort()}`, ...options });
    const ready = /^ready(?: grpc=(\S+))?(?: http=(\S+))?(?: socket=\S+)?\n/;
    await new Promise<void>((resolve, reject) => {
      server.process.stdout!.on('data', () => ready.test(server.stdout) && resolve());
      void server.exit.then(({ code }) => reject(new Error(`the server ended with ${code}: ${server.stderr}`)));
    });
    const [, grpc = '', http = ''] = ready.exec(server.stdout)!;
    return Object.assign(server, { grpc, http });
  }

  /** Resolves when a server that cannot start has ended. */
  static async fail(options: ServeOptions): Promise<Exit & { stderr: string; stdout: string }> {
    const server = ServerProcess.#spawn(options);
    const exit = await server.exit;
    return { ...exit, stdout: server.stdout, stderr: server.stderr };
  }

  static #spawn(options: ServeOptions): ServerProcess {
    const server = new ServerProcess(options);
    if (options.endedBy !== 'starter') {
      onTestFinished(async () => {
        await server.kill();
      });
    }
    return server;
  }

  get pid(): number {
    return this.process.pid!;
  }

  /** unix:PATH of the socket in its data dir. */
  get socket(): string {
    return `unix:${this.#dataDir}/keybalancer.sock`;
  }

  /** A client of it, over TCP or over the socket, which ends with the test. */
  connect(address = this.grpc): Balancer {
    const balancer = connectRemote(address);
    onTestFinished(() => balancer.close());
    return balancer;
  }

  /** Bytes that it holds in memory. */
  get residentBytes(): number {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))![1]) * 1024;
  }

  /** From now on no file that it writes may grow beyond so many bytes: a write that fails for real, without a full disk. */
  limitFileSize(bytes: number | 'unlimited'): void {
    execFileSync('prlimit', ['--pid', String(this.pid), `--fsize=${bytes}:`]);
  }

  /** Sends a signal. Resolves when the process is gone. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    this.process.kill(signal);
    return this.exit;
  }

  kill(): Promise<Exit> {
    return this.stop('SIGKILL');
  }
}
