import type { AwayOption } from './away-policy.ts';
import {
  flag,
  LONGEST_MS,
  MOST_CACHED,
  number,
  poolName,
  refuseUnknown,
  shownType,
  signal,
  text,
  whole,
} from './checks.ts';
import { geminiBaseUrlOf, vertexVariables } from './config.ts';
import type { CredentialOptions } from './credentials.ts';
import { invalidOption } from './errors.ts';
import { checkGenAI } from './genai-options.ts';
import type { CallSettings } from './leased-call.ts';
import type { GenAIOptions } from './leased-genai.ts';

/** What one call may say for itself. Times in milliseconds, at most a day. */
export interface RetryOptions {
  /**
   * Tries after the first. 0 to 60; default 3. Each with another key while one is free that was not tried. A failure that is the key's
   * or its project's own, such as a dead key or a limit that is reached, does not count, for up to 64 keys in a call: what counts is
   * trouble of the provider (503, network), and what the request may be refused for with any key, such as a 403 that does not say why.
   * 0: one try, whatever fails.
   */
  maxRetries?: number | undefined;
  /** Least pause before a try where waiting helps: trouble of the provider, not of a key. Default 1000. */
  retryDelay?: number | undefined;
  /**
   * All waiting for a key to become free, in one call. Default: maxRetries x retryDelay. Where every key rests for longer than that, or
   * than the deadline, the call does not wait: it rejects with what Gemini said last, else with RESOURCE_EXHAUSTED and retryAfterMs.
   */
  maxWait?: number | undefined;
  /** Gemini model, such as "gemini-2.5-flash": limits are counted by model. Default: any. Requests of genai() name their own. */
  model?: string | undefined;
  /** Calls of the same are made with the same key while it is free and well. Default: none, so that the load is spread. */
  affinityKey?: string | undefined;
  /** Ends the call at once, whatever the function does then: its requests, pauses and waiting. It rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /**
   * The same, so many milliseconds after the call began; it rejects with a TimeoutError, whose attempts and cause tell of the tries, or
   * with Gemini's error as soon as no other try can come in time. Default: never. Requests of genai() have the SDK's own
   * httpOptions.timeout, a time for all tries of the request together, and abortSignal instead.
   */
  deadline?: number | undefined;
}

/** How a client finds its balancer, and what its calls do. Each is checked as the client is made: INVALID_ARGUMENT names what cannot be. */
export interface KeyBalancerOptions extends Omit<RetryOptions, 'signal' | 'affinityKey'>, CredentialOptions {
  /**
   * HOST:PORT or unix:PATH of a server, or up to 64, tried in their order. Not together with dataDir. With neither: KEYBALANCER_ADDRESS,
   * else KEYBALANCER_DATA_DIR, else the default data dir, $XDG_DATA_HOME/keybalancer or ~/.local/share/keybalancer.
   */
  address?: string | readonly string[] | undefined;
  /**
   * A directory with the keys, made if it is not there: whoever owns it is joined, a server or another process like this, else this process
   * owns it and lets others join. Its master key: KEYBALANCER_MASTER_KEY, KEYBALANCER_MASTER_KEY_FILE, else a file in it.
   */
  dataDir?: string | undefined;
  /**
   * While the balancer is away, such as for a restart: "wait" (default) tries until the call's end, by deadline or httpOptions.timeout; a
   * call without one tries for 10 s in all, or maxWait where that is longer, or for 2 s where nobody at the address has answered yet, since it
   * may be wrong, and then rejects with code UNAVAILABLE; "fail" rejects with reason BALANCER_AWAY, at
   * once or, where a server is reached and does not answer, after 2 s; { fallbackKey } calls with a key of one's own until the balancer is back.
   */
  away?: AwayOption | undefined;
  /**
   * Share of calls that may be repeated for trouble of the provider's, 0 to 1, so that an outage does not multiply the load: a repeat
   * costs one, a call that ends well earns so much, and ten may be made in advance; 0: none. Default 0.2. What is a key's own fault
   * is repeated with another key in any case.
   */
  retryBudget?: number | undefined;
  /** Projects in which a file or another resource of unknown origin is looked for. 1 to 64; default 8. */
  maxProjects?: number | undefined;
  /** Of a data dir that is opened in this process: decrypted keys to keep in memory, 1 to 10,000,000. Default: by the number of keys. */
  cacheSize?: number | undefined;
  /** Keys that end unreported count as having done well: a setting of the pool, made with the first call. Default: as it is. */
  autoSuccess?: boolean | undefined;
  /** Pool to lease from. It must be there; "default", which is the default, always is. CreatePool of the service makes one. */
  pool?: string | undefined;
  /** Options for the SDK, such as httpOptions.baseUrl; without those that name who pays, and without httpOptions.retryOptions. Unknown ones are refused. */
  genai?: GenAIOptions | undefined;
}

const RETRY_OPTIONS = ['maxRetries', 'retryDelay', 'maxWait', 'model', 'affinityKey', 'signal', 'deadline'];
const CLIENT_OPTIONS = [
  'address',
  'dataDir',
  'pool',
  'maxRetries',
  'retryDelay',
  'maxWait',
  'deadline',
  'model',
  'genai',
  'tls',
  'token',
  'away',
  'retryBudget',
  'maxProjects',
  'cacheSize',
  'autoSuccess',
];
/** Each try leaves the keys of those before it out, and an acquire takes 64. */
const MOST_RETRIES = 60;

/** What a client is made of, its options checked. */
export interface ClientSettings {
  call: CallSettings;
  away: AwayOption;
  retryBudget: number;
  maxProjects: number | undefined;
  cacheSize: number | undefined;
  autoSuccess: boolean | undefined;
  credentials: CredentialOptions;
}

/** Throws INVALID_ARGUMENT that names the option, what it is, and what is allowed. */
export function clientSettings(options: KeyBalancerOptions): ClientSettings {
  refuseUnknown(options, CLIENT_OPTIONS);
  const address =
    typeof options.address === 'string' || options.address === undefined ? [options.address] : options.address;
  if (!Array.isArray(address) || address.length === 0) {
    throw invalidOption(
      'address',
      Array.isArray(address) ? 'an empty list' : shownType(address),
      'an address, or a list of them',
    );
  }
  for (const each of address) text('address', each);
  text('dataDir', options.dataDir);
  poolName('pool', options.pool);
  checkGenAI(options.genai);
  const {
    pool = '',
    genai = {},
    away = 'wait',
    retryBudget,
    maxProjects,
    cacheSize,
    autoSuccess,
    tls,
    token,
  } = options;
  const call = retrySettings(
    {
      pool,
      model: '',
      affinityKey: '',
      maxRetries: 3,
      retryDelay: 1_000,
      maxWait: undefined,
      signal: undefined,
      deadline: undefined,
      genai,
    },
    options,
  );
  return {
    call: { ...call, signal: undefined },
    away: checkedAway(away),
    retryBudget: number('retryBudget', retryBudget, 0.2, 1),
    maxProjects: maxProjects === undefined ? undefined : whole('maxProjects', maxProjects, 1, 64),
    cacheSize: cacheSize === undefined ? undefined : whole('cacheSize', cacheSize, 1, MOST_CACHED),
    autoSuccess: flag('autoSuccess', autoSuccess),
    credentials: { ...(tls !== undefined && { tls }), ...(token !== undefined && { token }) },
  };
}

/** No word of what was given: it may be a key. */
function checkedAway(away: AwayOption): AwayOption {
  if (away === 'wait' || away === 'fail') return away;
  if (typeof away !== 'object' || away === null) {
    throw invalidOption(
      'away',
      typeof away === 'string' ? 'another text' : shownType(away),
      '"wait", "fail" or { fallbackKey: an API key }',
    );
  }
  refuseUnknown(away, ['fallbackKey'], 'away');
  const key: unknown = away.fallbackKey;
  // It goes into a header.
  if (typeof key === 'string' && /^[!-~]+$/.test(key.trim())) return { fallbackKey: key.trim() };
  throw invalidOption(
    'away.fallbackKey',
    typeof key !== 'string' ? shownType(key) : key.trim() === '' ? 'empty' : 'a text that is none',
    'an API key',
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
    affinityKey: text('affinityKey', options.affinityKey) ?? base.affinityKey,
    signal: signal(options.signal),
    deadline: options.deadline === undefined ? base.deadline : number('deadline', options.deadline, 0, LONGEST_MS),
  };
}

/** The options of one function that is wrapped. */
export function checkedRetryOptions(options: RetryOptions): RetryOptions {
  refuseUnknown(options, RETRY_OPTIONS);
  return options;
}

/** What the environment says of Gemini: refused where calls would go by it and cannot, and told where it counts for nothing. */
export function checkEnvironment(genai: GenAIOptions): void {
  if (genai.httpOptions?.baseUrl === undefined) geminiBaseUrlOf();
  const vertex = vertexVariables();
  if (vertex.length === 0) return;
  process.emitWarning(
    `${vertex.join(' and ')} in the environment changes nothing: calls go to the Gemini API, with leased keys`,
    'KeyBalancerWarning',
  );
}
