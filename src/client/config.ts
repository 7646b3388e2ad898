import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { addressList, parseAddresses } from './address.ts';
import { shownType } from './checks.ts';
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
  if (env.KEYBALANCER_ADDRESS) {
    const addresses = addressList(env.KEYBALANCER_ADDRESS);
    parseAddresses(addresses, 'KEYBALANCER_ADDRESS');
    return { address: addresses };
  }
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

/**
 * Where Gemini is, unless options say: the SDK reads the second variable, too. Throws INVALID_ARGUMENT where it is no place of Gemini's API:
 * requests to it would fail one after the other, each with another key.
 */
export function geminiBaseUrlOf(env: NodeJS.ProcessEnv = process.env): string {
  const name = env.KEYBALANCER_GEMINI_BASE_URL ? 'KEYBALANCER_GEMINI_BASE_URL' : 'GOOGLE_GEMINI_BASE_URL';
  const url = env[name];
  if (!url) return 'https://generativelanguage.googleapis.com';
  checkBaseUrl('the base URL in the environment', url, ` (${name})`);
  return url;
}

/** Throws INVALID_ARGUMENT where a base URL is none of an API that takes keys of Gemini. `from` says where it was found. */
export function checkBaseUrl(name: string, url: unknown, from = ''): void {
  const { protocol = '', hostname = '' } = (typeof url === 'string' && URL.parse(url)) || {};
  if (!/^https?:$/.test(protocol)) {
    throw invalidOption(
      name,
      typeof url === 'string' ? `${JSON.stringify(url)}${from}` : shownType(url),
      'an http or https URL',
    );
  }
  if (/(?:^|[.-])aiplatform\.googleapis\.com$/.test(hostname)) {
    throw invalidOption(name, `of ${hostname}${from}`, 'a URL of the Gemini API: Vertex takes none of its keys');
  }
}

/** What would make the SDK call Vertex, and does not here: the names of the variables that say so. */
export function vertexVariables(env: NodeJS.ProcessEnv = process.env): string[] {
  return ['GOOGLE_GENAI_USE_VERTEXAI', 'GOOGLE_GENAI_USE_ENTERPRISE'].filter(
    (name) => env[name]?.toLowerCase() === 'true',
  );
}
