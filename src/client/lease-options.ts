import { LONGEST_MS, number, refuseUnknown, shownType, signal, text, texts, whole } from './checks.ts';
import { invalidOption } from './errors.ts';

/** What a lease is wanted for. */
export interface LeaseOptions {
  /** Gemini model, such as "gemini-2.5-flash": limits are counted by model. Default: the client's. */
  model?: string | undefined;
  /** Same value: same key while it is free and well. */
  affinityKey?: string | undefined;
  /** Google Cloud project that the key must be of, such as the one that has a file. */
  requireProject?: string | undefined;
  /** Keys that are not wanted, by id, such as those that failed before. At most 64. */
  excludeKeyIds?: readonly string[] | undefined;
  /** Projects whose keys are not wanted. At most 64. */
  excludeProjects?: readonly string[] | undefined;
  /** Expected input tokens, for limits of tokens a minute. */
  estimatedTokens?: number | undefined;
  /** Milliseconds to wait for a key; default: the client's maxWait, else 0. */
  maxWait?: number | undefined;
  /** Ends the waiting: it rejects with the signal's reason, and takes no key. */
  signal?: AbortSignal | undefined;
}

/** Of the leases of several batches. */
export type BatchOptions = Pick<LeaseOptions, 'model' | 'maxWait' | 'signal'>;

/** What the client says for leases that say nothing. */
interface Defaults {
  model: string;
  maxWait: number | undefined;
}

const LEASE_OPTIONS = [
  'model',
  'affinityKey',
  'requireProject',
  'excludeKeyIds',
  'excludeProjects',
  'estimatedTokens',
  'maxWait',
  'signal',
];
const BATCH_OPTIONS = ['model', 'maxWait', 'signal'];
const MOST_TOKENS = 2 ** 53 - 1;
/** The most that a list of batches holds. */
const LARGEST_BATCH = 2 ** 31 - 1;

export function checkedLease(options: LeaseOptions, defaults: Defaults) {
  refuseUnknown(options, LEASE_OPTIONS);
  return {
    request: {
      model: text('model', options.model) ?? defaults.model,
      affinityKey: text('affinityKey', options.affinityKey) ?? '',
      requireProject: text('requireProject', options.requireProject) ?? '',
      excludeKeyIds: texts('excludeKeyIds', options.excludeKeyIds),
      excludeProjects: texts('excludeProjects', options.excludeProjects),
      estimatedTokens: BigInt(Math.round(number('estimatedTokens', options.estimatedTokens, 0, MOST_TOKENS))),
    },
    waitMs: number('maxWait', options.maxWait, defaults.maxWait ?? 0, LONGEST_MS),
    signal: signal(options.signal),
  };
}

export function checkedBatches(sizes: readonly number[], options: BatchOptions, defaults: Defaults) {
  if (!Array.isArray(sizes)) throw invalidOption('sizes', shownType(sizes), 'a list of sizes');
  refuseUnknown(options, BATCH_OPTIONS);
  return {
    model: text('model', options.model) ?? defaults.model,
    batchSizes: sizes.map((size, index) => whole(`sizes[${index}]`, size, 1, LARGEST_BATCH)),
    waitMs: number('maxWait', options.maxWait, defaults.maxWait ?? 0, LONGEST_MS),
    signal: signal(options.signal),
  };
}
