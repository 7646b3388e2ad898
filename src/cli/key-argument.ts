import type { Balancer } from '../client/balancer.ts';
import { CliError, EXIT } from './exit-code.ts';
import type { Output } from './output.ts';
import { readSecret, secretInFile } from './read-secret.ts';

const KEY_ID = /^key-[0-9a-f]{8,}$/;

/** Whether it names a key without showing it. */
export function isKeyId(text: string): boolean {
  return KEY_ID.test(text);
}

/** Ends the command where one is no key id. It is not repeated: it may be an API key. */
export function checkKeyIds(keyIds: readonly string[]): void {
  if (keyIds.every(isKeyId)) return;
  throw new CliError(EXIT.usage, 'KEY_ID is no key id; allowed: such as key-00000007, as `list` shows it');
}

/** An API key from an argument, of which the user is warned, or by "-" from standard input or a hidden prompt. */
export async function apiKeyOf(argument: string, command: string, output: Output): Promise<string> {
  if (argument.trim() === '')
    throw new CliError(EXIT.usage, 'KEY is empty; allowed: an API key, or - for standard input');
  if (argument === '-') return readSecret('API key');
  output.complain(
    `the key is in the history of the shell now, and every user of this machine could see it; \`${command} -\` reads it from standard input`,
  );
  return argument;
}

/** A key that is to be added: from one place, and from a hidden prompt where none is named. */
export async function newKeyOf(
  argument: string | undefined,
  { fromEnv, fromFile }: { fromEnv?: string; fromFile?: string },
  output: Output,
): Promise<string> {
  const places = [argument, fromEnv, fromFile].filter((place) => place !== undefined);
  if (places.length > 1) throw new CliError(EXIT.usage, 'KEY, --from-env and --from-file: only one can be given');
  if (fromEnv !== undefined) return variable(fromEnv);
  if (fromFile !== undefined) return secretInFile(fromFile, '--from-file', 'API key');
  if (argument === undefined && !process.stdin.isTTY) {
    throw new CliError(EXIT.usage, 'missing KEY: name - for standard input, --from-env or --from-file; see --help');
  }
  return apiKeyOf(argument ?? '-', 'add-key', output);
}

/** Says nothing of the name but that it is none: it may be the key itself. */
function variable(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(name)) {
    throw new CliError(EXIT.usage, '--from-env is no name of a variable; allowed: such as GEMINI_API_KEY');
  }
  const value = process.env[name]?.trim() ?? '';
  if (value === '')
    throw new CliError(EXIT.usage, `--from-env names a variable that is not set; allowed: one that holds a key`);
  return value;
}

/** The id of a key that is there: asked by an import that only checks, since the API tells keys by a hash of its own. */
export async function keyIdOf(balancer: Balancer, apiKey: string, signal: AbortSignal): Promise<string> {
  const { results } = await balancer.keyBalancer.importKeys({ keys: [{ apiKey }], validateOnly: true }, { signal });
  const [result] = results;
  if (result === undefined || result.keyId === '') throw new CliError(EXIT.failed, 'there is no such key');
  return result.keyId;
}
