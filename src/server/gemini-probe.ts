import {
  describeThrown,
  MAX_BODY_BYTES,
  MAX_MESSAGE_BYTES,
  type ProviderErrorInit,
} from '../gemini/describe-thrown.ts';
import { excerpt } from '../gemini/excerpt.ts';
import { isObject, parseJson } from '../gemini/json.ts';
import { openBody } from '../gemini/open-body.ts';
import type { Probe, ProbeOrder } from '../store/probe.ts';

/** What is read of an answer, in bytes, and for each model that it lists: one has about one thousand. */
const MAX_ANSWER_BYTES = 64 * 1024;
const MAX_MODEL_BYTES = 4 * 1024;

/** One request to Gemini, and how an answer of success must look: a proxy's page is no sign of life of a key. */
interface Question {
  url: string;
  init: RequestInit;
  isAnswer(json: unknown): boolean;
  longestAnswer: number;
}

/**
 * Asks Gemini about keys by its REST API, as @google/genai would. Never rejects. The key goes into a header alone, since URLs
 * get into logs, and to no other address than `baseUrl`, which may have a path.
 */
export function createGeminiProbe({ baseUrl }: { baseUrl: string }): Probe {
  const api = `${baseUrl.replace(/\/+$/, '')}/v1/`;
  return async (order) => {
    const began = performance.now();
    const error = await ask(api, order);
    return { latencyMs: performance.now() - began, error };
  };
}

async function ask(api: string, order: ProbeOrder): Promise<ProviderErrorInit | undefined> {
  const { apiKey, timeoutMs, signal } = order;
  const abort = new AbortController();
  const timer = setTimeout(
    () => abort.abort(new DOMException(`no answer in ${timeoutMs} ms`, 'TimeoutError')),
    timeoutMs,
  );
  const cancel = (): void => abort.abort(new DOMException('the test was given up', 'AbortError'));
  signal?.addEventListener('abort', cancel, { once: true });
  if (signal?.aborted) cancel();
  try {
    const { url, init, isAnswer, longestAnswer } =
      order.model === '' ? listing(api, order.modelsPageSize) : generation(api, order.model);
    const headers = { ...init.headers, 'x-goog-api-key': apiKey, accept: 'application/json' };
    // A redirect is not followed: Gemini sends none, and the key must not go where a proxy's page would send it.
    const response = await fetch(url, { ...init, headers, redirect: 'manual', signal: abort.signal });
    const text = await readBeginning(response, longestAnswer);
    if (response.ok && isAnswer(parseJson(text))) return undefined;
    return answered(response, text, apiKey);
  } catch (error) {
    return describeThrown(error, { apiKey, cancelled: signal?.aborted ?? false }) ?? described(error, apiKey);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', cancel);
    // Lets go of a connection whose answer was not read to its end.
    abort.abort();
  }
}

/** Uses no quota. */
function listing(api: string, pageSize: number): Question {
  return {
    url: `${api}models?pageSize=${pageSize}`,
    init: { method: 'GET' },
    isAnswer: (json) => isObject(json) && Array.isArray(json.models),
    longestAnswer: MAX_ANSWER_BYTES + pageSize * MAX_MODEL_BYTES,
  };
}

/** Uses one request of the model's quota, and one token of output. A prompt that Gemini blocks was answered, too. */
function generation(api: string, model: string): Question {
  const path = `${model.startsWith('tunedModels/') ? '' : 'models/'}${model}:generateContent`;
  const url = api + path;
  // A name with ".." would lead to another part of whatever is at the address.
  if (new URL(url).href !== new URL(api).href + path) throw new TypeError(`${model} is no name of a model`);
  const body = {
    contents: [{ role: 'user', parts: [{ text: 'Hi' }] }],
    generationConfig: { maxOutputTokens: 1 },
  };
  return {
    url,
    init: { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) },
    isAnswer: (json) => isObject(json) && (Array.isArray(json.candidates) || isObject(json.promptFeedback)),
    longestAnswer: MAX_ANSWER_BYTES,
  };
}

/** At most so many bytes of the body, as text; bytes that are no UTF-8 are replaced. */
async function readBeginning({ body }: Response, most: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let left = most;
  if (body === null) return text;
  for await (const chunk of body) {
    text += decoder.decode(chunk.subarray(0, left), { stream: true });
    left -= chunk.length;
    if (left <= 0) break;
  }
  return text + decoder.decode();
}

/** An answer that does not say that the key was taken. One of success without Gemini's words is the answer of somebody else. */
function answered({ status, headers }: Response, text: string, apiKey: string): ProviderErrorInit {
  const location = headers.get('location');
  const body = status >= 300 && status < 400 ? `redirected${location === null ? '' : ` to ${location}`}` : text;
  return {
    httpStatus: status,
    body: excerpt(body, MAX_BODY_BYTES, apiKey),
    message: excerpt(openBody(body).text, MAX_MESSAGE_BYTES, apiKey),
  };
}

/** What is no failure of a call, such as a key that cannot stand in a header. */
function described(error: unknown, apiKey: string): ProviderErrorInit {
  return { message: excerpt(String(error), MAX_MESSAGE_BYTES, apiKey) };
}
