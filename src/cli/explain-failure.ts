import { CommanderError } from 'commander';
import { CliError, EXIT } from './exit-code.ts';
import { inCommandWords } from './field-words.ts';

/** What is told of a command that failed. */
export interface FailureExplanation {
  exitCode: number;
  /** undefined: nothing is left to say. */
  message: string | undefined;
}

/** Errors whose message is a whole sentence for the person at the keyboard, by name: to load their classes would cost every command the server. */
const EXIT_CODE_OF: Record<string, number> = {
  ConfigError: EXIT.usage,
  ExposureError: EXIT.failed,
  ListenError: EXIT.failed,
  DataDirError: EXIT.failed,
  DataDirInUseError: EXIT.failed,
  MasterKeyError: EXIT.failed,
};

/** What the transport says of a server that is not there, or does not answer in time. */
const NOT_REACHED = ['UNAVAILABLE', 'DEADLINE_EXCEEDED'];

/** Lines of whereOf(). */
const LONGEST_PLACE = 50;

/** What an error means for a person and for the exit code. */
export function explainFailure(error: unknown): FailureExplanation {
  if (error instanceof CliError) return { exitCode: error.exitCode, message: error.message };
  if (error instanceof CommanderError) return explainUsage(error);
  if (!(error instanceof Error)) return { exitCode: EXIT.failed, message: `failed: ${String(error)}` };
  const known = EXIT_CODE_OF[error.name];
  if (known !== undefined) return { exitCode: known, message: error.message };
  const { code, reason } = error as { code?: string; reason?: string };
  // A refusal by the data dir that this process opened itself: the same sentence as a server's.
  if (error.name === 'BalancerError') return { exitCode: EXIT.failed, message: inCommandWords(error.message) };
  if (error.name === 'KeyBalancerError') {
    // Without a reason it was the transport that spoke.
    if (reason === '' && NOT_REACHED.includes(code ?? '')) {
      return { exitCode: EXIT.notReached, message: error.message };
    }
    if (reason === '' && code === 'UNIMPLEMENTED') {
      const message = `${error.message}; it is of another version: \`keybalancer version\` tells both`;
      return { exitCode: EXIT.failed, message };
    }
    return { exitCode: EXIT.failed, message: inCommandWords(error.message) };
  }
  // The system's refusals, such as a port in use, say enough; anything else is a fault of this program.
  const message =
    code !== undefined && /^E[A-Z0-9]+$/.test(code) ? error.message : `unexpected: ${error.stack ?? error.message}`;
  return { exitCode: EXIT.failed, message };
}

/**
 * Where in the program it failed, and after which failures: names, codes and places. Not what these said, since nobody has seen to it
 * that there is no key in it.
 */
export function whereOf(error: unknown): string {
  const lines: string[] = [];
  for (let each = error; each instanceof Error && lines.length < LONGEST_PLACE; each = each.cause) {
    const { name, code } = each as { name: string; code?: unknown };
    const said = typeof code === 'string' || typeof code === 'number' ? `${name} (${code})` : name;
    lines.push(each === error ? said : `caused by ${said}`);
    lines.push(...(each.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line)));
  }
  return lines.slice(0, LONGEST_PLACE).join('\n');
}

/** A word that can be quoted: an option or command, perhaps misspelt. Anything else may be an API key in the wrong place. */
const PLAIN_WORD = /^-{0,2}[a-z][a-z-]{0,23}$/;

/** Commander's complaints, less the arguments they quote. */
function explainUsage({ exitCode, code, message }: CommanderError): FailureExplanation {
  if (exitCode === 0) return { exitCode: EXIT.done, message: undefined };
  // Its help is on standard error already.
  if (code === 'commander.help') return { exitCode: EXIT.usage, message: 'the command to run is missing' };
  const plain = message.replace(/^error: /, '').replaceAll('\n', ' ');
  return { exitCode: EXIT.usage, message: `${withoutArguments(code, plain)}; see --help` };
}

function withoutArguments(code: string, message: string): string {
  switch (code) {
    // These quote what the program itself declares.
    case 'commander.missingArgument':
    case 'commander.optionMissingArgument':
      return message;
    case 'commander.excessArguments':
      return message.replace(/(but got \d+).*$/, '$1');
    default:
      return message.replace(/'([^']*)'/g, (quoted, text: string) => (PLAIN_WORD.test(text) ? quoted : "'…'"));
  }
}
