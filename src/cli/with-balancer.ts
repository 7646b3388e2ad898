import { existsSync } from 'node:fs';
import type { Balancer } from '../client/balancer.ts';
import { connect } from '../client/connect.ts';
import { readClientConfig } from '../server/config.ts';
import { CliError, EXIT, exitCodeOfSignal } from './exit-code.ts';
import { type ClientOptions, flagsOf } from './options.ts';
import type { Output } from './output.ts';

/**
 * Runs a command against the server that the options lead to, else against the data dir itself. Ctrl-C gives the open
 * call up by `signal`; a second one ends the process. `mayCreate`: a data dir that is not there yet is made.
 */
export async function withBalancer(
  options: ClientOptions & { mayCreate?: boolean },
  output: Output,
  use: (balancer: Balancer, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const { address, dataDir, masterKey } = readClientConfig(flagsOf(options));
  if (!options.mayCreate && address === undefined && !existsSync(dataDir)) {
    throw new CliError(EXIT.notReached, `no server, and no data dir ${dataDir}; start one with \`keybalancer serve\``);
  }
  const interrupted = new AbortController();
  let received: 'SIGINT' | 'SIGTERM' | undefined;
  const onSignal = (name: 'SIGINT' | 'SIGTERM'): void => {
    if (received !== undefined) process.exit(exitCodeOfSignal(name));
    received = name;
    interrupted.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const balancer = await connect({
    ...(address === undefined ? { dataDir } : { address }),
    embedded: { masterKey, warn: (message) => output.complain(message) },
  });
  try {
    await use(balancer, interrupted.signal);
  } catch (error) {
    if (received === undefined || error instanceof CliError) throw error;
  } finally {
    await balancer.close();
  }
  if (received !== undefined) throw new CliError(exitCodeOfSignal(received), 'interrupted');
}
