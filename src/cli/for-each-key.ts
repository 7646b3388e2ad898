import { KeyBalancerError } from '../client/errors.ts';
import { CliError, EXIT } from './exit-code.ts';
import { inCommandWords } from './field-words.ts';
import type { Output } from './output.ts';
import { count } from './words.ts';

/** At once: enough for many to share a commit. */
const PARALLELISM = 50;
/** Failures told one by one. */
const MOST_TOLD = 20;

export interface Each {
  done: string[];
  failed: { keyId: string; reason: string }[];
}

/** Does something to each of many keys. One that fails is no reason to leave out the others. */
export async function forEachKey(
  keyIds: readonly string[],
  act: (keyId: string) => Promise<unknown>,
  { verb, output, signal }: { verb: string; output: Output; signal: AbortSignal },
): Promise<Each> {
  const each: Each = { done: [], failed: [] };
  const next = keyIds.values();
  const worker = async (): Promise<void> => {
    for (const keyId of next) {
      signal.throwIfAborted();
      try {
        await act(keyId);
        each.done.push(keyId);
      } catch (error) {
        if (!(error instanceof KeyBalancerError) || signal.aborted || error.reason === '') throw error;
        each.failed.push({ keyId, reason: inCommandWords(error.message) });
      }
      output.progress(`${verb} ${each.done.length} of ${keyIds.length} keys`);
    }
  };
  await Promise.all(Array.from({ length: PARALLELISM }, worker));
  return each;
}

/** Says which failed, and ends the command with what that means. */
export function judgeEach({ done, failed }: Each, output: Output): void {
  for (const { keyId, reason } of failed.slice(0, MOST_TOLD)) output.complain(`${keyId}: ${reason}`);
  if (failed.length === 0) return;
  throw new CliError(done.length === 0 ? EXIT.failed : EXIT.partly, `${count(failed.length, 'key')} failed`);
}
