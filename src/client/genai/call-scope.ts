import { AsyncLocalStorage } from 'node:async_hooks';
import { type Attempt, attachAttempts } from '../attempts.ts';

/** What goes with a call of the SDK down to its HTTP requests, and comes back from them. */
export interface CallScope {
  /** Requests of the same are best made with the same key, such as the turns of a chat. "": any. */
  affinityKey: string;
  /** Tries of the request that failed last. */
  attempts: readonly Attempt[];
}

const scopes = new AsyncLocalStorage<CallScope>();

export function callScope(): CallScope | undefined {
  return scopes.getStore();
}

/** Runs what makes requests that are best made with the same key. */
export function withAffinity<T>(affinityKey: string, run: () => T): T {
  return scopes.run({ affinityKey, attempts: [] }, run);
}

/** Runs what makes a request; on the error that it ends with, if it does, hang the tries that were made. */
export async function withAttempts<T>(run: () => Promise<T>): Promise<T> {
  const scope: CallScope = { affinityKey: scopes.getStore()?.affinityKey ?? '', attempts: [] };
  try {
    return await scopes.run(scope, run);
  } catch (error) {
    if (scope.attempts.length > 0) attachAttempts(error, scope.attempts);
    throw error;
  }
}
