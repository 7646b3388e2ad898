import { GoogleGenAI, type GoogleGenAIOptions } from '@google/genai';
import { geminiBaseUrlOf } from './config.ts';
import { fetchOf } from './fetch-of.ts';
import { inPlainEnvironment } from './genai/plain-environment.ts';
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
  const { httpOptions } = options;
  const inner = fetchOf(options);
  const baseUrl = httpOptions?.baseUrl ?? geminiBaseUrlOf();
  const ai = inPlainEnvironment(
    () =>
      new GoogleGenAI({
        ...options,
        vertexai: false,
        apiKey,
        httpOptions: { ...httpOptions, baseUrl, fetch: watch.fetch(inner, { apiKey, signal }) },
      }),
  );
  noteSessions(ai.live, watch);
  noteSessions(ai.live.music, watch);
  // Whoever reads the key asks Gemini by a client of his own.
  Object.defineProperty(ai, 'apiKey', {
    enumerable: false,
    get() {
      watch.unseen = true;
      return apiKey;
    },
  });
  hideInside(ai, apiKey);
  return ai;
}

/** Where the SDK keeps the key: read by it there, and shown by no log of the client. */
function hideInside(ai: GoogleGenAI, apiKey: string): void {
  const { apiClient } = ai as unknown as { apiClient?: { clientOptions?: { auth?: object } } };
  for (const holder of [apiClient?.clientOptions, apiClient?.clientOptions?.auth]) {
    if (holder !== undefined) Object.defineProperty(holder, 'apiKey', { enumerable: false, get: () => apiKey });
  }
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
