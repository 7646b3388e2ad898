import { GoogleGenAI, type GoogleGenAIOptions } from '@google/genai';
import type { RequestWatch } from './request-watch.ts';

/** The SDK's own options, less what the lease decides. */
export type GenAIOptions = Omit<
  GoogleGenAIOptions,
  'apiKey' | 'vertexai' | 'enterprise' | 'project' | 'location' | 'googleAuthOptions'
>;

/** A real GoogleGenAI for one lease: making one costs microseconds, so none is kept. */
export function leasedGenAI(
  apiKey: string,
  options: GenAIOptions,
  watch: RequestWatch,
  signal: AbortSignal | undefined,
): GoogleGenAI {
  const inner = options.httpOptions?.fetch ?? patientFetch;
  // Said, not left out: the environment could turn Vertex on, which takes no API key of ours.
  const ai = new GoogleGenAI({
    ...options,
    vertexai: false,
    apiKey,
    httpOptions: { ...options.httpOptions, fetch: watch.fetch(inner as typeof fetch, signal) },
  });
  noteSessions(ai.live, watch);
  noteSessions(ai.live.music, watch);
  // Whoever reads the key asks Gemini by a client of his own.
  Object.defineProperty(ai, 'apiKey', {
    get() {
      watch.unseen = true;
      return apiKey;
    },
  });
  return ai;
}

/** Live sessions go by WebSocket: of them is known only that they were tried, and whether they opened. */
function noteSessions<P, S>(live: { connect(params: P): Promise<S> }, watch: RequestWatch): void {
  const connect = live.connect.bind(live);
  live.connect = async (params) => {
    watch.unseen = true;
    const session = await connect(params);
    watch.sessions++;
    return session;
  };
}

interface Dispatcher {
  dispatch(options: object, handler: unknown): boolean;
}

/**
 * fetch without Node's limit of 300 s on headers and body: long generations take longer, and the SDK lifts the limit
 * only where it calls fetch itself.
 */
export const patientFetch: typeof globalThis.fetch = (input, init) =>
  fetch(input, { dispatcher: withoutLimits, ...init } as RequestInit);

const withoutLimits: Dispatcher = {
  dispatch(options, handler) {
    const global = (globalThis as Record<symbol, unknown>)[Symbol.for('undici.globalDispatcher.1')] as Dispatcher;
    return global.dispatch({ ...options, headersTimeout: 0, bodyTimeout: 0 }, handler);
  },
};
