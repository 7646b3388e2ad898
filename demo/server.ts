import { once } from 'node:events';
import type { Child, Processes } from './processes.ts';

/**
 * The program from its source, as `npx keybalancer` from the build: the demo shows the checkout as it stands, never a build
 * that is older than what was just changed, and it works before there is one.
 */
const PROGRAM = '../src/cli/main.ts';

export interface DemoServer {
  /** HOST:PORT of its gRPC door. */
  readonly address: string;
  /** Asks it to drain. Resolves with its exit code. */
  stop(): Promise<number>;
}

/** Starts a server on a fresh data dir and any free port. Resolves when it can serve. */
export async function startServer(processes: Processes, dataDir: string, geminiUrl: string): Promise<DemoServer> {
  const args = ['serve', '--data-dir', dataDir, '--grpc', '127.0.0.1:0', '--http', 'off'];
  const server = processes.start('the server', PROGRAM, [...args, '--gemini-base-url', geminiUrl], 'ignore');
  return { address: await readyAddress(server), stop: () => processes.end(server) };
}

/** Runs `keybalancer import FILE`, as a person would. Resolves with how many keys are new. */
export async function importFile(processes: Processes, path: string, address: string): Promise<number> {
  const args = ['import', path, '--source', 'demo', '--address', address, '--json'];
  const child = processes.start('keybalancer import', PROGRAM, args, 'ignore');
  const code = await processes.mayEnd(child);
  if (code !== 0) throw new Error(`keybalancer import ended with code ${code}: ${child.complaint()}`);
  return (JSON.parse(child.output()) as { new: number }).new;
}

async function readyAddress(server: Child): Promise<string> {
  let ended = false;
  const end = server.ended.then(() => {
    ended = true;
  });
  for (;;) {
    const address = /^ready grpc=(\S+)/m.exec(server.output())?.[1];
    if (address !== undefined) return address;
    if (ended) throw new Error(`the server did not start: ${server.complaint()}`);
    await Promise.race([once(server.process.stdout!, 'data'), end]);
  }
}
