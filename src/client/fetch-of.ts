import { shownType } from './checks.ts';
import type { GenAIOptions } from './leased-genai.ts';

type Fetch = typeof globalThis.fetch;

/** What an own fetch gave is no response: its mistake, which another key does not mend. */
export class NoResponseError extends TypeError {
  constructor(given: unknown) {
    super(`httpOptions.fetch gave ${shownType(given)}; allowed: a promise of a Response`);
  }
}

/** The fetch that requests are made with: the caller's own, where the options have one. */
export function fetchOf({ httpOptions }: GenAIOptions): Fetch {
  const own = httpOptions?.fetch as Fetch | undefined;
  if (own === undefined) return patientFetch;
  return async (input, init) => {
    const response: unknown = await own(input, init);
    if (!isResponse(response)) throw new NoResponseError(response);
    return response;
  };
}

/** Those of other implementations are no instances of this one's class. */
function isResponse(value: unknown): value is Response {
  if (typeof value !== 'object' || value === null) return false;
  const { status, headers } = value as { status?: unknown; headers?: { get?: unknown } };
  return typeof status === 'number' && typeof headers?.get === 'function';
}

interface Dispatcher {
  dispatch(options: object, handler: unknown): boolean;
}

/**
 * fetch without Node's limit of 300 s on headers and body: long generations take longer, and the SDK lifts the limit
 * only where it calls fetch itself.
 */
const patientFetch: Fetch = (input, init) =>
  // Jest's contexts have fetch, and not what it goes by: there the limits stay.
  fetch(input, globalDispatcher() === undefined ? init : ({ dispatcher: withoutLimits, ...init } as RequestInit));

const withoutLimits: Dispatcher = {
  dispatch(options, handler) {
    return globalDispatcher()!.dispatch({ ...options, headersTimeout: 0, bodyTimeout: 0 }, handler);
  },
};

/** Set when fetch, Headers or the like was first used. */
function globalDispatcher(): Dispatcher | undefined {
  return (globalThis as Record<symbol, unknown>)[Symbol.for('undici.globalDispatcher.1')] as Dispatcher | undefined;
}
