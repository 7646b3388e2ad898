import type { Finding } from '../gemini/finding.ts';
import { ErrorClass } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { type CooldownPolicy, cooldownMs, type Policy, policyFor } from './policy.ts';

/** The policy for a failure in plain words. */
export interface PolicyInWords {
  /** What is out of use. */
  rests: string;
  forHow: string;
  /** What ends it early. */
  ends: string;
  /** What it does to the key's health. */
  costs: string;
  /** What the caller is advised to do. */
  retry: string;
}

export function describePolicy(finding: Finding): PolicyInWords {
  const policy = policyFor(finding);
  return {
    rests: restsInWords(policy, finding),
    forHow: forHowInWords(policy, finding),
    ends: endsInWords(policy),
    costs: costsInWords(policy, finding),
    retry: retryInWords(policy, finding),
  };
}

const NAMES: Record<Finding['scope'], string> = {
  none: 'nothing',
  key: 'the key, for every model',
  project: 'all keys of the project, for every model',
  'project-model': 'all keys of the project, for this model',
};

function restsInWords({ rests }: Policy, { scope }: Finding): string {
  switch (rests) {
    case 'nothing':
      return 'nothing';
    case 'model':
      return 'the model, for everyone: a breaker; no key is to blame';
    case 'quarantine':
      return scope === 'project' ? 'each key of the project, in quarantine' : 'the key, in quarantine';
    case 'scope':
      return NAMES[scope];
  }
}

function forHowInWords({ rests, cooldown }: Policy, finding: Finding): string {
  if (rests === 'quarantine') {
    return finding.errorClass === ErrorClass.KEY_SUSPENDED
      ? 'until Gemini itself was asked, at once; if it refuses the key too, it is disabled'
      : 'until Gemini itself was asked, after 1 min and again 10 min later; if it refuses the key both times, it is disabled';
  }
  if (cooldown === undefined) return '-';
  const distrusted = finding.delayDistrusted ? ' (the stated delay is absurd and not obeyed)' : '';
  const first = cooldownMs(cooldown, finding, 0);
  if (cooldown.untilMidnight) {
    return `until midnight Pacific time; from ${inWords(first)} on one call at a time tries whether it is over${distrusted}`;
  }
  return `${inWords(first)}${growthInWords(cooldown, finding)}${distrusted}${cappedInWords(cooldown, finding)}`;
}

function growthInWords(cooldown: CooldownPolicy, finding: Finding): string {
  const longest = cooldownMs(cooldown, finding, cooldown.steps.length - 1);
  return longest > cooldownMs(cooldown, finding, 0) ? `, growing to ${inWords(longest)} if it comes back` : '';
}

function cappedInWords({ stated, longest }: CooldownPolicy, { retryDelayMs, delayDistrusted }: Finding): string {
  const isCut = stated === 'obeyed' && !delayDistrusted && (retryDelayMs ?? 0) > longest;
  return isCut ? ` (stated were ${inWords(retryDelayMs!)})` : '';
}

function endsInWords({ rests, cooldown }: Policy): string {
  if (rests === 'quarantine') return 'Gemini taking the key when it is asked';
  if (cooldown === undefined) return '-';
  return cooldown.afterEnd === 'half-open'
    ? 'one call that works; after its time one call at a time may try'
    : 'its time, or a call that works';
}

function costsInWords({ failed, fault }: Policy, { errorClass }: Finding): string {
  if (!failed) return 'nothing: the key did its work';
  if (fault === 'key')
    return "a fifth of the key's health, and so of its share of calls; each success gives a tenth back";
  return errorClass === ErrorClass.BILLING
    ? "nothing the first time; a fifth of the key's health if it is still unpaid when tried again"
    : 'nothing';
}

function retryInWords({ advice, rests }: Policy, { retryDelayMs }: Finding): string {
  if (!advice.retry) return 'no: it would fail again';
  const delay = rests === 'nothing' ? Math.min(60_000, retryDelayMs ?? advice.delayMs) : advice.delayMs;
  const after = delay > 0 ? `after ${inWords(delay)}, growing` : 'at once';
  if (advice.excludeProject) return `${after}, with a key of another project`;
  if (advice.excludeKey) return `${after}, with another key`;
  return `${after}, with any key`;
}

const UNITS: readonly [string, number][] = [
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
];

function inWords(ms: number): string {
  const [unit, size] = UNITS.find(([, each]) => ms >= each && ms % each === 0) ??
    UNITS.find(([, each]) => ms >= each) ?? ['ms', 1];
  return `${Number((ms / size).toFixed(1))} ${unit}`;
}
