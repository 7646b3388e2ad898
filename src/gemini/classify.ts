import { ErrorClass, type ProviderError } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { ANSWER_RULES } from './answer-rules.ts';
import { type Evidence, gatherEvidence } from './evidence.ts';
import { type Finding, plainFinding } from './finding.ts';
import { NO_ANSWER_RULES } from './no-answer-rules.ts';
import { projectNumber } from './project-number.ts';
import { type BrokenLimit, brokenLimit } from './quota-limit.ts';
import type { Rule } from './rule.ts';
import { statedLimits } from './stated-limits.ts';

const RULES: readonly Rule[] = [...ANSWER_RULES, ...NO_ANSWER_RULES];
const UNKNOWN: Rule = { name: 'unknown', applies: () => true, errorClass: ErrorClass.UNKNOWN, scope: 'none' };

/**
 * What a failure means. Total: every input, also a missing one, gets a class, none throws, and the time is linear in the at most
 * 16 KiB of the body that are looked at.
 */
export function classify(error: ProviderError | undefined): Finding {
  if (error === undefined) return plainFinding(ErrorClass.UNKNOWN);
  const evidence = gatherEvidence(error);
  const limit = brokenLimit(evidence);
  const rule = ruleFor(evidence, limit);
  return {
    errorClass: rule.errorClass,
    scope: typeof rule.scope === 'function' ? rule.scope(evidence, limit) : rule.scope,
    retryDelayMs: evidence.delay.ms,
    delayDistrusted: evidence.delay.distrusted,
    rule: rule.name,
    beyond: rule.beyond,
    project: projectNumber(evidence),
    // Only what was exceeded is stated as a limit of calls.
    limits: limit === undefined ? [] : statedLimits(evidence),
  };
}

function ruleFor(evidence: Evidence, limit: BrokenLimit | undefined): Rule {
  return RULES.find((rule) => rule.applies(evidence, limit)) ?? UNKNOWN;
}
