/** What the exit code of a command says; the help and the documents say the same. */
export const EXIT = {
  /** All was done. */
  done: 0,
  /** Nothing, or not what was asked for. */
  failed: 1,
  /** The command line or the environment cannot be used as it is. */
  usage: 2,
  /** No server answered at the address, so nothing was asked of it; or there is no data to open without one. */
  notReached: 3,
  /** Some of it was done, such as an import with lines that were rejected. */
  partly: 4,
} as const;

/** As a shell counts a process that a signal ended. */
export function exitCodeOfSignal(signal: 'SIGINT' | 'SIGTERM'): number {
  return signal === 'SIGINT' ? 130 : 143;
}

export const EXIT_CODES_HELP =
  'Exit codes: 0 done, 1 failed, 2 usage, 3 server not reached (or no data), 4 partly done, 130 or 143 interrupted by a signal.';

/** Ends the command with a line on standard error. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exitCode: number;

  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}
