import { CliError, EXIT } from '../exit-code.ts';

/** Names under which secrets travel. */
const SECRET_NAME = /auth|cookie|key|secret|token/i;

/**
 * The headers that `--header` and `--header-env` give, by small name. No value is ever shown. `warn` hears of one on the command line that
 * looks like a secret.
 */
export function sinkHeaders(
  { header = [], headerEnv = [] }: { header?: readonly string[]; headerEnv?: readonly string[] },
  env: NodeJS.ProcessEnv,
  warn: (message: string) => void,
): Record<string, string> {
  const headers = new Headers();
  for (const [index, text] of header.entries()) {
    const name = set(headers, text, header.length === 1 ? '--header' : `--header number ${index + 1}`);
    if (!SECRET_NAME.test(name)) continue;
    warn(
      `--header ${name}: other users of this machine can see the command line; --header-env takes it from the environment`,
    );
  }
  for (const variable of headerEnv) {
    set(headers, secretOf('--header-env', variable, env), `the variable ${variable} of --header-env`);
  }
  return Object.fromEntries(headers);
}

/** Reads the URL of a sink. Its text is never shown: tokens of webhooks are often a part of the path. */
export function sinkUrl(flag: string) {
  return (text: string): URL => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
      throw new CliError(EXIT.usage, `${flag} is no URL; allowed: http://HOST[:PORT][/PATH] or https://…`);
    }
    if (url.username !== '' || url.password !== '') {
      throw new CliError(EXIT.usage, `${flag} holds a user or password; give them as a header, by --header-env`);
    }
    return url;
  };
}

/** What a variable holds that an option names. */
export function secretOf(flag: string, variable: string, env: NodeJS.ProcessEnv): string {
  const value = env[variable];
  if (value !== undefined && value !== '') return value;
  const named = /^[A-Z_][A-Z0-9_]{0,63}$/.test(variable) ? variable : 'no name of one';
  throw new CliError(EXIT.usage, `${flag} is ${named}; allowed: the name of an environment variable that is set`);
}

/** The name that was set. */
function set(headers: Headers, text: string, what: string): string {
  const [, name, value] = /^([^:]+):\s*(.*)$/s.exec(text) ?? [];
  try {
    // It refuses what HTTP does, in words that repeat the value.
    if (name !== undefined) headers.append(name, value!);
  } catch {
    throw wrongHeader(what);
  }
  if (name === undefined) throw wrongHeader(what);
  return name;
}

function wrongHeader(what: string): CliError {
  return new CliError(EXIT.usage, `${what} is no header; allowed: NAME: VALUE, such as "X-Team: payments"`);
}
