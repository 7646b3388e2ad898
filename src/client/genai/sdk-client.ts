import { GoogleGenAI } from '@google/genai';
import { geminiBaseUrlOf } from '../config.ts';
import { fetchOf } from '../fetch-of.ts';
import type { GenAIOptions } from '../leased-genai.ts';
import { inPlainEnvironment } from './plain-environment.ts';
import { checkCalls, withoutOwnRetries } from './sdk-patches.ts';

type Fetch = typeof globalThis.fetch;

/** The SDK wants a key. This is none: the lease's is set where a request leaves, so that the SDK has none to show or to log. */
const NO_KEY = 'leased-by-keybalancer';

/**
 * A GoogleGenAI without a key, whose requests go by `around`, which gets the fetch that sends them. Of the environment only the base
 * URL counts. Options of single calls that the lease decides are refused, and nothing is tried again by the SDK itself.
 */
export function sdkClient(options: GenAIOptions, around: (send: Fetch) => Fetch): GoogleGenAI {
  const { httpOptions } = options;
  const baseUrl = httpOptions?.baseUrl ?? geminiBaseUrlOf();
  const fetch = around(fetchOf(options));
  const ai = inPlainEnvironment(
    () =>
      new GoogleGenAI({ ...options, vertexai: false, apiKey: NO_KEY, httpOptions: { ...httpOptions, baseUrl, fetch } }),
  );
  checkCalls(ai);
  withoutOwnRetries(ai);
  return ai;
}
