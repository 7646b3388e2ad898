import { invalidOption } from './errors.ts';
import type { CallSettings } from './leased-call.ts';
import type { GenAIOptions } from './leased-genai.ts';

/** What one call may say for itself. Times in milliseconds. */
export interface RetryOptions {
  /** Tries after the first, each with another key. 0 to 60; default 3. */
  maxRetries?: number;
  /** Least pause before a try where waiting helps: trouble of the provider, not of a key. Default 1000. */
  retryDelay?: number;
  /** All waiting for a key to become free, in one call. Default: maxRetries x retryDelay. */
  maxWait?: number;
  /** Gemini model, such as "gemini-2.5-flash": limits are counted by model. Default: any. */
  model?: string;
  /** Ends the call: its requests, pauses and waiting. */
  signal?: AbortSignal;
}

export interface GeminiWrapperOptions extends Omit<RetryOptions, 'signal'> {
  /** HOST:PORT or unix:PATH of a server. With neither address nor dataDir: KEYBALANCER_ADDRESS, else the default data dir. */
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

function checkGenAI(genai: GenAIOptions | undefined): void {
  if (genai === undefined) return;
  if (typeof genai !== 'object' || genai === null) throw invalidOption('genai', typeof genai, 'options of the SDK');
  const given = genai as Record<string, unknown>;
  for (const name of NOT_FOR_LEASES) {
    if (given[name] !== undefined)
      throw invalidOption(`genai.${name}`, 'given', 'left out, since each lease brings its key');
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
  if (typeof options !== 'object' || options === null) throw invalidOption('options', String(options), 'an object');
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
  throw invalidOption(name, typeof value === 'string' ? 'empty' : `a ${typeof value}`, 'a text');
}
