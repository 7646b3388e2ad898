import type { Finding } from '../gemini/finding.ts';
import { ErrorClass } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/** What a failure leads to. The one place where a class of error turns into a consequence. */
export interface Verdict {
  /** Whether the call counts as failed; blocked content, for one, is a call that the key did well. */
  failed: boolean;
  /** Lowers the key's health factor. */
  ownFault: boolean;
  /** Says nothing about the key, good or bad. */
  callersFault: boolean;
  /** What must rest, for how long; undefined: nothing. */
  rest: { of: 'key' | 'project-model'; forMs: number } | undefined;
  advice: { retry: boolean; sameKey: boolean; delayMs: number; excludeKey: boolean; excludeProject: boolean };
}

const MINUTE = 60_000;
/** What a limit rests at the least, whatever delay Gemini stated: "0s" was seen, for a spent day too. */
const LEAST_REST = 2_000;
/** Nothing that a report says rests longer than this. */
const LONGEST_REST = 24 * 60 * MINUTE;
/** Before a repeat when the provider, not a key, had trouble. */
const PROVIDER_DELAY = 1_000;

export function judge(finding: Finding): Verdict {
  switch (finding.errorClass) {
    case ErrorClass.KEY_INVALID:
    case ErrorClass.KEY_SUSPENDED:
      return {
        failed: true,
        ownFault: true,
        callersFault: false,
        rest: { of: 'key', forMs: MINUTE },
        advice: otherKey(),
      };
    case ErrorClass.PERMISSION:
      return {
        failed: true,
        ownFault: finding.scope === 'key',
        callersFault: false,
        rest: { of: finding.scope === 'key' ? 'key' : 'project-model', forMs: MINUTE },
        advice: otherKey(),
      };
    case ErrorClass.RATE_LIMITED_MINUTE:
    case ErrorClass.RATE_LIMITED_TOKENS:
    case ErrorClass.SPEND_RATE_LIMITED:
    case ErrorClass.QUOTA_EXHAUSTED_DAY:
    case ErrorClass.QUOTA_ZERO:
    case ErrorClass.BILLING: {
      const least = finding.errorClass === ErrorClass.QUOTA_EXHAUSTED_DAY ? MINUTE : LEAST_REST;
      const forMs = Math.min(LONGEST_REST, Math.max(least, finding.retryDelayMs ?? MINUTE));
      return {
        failed: true,
        ownFault: false,
        callersFault: false,
        rest: { of: 'project-model', forMs },
        advice: { ...otherKey(), excludeProject: true },
      };
    }
    case ErrorClass.OVERLOADED:
    case ErrorClass.SERVER_ERROR:
    case ErrorClass.TIMEOUT:
    case ErrorClass.NETWORK:
    case ErrorClass.UNKNOWN:
      return {
        failed: true,
        ownFault: false,
        callersFault: false,
        rest: undefined,
        advice: {
          retry: true,
          sameKey: false,
          delayMs: Math.min(MINUTE, finding.retryDelayMs ?? PROVIDER_DELAY),
          excludeKey: false,
          excludeProject: false,
        },
      };
    case ErrorClass.CONTENT_BLOCKED:
      return { failed: false, ownFault: false, callersFault: false, rest: undefined, advice: noRetry() };
    default:
      return { failed: true, ownFault: false, callersFault: true, rest: undefined, advice: noRetry() };
  }
}

function otherKey(): Verdict['advice'] {
  return { retry: true, sameKey: false, delayMs: 0, excludeKey: true, excludeProject: false };
}

function noRetry(): Verdict['advice'] {
  return { retry: false, sameKey: false, delayMs: 0, excludeKey: false, excludeProject: false };
}
