import type { ErrorClass } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/** What a failure speaks about: whose fault it is, and so what may have to rest. */
export type Scope = 'none' | 'key' | 'project' | 'project-model';

export type LimitName = 'requestsPerMinute' | 'inputTokensPerMinute' | 'requestsPerDay' | 'tokensPerDay';

/** A limit that the error states. */
export interface StatedLimit {
  name: LimitName;
  value: number;
  /** Such as "GenerateRequestsPerDayPerProjectPerModel-FreeTier"; "": only the message stated the limit. */
  quotaId: string;
  /** From quotaDimensions, without "models/"; "": not said. */
  model: string;
}

/** What a provider error means, before anyone decides what to do about it. */
export interface Finding {
  errorClass: ErrorClass;
  scope: Scope;
  /** The delay that Gemini stated, in milliseconds, cut to 24 h; undefined: none, or an implausible one (negative, NaN). */
  retryDelayMs: number | undefined;
  /** The stated delay was longer than 24 h and was cut, or negative or no number and was dropped. */
  delayDistrusted: boolean;
  /** Name of the rule that decided. */
  rule: string;
  /**
   * What lies behind the scope, of which no state is kept: spend rate and spend caps belong to the billing account, an
   * unsupported location or an IP block to the calling host.
   */
  beyond: 'billing-account' | 'calling-host' | undefined;
  /**
   * Google Cloud project number, 4 to 19 digits, as the error names the project behind the key; undefined: not said, not a
   * plausible number, or several that contradict each other.
   */
  project: string | undefined;
  /** Limits with a value from 1 to 10^12, worst first: days before minutes, tokens before requests; [] where none is stated. */
  limits: readonly StatedLimit[];
}

/** A finding of which only the class and scope are known. */
export function plainFinding(errorClass: ErrorClass, scope: Scope = 'none', retryDelayMs?: number): Finding {
  return {
    errorClass,
    scope,
    retryDelayMs,
    delayDistrusted: false,
    rule: 'plain',
    beyond: undefined,
    project: undefined,
    limits: [],
  };
}
