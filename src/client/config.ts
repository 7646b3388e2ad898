import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { invalidOption } from './errors.ts';

/** Where a KeyBalancer is: a server's address, or a data dir. */
export type Place = { address: string | readonly string[] } | { dataDir: string };

/**
 * Which KeyBalancer is meant: the one named, else KEYBALANCER_ADDRESS, else KEYBALANCER_DATA_DIR, else the default data dir.
 * The one place where the client reads the environment.
 */
export function placeOf(
  named: { address?: string | readonly string[] | undefined; dataDir?: string | undefined },
  env: NodeJS.ProcessEnv = process.env,
): Place {
  const { address, dataDir } = named;
  if (address !== undefined && dataDir !== undefined) {
    throw invalidOption(
      'address and dataDir',
      `${JSON.stringify(address)} and ${JSON.stringify(dataDir)}`,
      'one of them, or neither',
    );
  }
  if (address !== undefined) return { address };
  if (dataDir === '') throw invalidOption('dataDir', 'empty', 'the path of a directory');
  if (dataDir !== undefined) return { dataDir: resolve(dataDir) };
  if (env.KEYBALANCER_ADDRESS) return { address: env.KEYBALANCER_ADDRESS };
  return { dataDir: resolve(env.KEYBALANCER_DATA_DIR || defaultDataDir(env)) };
}

/** $XDG_DATA_HOME/keybalancer, else ~/.local/share/keybalancer. */
function defaultDataDir(env: NodeJS.ProcessEnv): string {
  return join(env.XDG_DATA_HOME || join(homedir(), '.local', 'share'), 'keybalancer');
}

/** What seals the keys of a data dir that is opened in this process; {}: the dir's own file. */
export function masterKeyOf(env: NodeJS.ProcessEnv = process.env): { value?: string; file?: string } {
  return {
    ...(env.KEYBALANCER_MASTER_KEY ? { value: env.KEYBALANCER_MASTER_KEY } : {}),
    ...(env.KEYBALANCER_MASTER_KEY_FILE ? { file: env.KEYBALANCER_MASTER_KEY_FILE } : {}),
  };
}

/** Where a data dir that is opened in this process asks Gemini about keys: the SDK reads the second variable, too. */
export function geminiBaseUrlOf(env: NodeJS.ProcessEnv = process.env): string {
  return env.KEYBALANCER_GEMINI_BASE_URL || env.GOOGLE_GEMINI_BASE_URL || 'https://generativelanguage.googleapis.com';
}
