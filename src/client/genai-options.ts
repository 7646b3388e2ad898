import type { HttpOptions } from '@google/genai';
import { fn, LONGEST_TIMER_MS, number, record, refuseUnknown, shownType, text } from './checks.ts';
import { checkBaseUrl } from './config.ts';
import { invalidOption, type KeyBalancerError } from './errors.ts';
import type { GenAIOptions, LeasedGenAIOptions } from './leased-genai.ts';

const NOT_FOR_LEASES = ['apiKey', 'project', 'location', 'googleAuthOptions', 'enterprise'];
/** What the SDK has: the compiler says when a version has more. */
const GENAI_OPTIONS = Object.keys({ apiVersion: 1, httpOptions: 1 } satisfies Record<keyof GenAIOptions, 1>);
const HTTP_OPTIONS = Object.keys({
  baseUrl: 1,
  baseUrlResourceScope: 1,
  apiVersion: 1,
  headers: 1,
  timeout: 1,
  extraBody: 1,
  retryOptions: 1,
  fetch: 1,
} satisfies Record<keyof HttpOptions, 1>);

/** The options of the SDK for a client. Throws INVALID_ARGUMENT that names the one that cannot be, and those there are: `known`. */
export function checkGenAI(genai: GenAIOptions | undefined, known: readonly string[] = GENAI_OPTIONS): void {
  if (genai === undefined) return;
  if (typeof genai !== 'object' || genai === null || Array.isArray(genai))
    throw invalidOption('genai', shownType(genai), 'options of the SDK');
  const given = genai as Record<string, unknown>;
  if (given.vertexai) throw invalidOption('genai.vertexai', 'true', 'left out: Vertex takes no API keys of Gemini');
  for (const name of NOT_FOR_LEASES) {
    if (given[name] === undefined) continue;
    throw invalidOption(`genai.${name}`, 'given', 'left out, since each lease brings its key');
  }
  const rest = Object.entries(given).filter(([name]) => name !== 'vertexai' && !NOT_FOR_LEASES.includes(name));
  refuseUnknown(Object.fromEntries(rest), known, 'genai');
  text('genai.apiVersion', genai.apiVersion);
  const { httpOptions } = genai;
  if (httpOptions === undefined) return;
  refuseUnknown(httpOptions, HTTP_OPTIONS, 'genai.httpOptions');
  const { apiVersion, baseUrl, extraBody, fetch, headers, timeout } = httpOptions;
  text('genai.httpOptions.apiVersion', apiVersion);
  record('genai.httpOptions.extraBody', extraBody);
  record('genai.httpOptions.headers', headers);
  for (const [name, value] of Object.entries(headers ?? {})) {
    if (typeof value === 'string') continue;
    throw invalidOption(`genai.httpOptions.headers["${name}"]`, shownType(value), 'a text');
  }
  refuseOwnWays(httpOptions, 'genai.httpOptions');
  if (baseUrl !== undefined) checkBaseUrl('genai.httpOptions.baseUrl', baseUrl);
  if (fetch !== undefined) fn('genai.httpOptions.fetch', fetch);
  number('genai.httpOptions.timeout', timeout, 0, LONGEST_TIMER_MS);
}

/** The options of genai(), and of them those of the SDK. Throws as checkGenAI does. */
export function checkedGenAI(options: LeasedGenAIOptions): { affinityKey: string | undefined; sdk: GenAIOptions } {
  // What is no object is refused as it is.
  if (typeof options !== 'object' || options === null || Array.isArray(options)) checkGenAI(options);
  const { affinityKey, ...sdk } = options;
  checkGenAI(sdk, ['affinityKey', ...GENAI_OPTIONS]);
  return { affinityKey: text('affinityKey', affinityKey), sdk };
}

/** The options of a client of the SDK, before those of ours. One that is undefined is not given. */
export function genAIOver(base: GenAIOptions, own: GenAIOptions): GenAIOptions {
  const httpOptions = { ...base.httpOptions, ...present(own.httpOptions) };
  return { ...base, ...present(own), httpOptions };
}

function present<T extends object>(options: T | undefined): Partial<T> {
  const entries = Object.entries(options ?? {}).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Partial<T>;
}

/** Those of a single call, in its `config`. The others are as the SDK takes them. */
export function checkCallOptions(httpOptions: HttpOptions | undefined): void {
  if (httpOptions === undefined || httpOptions === null) return;
  if (httpOptions.fetch !== undefined) {
    throw invalidOption(
      'config.httpOptions.fetch',
      'given',
      'left out: the call would pass its lease by, and go without a key; genai.httpOptions.fetch, for a whole client, does not',
    );
  }
  refuseOwnWays(httpOptions, 'config.httpOptions');
  if (httpOptions.baseUrl !== undefined) checkBaseUrl('config.httpOptions.baseUrl', httpOptions.baseUrl);
}

/** Those of a single call of interactions and the like, which have retries by other names. */
export function checkNewerCallOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null) return;
  const { maxRetries, retries } = options as { maxRetries?: unknown; retries?: { strategy?: unknown } };
  if (maxRetries !== undefined && maxRetries !== 0) throw ownRetries('options.maxRetries');
  if (retries !== undefined && retries?.strategy !== 'none') throw ownRetries('options.retries');
}

function refuseOwnWays({ headers, retryOptions }: HttpOptions, where: string): void {
  for (const name of Object.keys(headers ?? {})) {
    if (name.toLowerCase() !== 'x-goog-api-key') continue;
    throw invalidOption(`${where}.headers["${name}"]`, 'given', 'left out, since each lease brings its key');
  }
  if (retryOptions !== undefined) throw ownRetries(`${where}.retryOptions`);
}

function ownRetries(name: string): KeyBalancerError {
  return invalidOption(
    name,
    'given',
    'left out: the SDK would try the same key again, unseen; maxRetries and retryDelay of the balancer say how often to try',
  );
}
