import { accessSync, constants, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addressList } from '../client/address.ts';
import type { Balancer } from '../client/balancer.ts';
import { connect } from '../client/connect.ts';
import { readClientConfig } from '../server/config/config.ts';
import { hasDatabase, reasonOf } from '../store/data-dir.ts';
import { CliError, EXIT } from './exit-code.ts';
import { interruptible } from './interruptible.ts';
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
  await withReach(options, output, async (reach, signal) => use(await reach(), signal));
}

/**
 * The same for a command that has something to look at before: `reach` connects, or opens the data dir, on its first call. `dryRun`: in
 * place of a data dir that is not there yet an empty one is used, which is gone afterwards.
 */
export async function withReach(
  options: ClientOptions & { mayCreate?: boolean; dryRun?: boolean },
  output: Output,
  use: (reach: () => Promise<Balancer>, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const { address, dataDir, masterKey, geminiBaseUrl } = readClientConfig(flagsOf(options));
  if (!options.mayCreate && address === undefined) checkThereIsData(dataDir);
  await interruptible(async (signal) => {
    let aside: string | undefined;
    let reached: Promise<Balancer> | undefined;
    const reach = (): Promise<Balancer> => {
      if (reached !== undefined) return reached;
      if (options.dryRun && address === undefined && !existsSync(dataDir)) {
        aside = mkdtempSync(join(tmpdir(), 'keybalancer-'));
      }
      // What is made aside is no matter of the user's.
      const warn = aside === undefined ? (message: string) => output.complain(message) : () => {};
      reached = connect({
        ...(address === undefined ? { dataDir: aside ?? dataDir } : { address: addressList(address) }),
        visit: true,
        embedded: { masterKey, geminiBaseUrl, warn },
      });
      return reached;
    };
    try {
      await use(reach, signal);
    } finally {
      // Where it cannot be reached, there is nothing to close.
      await (await reached?.catch(() => undefined))?.close();
      if (aside !== undefined) rmSync(aside, { recursive: true, force: true });
    }
  });
}

/** A command that only looks makes no database where there is none. */
export function checkThereIsData(dataDir: string): void {
  const start = 'start one with `keybalancer serve`, or add keys';
  if (!existsSync(dataDir)) throw new CliError(EXIT.notReached, `no server, and no data dir ${dataDir}; ${start}`);
  if (!statSync(dataDir).isDirectory()) return;
  try {
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new CliError(
      EXIT.failed,
      `data dir ${dataDir} cannot be used: ${reasonOf(error)}; run this as the user that it belongs to`,
    );
  }
  if (!hasDatabase(dataDir)) {
    throw new CliError(EXIT.notReached, `no server, and no KeyBalancer data in ${dataDir}; ${start}`);
  }
}
