import { type CustomError, type ErrorTemplate, errorTemplate, type Wrapping } from './errors.ts';

const GENERATION = ['generateContent', 'streamGenerateContent'] as const;
/** What also uses a model's quota with Gemini. The fake counts none of it, but a 429 that a behaviour asks for refuses it. */
const OTHER_GENERATION = ['embedContent', 'batches.create', 'interactions.create', 'live'] as const;
const MODEL_CALLS = [...GENERATION, ...OTHER_GENERATION, 'countTokens'] as const;
const EVERYTHING = [
  ...MODEL_CALLS,
  'models.list',
  'models.get',
  'files.upload',
  'files.list',
  'files.get',
  'files.delete',
  'files.download',
  'caches.create',
  'caches.list',
  'caches.get',
  'caches.update',
  'caches.delete',
  'batches.list',
  'batches.get',
  'batches.cancel',
  'batches.delete',
  'fileSearchStores.create',
  'fileSearchStores.list',
  'fileSearchStores.get',
  'fileSearchStores.delete',
  'fileSearchStores.importFile',
  'operations.get',
  'tunings.create',
  'tunings.get',
  'interactions.get',
  'interactions.cancel',
  'interactions.delete',
  'other',
] as const;

/**
 * What a request asks for. All legs of an upload, also of one to a file search store, are `files.upload`; a live session, with
 * whatever it says, is one `live`; whatever the fake does not know is `other`.
 */
export type FakeMethod = (typeof EVERYTHING)[number];

/** How a connection is lost: before any byte of the answer; after its first part; or, for streams, ended as if all were well but without the last chunk. */
export type Cut = 'beforeAnswer' | 'midStream' | 'quietly';

/**
 * The most that a (project, model) admits. A minute opens with the first request after the last one ended and lasts 60 s;
 * a day ends at midnight Pacific time. Only generateContent and streamGenerateContent count, and only when admitted.
 */
export interface Limits {
  /** Requests a minute. 0 is a quota of zero. */
  minuteLimit?: number;
  /** Requests a day. 0 is a quota of zero. */
  dayLimit?: number;
  /** Input tokens a minute, counted by `expectedTokens`. */
  minuteTokenLimit?: number;
  /** Input tokens a day. */
  dayTokenLimit?: number;
}

/** What happens to a request. Parts combine: `{ delayMs: 50, minuteLimit: 10 }` is slow and limited. */
export interface BehaviourSpec extends Limits {
  /**
   * Answer with this error: a name of `errorNames`, or a body of one's own. Nothing is counted against a quota. Errors of key and
   * project refuse every method, other 429s only what generates, the rest what names a model; `on` says otherwise.
   */
  error?: string | CustomError;
  /** How error bodies are wrapped; default: the `wrapping` of the fake. */
  wrapping?: Wrapping;
  /** Milliseconds before the answer's headers. Infinity never answers. */
  delayMs?: number;
  /** Milliseconds between the chunks of a stream. Infinity stops after the first. */
  chunkDelayMs?: number;
  /** How many chunks a stream has, at least 2; default 4. */
  chunks?: number;
  cut?: Cut;
  /** A stream's error chunk, in place of what follows the first chunk. Named as `error` is. */
  errorMidStream?: string | CustomError;
  /** The delay that a spent day states, where it lies as Gemini's free tier does; default: the time until the day ends. */
  dayRetryDelayMs?: number;
  /** The methods that this touches; default: those that each part can change, for `error` those named there. */
  on?: readonly FakeMethod[];
}

/** Short names for the usual ones. `dead`, `expired`, `suspended` and `leaked` refuse the key; `zeroQuota` lets it list models. */
export type BehaviourName =
  | 'healthy'
  | 'dead'
  | 'expired'
  | 'suspended'
  | 'leaked'
  | 'zeroQuota'
  | 'overloaded'
  | 'serverError'
  | 'badGateway';

export type Behaviour = BehaviourName | BehaviourSpec;

const NAMED: Record<BehaviourName, BehaviourSpec> = {
  healthy: {},
  dead: { error: 'key_invalid_json' },
  expired: { error: 'key_expired' },
  suspended: { error: 'consumer_suspended_2026' },
  leaked: { error: 'key_leaked' },
  zeroQuota: { error: 'quota_zero_message' },
  overloaded: { error: 'overloaded_503_old' },
  serverError: { error: 'internal_500' },
  badGateway: { error: 'bad_gateway_502_html' },
};

const STREAMS: readonly FakeMethod[] = ['streamGenerateContent', 'interactions.create'];

const ERROR_REACH: Record<ErrorTemplate['reach'], readonly FakeMethod[]> = {
  everything: EVERYTHING,
  modelCalls: MODEL_CALLS,
  generation: [...GENERATION, ...OTHER_GENERATION],
};

type ReachingPart = keyof Limits | 'delayMs' | 'cut' | 'chunkDelayMs' | 'chunks' | 'errorMidStream';

/** The methods that each part of a behaviour can change. */
const REACH: Record<ReachingPart, readonly FakeMethod[]> = {
  minuteLimit: GENERATION,
  dayLimit: GENERATION,
  minuteTokenLimit: GENERATION,
  dayTokenLimit: GENERATION,
  delayMs: EVERYTHING,
  cut: EVERYTHING,
  chunkDelayMs: STREAMS,
  chunks: STREAMS,
  errorMidStream: [...STREAMS, 'live'],
};
const PARTS = Object.keys(REACH) as ReachingPart[];

const NUMBER_FIELDS = [
  'minuteLimit',
  'dayLimit',
  'minuteTokenLimit',
  'dayTokenLimit',
  'delayMs',
  'chunkDelayMs',
  'chunks',
  'dayRetryDelayMs',
] as const;

/** The behaviour spelled out. Throws a TypeError that names field, value and what is allowed. */
export function specOf(behaviour: Behaviour): BehaviourSpec {
  if (typeof behaviour === 'string') {
    if (!Object.hasOwn(NAMED, behaviour)) {
      throw new TypeError(`behaviour ${JSON.stringify(behaviour)} is none of ${Object.keys(NAMED).join(', ')}`);
    }
    return NAMED[behaviour];
  }
  for (const field of NUMBER_FIELDS) {
    const value = behaviour[field];
    if (value !== undefined && !(typeof value === 'number' && value >= 0)) {
      throw new TypeError(`behaviour.${field} is ${String(value)}; it must be a number of 0 or more`);
    }
  }
  if (behaviour.chunks !== undefined && !(Number.isInteger(behaviour.chunks) && behaviour.chunks >= 2)) {
    throw new TypeError(`behaviour.chunks is ${behaviour.chunks}; it must be a whole number of 2 or more`);
  }
  if (behaviour.error !== undefined) errorTemplate(behaviour.error);
  if (behaviour.errorMidStream !== undefined) errorTemplate(behaviour.errorMidStream);
  return behaviour;
}

/** Whether the behaviour changes anything about a request of this method: what `times` counts. */
export function touches(spec: BehaviourSpec, method: FakeMethod): boolean {
  if (spec.on !== undefined) return spec.on.includes(method);
  const reaches = PARTS.filter((part) => spec[part] !== undefined).map((part) => REACH[part]);
  if (reaches.length === 0 && spec.error === undefined) return true;
  return refuses(spec, method) || reaches.some((reach) => reach.includes(method));
}

/** Whether its `error` answers a request of this method. */
export function refuses(spec: BehaviourSpec, method: FakeMethod): boolean {
  if (spec.error === undefined) return false;
  return (spec.on ?? ERROR_REACH[errorTemplate(spec.error).reach]).includes(method);
}
