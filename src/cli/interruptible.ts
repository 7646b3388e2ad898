import { CliError, exitCodeOfSignal } from './exit-code.ts';

type Interrupt = 'SIGINT' | 'SIGTERM';

/**
 * Runs something until Ctrl-C or SIGTERM aborts its signal, and ends the command then as interrupted, once it has let go of what it
 * holds. A second one ends the process at once.
 */
export async function interruptible<T>(use: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const interrupted = new AbortController();
  let received: Interrupt | undefined;
  const onSignal = (name: Interrupt): void => {
    if (received !== undefined) process.exit(exitCodeOfSignal(name));
    received = name;
    interrupted.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  let result: T | undefined;
  try {
    result = await use(interrupted.signal);
  } catch (error) {
    if (received === undefined || error instanceof CliError) throw error;
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
  if (received !== undefined) throw new CliError(exitCodeOfSignal(received), 'interrupted');
  return result as T;
}
