import type { Finding } from '../gemini/finding.ts';
import { ErrorClass } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/**
 * What a failure leads to: the one table from class to what rests, for how long, what it costs and what ends it. Where a figure
 * comes from stands beside it: Gemini publishes few, so most are chosen to be harmless when wrong.
 */
export interface Policy {
  /** Whether the call counts as failed; blocked content, for one, is a call that the key did well. */
  readonly failed: boolean;
  /** A key's own fault lowers its health; a caller's says nothing about any key, good or bad. */
  readonly fault: 'key' | 'caller' | 'nobody';
  /**
   * Out of use: nothing; what the finding's scope names, for `cooldown`; the model for everyone (breaker), for `cooldown`; or the
   * suspected key, until Gemini itself was asked (quarantine).
   */
  readonly rests: 'nothing' | 'scope' | 'model' | 'quarantine';
  readonly cooldown: CooldownPolicy | undefined;
  readonly advice: Advice;
  /** Whether Gemini turned the call away before it counted against a quota. Not published: taken for true of refusals. */
  readonly refusedAtDoor: boolean;
}

export interface CooldownPolicy {
  /** Milliseconds for the first time, the second, ...; the last one repeats. */
  readonly steps: readonly number[];
  /** A delay that Gemini stated is taken for the first step, but not beyond `longest`; the steps grow it in proportion. */
  readonly stated: 'obeyed' | 'ignored';
  readonly least: number;
  readonly longest: number;
  /** Rests until the next midnight Pacific time; the steps are when a call may try whether it is over. */
  readonly untilMidnight: boolean;
  /** Added at random, so that not all come back at once: a share of the rest, and milliseconds. */
  readonly jitterShare: number;
  readonly jitterMs: number;
  readonly afterEnd: 'over' | 'half-open';
  /** Coming back so soon after its end it has struck again. */
  readonly memoryMs: number;
}

export interface Advice {
  readonly retry: boolean;
  readonly sameKey: boolean;
  readonly delayMs: number;
  readonly excludeKey: boolean;
  readonly excludeProject: boolean;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
/** Midnight comes within 25 h. */
const DAY = 24 * HOUR;
/** Before a repeat when the provider, not a key, had trouble. */
const PROVIDER_DELAY = SECOND;

const NO_RETRY: Advice = { retry: false, sameKey: false, delayMs: 0, excludeKey: false, excludeProject: false };
const OTHER_KEY: Advice = { retry: true, sameKey: false, delayMs: 0, excludeKey: true, excludeProject: false };
const OTHER_PROJECT: Advice = { retry: true, sameKey: false, delayMs: 0, excludeKey: true, excludeProject: true };
const ANY_KEY_LATER: Advice = { ...NO_RETRY, retry: true, delayMs: PROVIDER_DELAY };

const PLAIN = { stated: 'ignored', least: 0, longest: DAY, untilMidnight: false, jitterShare: 0, jitterMs: 0 } as const;

/** Per minute: the stated delay (2 s at the least, "0s" was seen), else a minute; twice as long when it recurs, to 15 min. */
const LIMIT_OF_A_MINUTE: CooldownPolicy = {
  ...PLAIN,
  steps: [MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 15 * MINUTE],
  stated: 'obeyed',
  least: 2 * SECOND,
  longest: 15 * MINUTE,
  jitterShare: 0.1,
  afterEnd: 'over',
  memoryMs: MINUTE,
};

/** The day's limits start anew at midnight Pacific time. A call tries earlier: bodies that say "day" with short windows were reported. */
const LIMIT_OF_A_DAY: CooldownPolicy = {
  ...PLAIN,
  steps: [15 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR],
  stated: 'obeyed',
  least: MINUTE,
  untilMidnight: true,
  jitterMs: 2 * MINUTE,
  afterEnd: 'over',
  memoryMs: 0,
};

const NO_QUOTA_AT_ALL: CooldownPolicy = { ...PLAIN, steps: [DAY], afterEnd: 'half-open', memoryMs: HOUR };
/** Rolling windows of 10 minutes. */
const SPEND_RATE: CooldownPolicy = {
  ...PLAIN,
  steps: [10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR],
  stated: 'obeyed',
  least: 2 * SECOND,
  longest: HOUR,
  jitterShare: 0.1,
  afterEnd: 'over',
  memoryMs: 10 * MINUTE,
};
const MONEY_GONE: CooldownPolicy = {
  ...PLAIN,
  steps: [HOUR, 2 * HOUR, 4 * HOUR, 6 * HOUR],
  afterEnd: 'half-open',
  memoryMs: HOUR,
};
const NOT_ALLOWED: CooldownPolicy = { ...PLAIN, steps: [HOUR, 6 * HOUR, DAY], afterEnd: 'half-open', memoryMs: HOUR };
const MODEL_NOT_THERE: CooldownPolicy = { ...PLAIN, steps: [DAY], afterEnd: 'half-open', memoryMs: HOUR };
const BREAKER: CooldownPolicy = {
  ...PLAIN,
  steps: [1, 2, 4, 8, 16, 30].map((seconds) => seconds * SECOND),
  stated: 'obeyed',
  least: SECOND,
  longest: 30 * SECOND,
  afterEnd: 'half-open',
  memoryMs: MINUTE,
};
/** Of a key that Gemini took although a report said that it is suspended: listing models does not prove that it may generate. */
export const CLEARED_OF_SUSPENSION: CooldownPolicy = {
  ...PLAIN,
  steps: [10 * MINUTE, DAY],
  afterEnd: 'over',
  memoryMs: DAY,
};

const CALLERS_FAULT: Policy = {
  failed: true,
  fault: 'caller',
  rests: 'nothing',
  cooldown: undefined,
  advice: NO_RETRY,
  refusedAtDoor: false,
};
const PROVIDERS_TROUBLE: Policy = { ...CALLERS_FAULT, fault: 'nobody', advice: ANY_KEY_LATER };

function resting(cooldown: CooldownPolicy, advice: Advice, fault: Policy['fault'] = 'nobody'): Policy {
  return { failed: true, fault, rests: 'scope', cooldown, advice, refusedAtDoor: true };
}

const SUSPECT: Policy = {
  failed: true,
  fault: 'key',
  rests: 'quarantine',
  cooldown: undefined,
  advice: OTHER_KEY,
  refusedAtDoor: true,
};

const TABLE: Partial<Record<ErrorClass, Policy>> = {
  [ErrorClass.KEY_INVALID]: SUSPECT,
  [ErrorClass.KEY_SUSPENDED]: { ...SUSPECT, fault: 'nobody' },
  [ErrorClass.PERMISSION]: resting(NOT_ALLOWED, OTHER_PROJECT),
  [ErrorClass.RATE_LIMITED_MINUTE]: resting(LIMIT_OF_A_MINUTE, OTHER_PROJECT),
  [ErrorClass.RATE_LIMITED_TOKENS]: resting(LIMIT_OF_A_MINUTE, OTHER_PROJECT),
  [ErrorClass.SPEND_RATE_LIMITED]: resting(SPEND_RATE, OTHER_PROJECT),
  [ErrorClass.QUOTA_EXHAUSTED_DAY]: resting(LIMIT_OF_A_DAY, OTHER_PROJECT),
  [ErrorClass.QUOTA_ZERO]: resting(NO_QUOTA_AT_ALL, OTHER_PROJECT),
  [ErrorClass.BILLING]: resting(MONEY_GONE, OTHER_PROJECT),
  [ErrorClass.OVERLOADED]: {
    ...PROVIDERS_TROUBLE,
    rests: 'model',
    cooldown: BREAKER,
    // Any key meets the same model: waiting helps, another key does not.
    advice: { ...ANY_KEY_LATER, sameKey: true },
  },
  [ErrorClass.SERVER_ERROR]: PROVIDERS_TROUBLE,
  [ErrorClass.TIMEOUT]: PROVIDERS_TROUBLE,
  [ErrorClass.NETWORK]: PROVIDERS_TROUBLE,
  [ErrorClass.UNKNOWN]: PROVIDERS_TROUBLE,
  [ErrorClass.CONTENT_BLOCKED]: { ...CALLERS_FAULT, failed: false, fault: 'nobody' },
};

/** Classes whose consequence depends on whom the finding speaks of. */
const BY_SCOPE: Partial<Record<ErrorClass, Partial<Record<Finding['scope'], Policy>>>> = {
  [ErrorClass.KEY_SUSPENDED]: {
    key: { ...SUSPECT, fault: 'nobody' },
    project: { ...SUSPECT, fault: 'nobody', advice: OTHER_PROJECT },
  },
  [ErrorClass.PERMISSION]: { key: resting(NOT_ALLOWED, OTHER_KEY, 'key') },
  // Billed users only: of the model, for as long as nobody pays.
  [ErrorClass.BILLING]: { 'project-model': resting({ ...MONEY_GONE, steps: [DAY] }, OTHER_PROJECT) },
  [ErrorClass.LOCATION]: { project: resting(NOT_ALLOWED, OTHER_PROJECT) },
  [ErrorClass.NOT_FOUND]: { 'project-model': resting(MODEL_NOT_THERE, OTHER_PROJECT) },
};

/** Total: a class that the table does not name is the caller's own fault, and so is what Google refuses the calling host. */
export function policyFor({
  errorClass,
  scope,
  beyond,
}: Pick<Finding, 'errorClass' | 'scope'> & Partial<Pick<Finding, 'beyond'>>): Policy {
  if (beyond === 'calling-host') return CALLERS_FAULT;
  const policy = BY_SCOPE[errorClass]?.[scope] ?? TABLE[errorClass] ?? CALLERS_FAULT;
  // Nobody is named to rest.
  return policy.rests === 'scope' && scope === 'none' ? { ...policy, rests: 'nothing', cooldown: undefined } : policy;
}

/** How long a cooldown lasts that struck so often before, in milliseconds; without jitter. For a day's: until a call may try. */
export function cooldownMs(
  cooldown: CooldownPolicy,
  finding: Pick<Finding, 'retryDelayMs' | 'delayDistrusted'>,
  strikes: number,
): number {
  const { steps, least, longest } = cooldown;
  const step = steps[Math.min(strikes, steps.length - 1)]!;
  const stated = cooldown.stated === 'obeyed' && !finding.delayDistrusted ? finding.retryDelayMs : undefined;
  if (stated === undefined) return step;
  // A day states its delay once: what was tried then and failed waits for the steps.
  const grown = cooldown.untilMidnight && strikes > 0 ? step : (stated * step) / steps[0]!;
  return Math.min(longest, Math.max(least, grown));
}

/** Before a repeat after so many failures in a row of an overloaded model. */
export function overloadDelayMs(strikes: number): number {
  const { steps } = BREAKER;
  return steps[Math.min(strikes, steps.length - 1)]!;
}
