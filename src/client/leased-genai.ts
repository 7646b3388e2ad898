import { inspect } from 'node:util';
import type { GoogleGenAI, GoogleGenAIOptions } from '@google/genai';
import { errorBody } from './genai/error-body.ts';
import { liveWithKey } from './genai/live-socket.ts';
import { sdkClient } from './genai/sdk-client.ts';
import { maskKeys } from './mask-keys.ts';
import type { RequestWatch } from './request-watch.ts';

/** The SDK's own options, less what the lease decides. */
export type GenAIOptions = Omit<
  GoogleGenAIOptions,
  'apiKey' | 'vertexai' | 'enterprise' | 'project' | 'location' | 'googleAuthOptions'
>;

/** Options of genai(). */
export interface LeasedGenAIOptions extends GenAIOptions {
  /**
   * Requests of the same are made with the same key while it is free and well; chats have one each. For files, stores and caches that are made
   * apart and shall be in one project. Default: none, so that the load is spread.
   */
  affinityKey?: string | undefined;
}

/** A real GoogleGenAI for one lease: making one costs microseconds, so none is kept. */
export function leasedGenAI(
  apiKey: string,
  options: GenAIOptions,
  watch: RequestWatch,
  signal: AbortSignal | undefined,
): GoogleGenAI {
  const ai = sdkClient(options, (send) => watch.fetch(maskedFetch(send, apiKey), { apiKey, signal }));
  watchSessions(ai.live, apiKey, watch);
  watchSessions(ai.live.music, apiKey, watch);
  giveKey(ai, apiKey, watch);
  return ai;
}

/** A fetch that brings what Gemini says against a request without the key. */
function maskedFetch(inner: typeof fetch, apiKey: string): typeof fetch {
  return async (input, init) => {
    try {
      const response = await inner(input, init);
      return response.ok ? response : (await errorBody(response, apiKey)).ending;
    } catch (error) {
      throw maskKeys(error, [apiKey]);
    }
  };
}

/** Whoever reads the key asks Gemini by a client of his own. No log reads it. */
function giveKey(ai: GoogleGenAI, apiKey: string, watch: RequestWatch): void {
  const { apiKey: _, ...shown } = Object.getOwnPropertyDescriptors(ai);
  Object.defineProperties(ai, {
    apiKey: {
      enumerable: false,
      get() {
        watch.unseen = true;
        return apiKey;
      },
    },
    [inspect.custom]: { value: () => Object.create(Object.getPrototypeOf(ai), shown) },
  });
}

/** Live sessions go by WebSocket: of them is known only that they were tried, and whether they opened. */
function watchSessions<P, S>(live: { connect(params: P): Promise<S> }, apiKey: string, watch: RequestWatch): void {
  const { connect } = live;
  live.connect = async (params) => {
    watch.unseen = true;
    const session = await connect.call(liveWithKey(live, apiKey), params);
    watch.sessions++;
    return session;
  };
}
