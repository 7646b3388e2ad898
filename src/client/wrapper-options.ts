import { invalidOption } from './errors.ts';
import type { CallSettings } from './leased-call.ts';
import type { GenAIOptions } from './leased-genai.ts';

/** What one call may say for itself. Times in milliseconds. */
export interface RetryOptions {
  /**
   * Tries after the first. 0 to 60; default 3. Each with another key: one whose failure is its own is never tried again in
   * the same call, and one that met trouble of the provider (503, network) only when no untried key is free.
   */
  maxRetries?: number;
  /** Least pause before a try where waiting helps: trouble of the provider, not of a key. Default 1000. */
  retryDelay?: number;
  /** All waiting for a key to become free, in one call. Default: maxRetries x retryDelay. */
  maxWait?: number;
  /** Gemini model, such as "gemini-2.5-flash": limits are counted by model. Default: any. */
  model?: string;
  /** Ends the call at once, whatever the function does then: its requests, pauses and waiting. */
  signal?: AbortSignal;
}

export interface GeminiWrapperOptions extends Omit<RetryOptions, 'signal'> {
  /**
   * HOST:PORT or unix:PATH of a server. With neither address nor dataDir: KEYBALANCER_ADDRESS, else the default data dir.
   * While the server is away, such as for a restart, each call tries for 10 s in all to get a key, or for 2 s before the
   * first key was had: then the address may be wrong. Then it rejects with code UNAVAILABLE.
   */
  address?: string;
  /** A data dir: its server is used, else it is opened in this process. */
  dataDir?: string;
  /** Pool to lease from. Default: "default". */
  pool?: string;
  /** Options for the SDK, such as httpOptions.baseUrl; without those that name who pays. */
  genai?: GenAIOptions;
}

const RETRY_OPTIONS = ['maxRetries', 'retryDelay', 'maxWait', 'model', 'signal'];
const WRAPPER_OPTIONS = ['address', 'dataDir', 'pool', 'maxRetries', 'retryDelay', 'maxWait', 'model', 'genai'];
/** Each try leaves the keys of those before it out, and an acquire takes 64. */
const MOST_RETRIES = 60;
const LONGEST_MS = 24 * 60 * 60_000;
const NOT_FOR_LEASES = ['apiKey', 'project', 'location', 'googleAuthOptions', 'enterprise'];

/** The settings of every call of a wrapper. */
export function wrapperSettings(options: GeminiWrapperOptions): CallSettings {
  refuseUnknown(options, WRAPPER_OPTIONS);
  for (const name of ['address', 'dataDir', 'pool'] as const) text(name, options[name]);
  checkGenAI(options.genai);
  const { pool = '', genai = {}, ...call } = options;
  return retrySettings(
    { pool, model: '', maxRetries: 3, retryDelay: 1_000, maxWait: undefined, signal: undefined, genai },
    call,
  );
}

/** The settings of calls that say something for themselves. */
export function retrySettings(base: CallSettings, options: RetryOptions): CallSettings {
  const maxRetries = number('maxRetries', options.maxRetries, base.maxRetries, MOST_RETRIES);
  if (!Number.isInteger(maxRetries)) throw invalidOption('maxRetries', String(maxRetries), 'a whole number');
  const retryDelay = number('retryDelay', options.retryDelay, base.retryDelay, LONGEST_MS);
  return {
    ...base,
    maxRetries,
    retryDelay,
    maxWait: options.maxWait === undefined ? base.maxWait : number('maxWait', options.maxWait, 0, LONGEST_MS),
    model: text('model', options.model) ?? base.model,
    signal: options.signal,
  };
}

/** The options of one function that is wrapped. */
export function checkedRetryOptions(options: RetryOptions): RetryOptions {
  refuseUnknown(options, RETRY_OPTIONS);
  return options;
}

/** What a key is added with, as far as its types: the rest is the balancer's to judge. Never says what it was given. */
export function checkNewKey(given: { apiKey: unknown; weight: unknown; source: unknown }): void {
  for (const [name, type] of [
    ['apiKey', 'string'],
    ['weight', 'number'],
    ['source', 'string'],
  ] as const) {
    if (typeof given[name] !== type) throw invalidOption(name, shownType(given[name]), `a ${type}`);
  }
}

/** The kind of a value that is none of the allowed kinds, for a sentence. */
export function shownType(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

export function checkGenAI(genai: GenAIOptions | undefined): void {
  if (genai === undefined) return;
  if (typeof genai !== 'object' || genai === null) throw invalidOption('genai', shownType(genai), 'options of the SDK');
  const given = genai as Record<string, unknown>;
  for (const name of NOT_FOR_LEASES) {
    if (given[name] !== undefined)
      throw invalidOption(`genai.${name}`, 'given', 'left out, since each lease brings its key');
  }
  for (const name of Object.keys(genai.httpOptions?.headers ?? {})) {
    if (name.toLowerCase() === 'x-goog-api-key') {
      throw invalidOption(`genai.httpOptions.headers["${name}"]`, 'given', 'left out, since each lease brings its key');
    }
  }
  if (given.vertexai) throw invalidOption('genai.vertexai', 'true', 'left out: Vertex takes no API keys of Gemini');
  if (genai.httpOptions?.retryOptions !== undefined) {
    throw invalidOption(
      'genai.httpOptions.retryOptions',
      'given',
      'left out: the SDK would try the same key again, unseen; maxRetries and retryDelay say how often to try',
    );
  }
}

function refuseUnknown(options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidOption('options', shownType(options), 'an object');
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw invalidOption(`option "${name}"`, 'unknown', known.join(', '));
  }
}

function number(name: string, value: number | undefined, fallback: number, most: number): number {
  if (value === undefined) return fallback;
  if (typeof value === 'number' && value >= 0 && value <= most) return value;
  throw invalidOption(name, String(value), `0 to ${most}`);
}

/** Not empty: an empty name is most often a variable that was not set. */
function text(name: string, value: string | undefined): string | undefined {
  if (value === undefined || (typeof value === 'string' && value !== '')) return value;
  throw invalidOption(name, value === '' ? 'empty' : shownType(value), 'a text');
}
