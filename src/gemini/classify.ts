import { ErrorClass, type ProviderError } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { ANSWER_RULES } from './answer-rules.ts';
import { type Evidence, gatherEvidence } from './evidence.ts';
import { type Finding, plainFinding } from './finding.ts';
import { NO_ANSWER_RULES } from './no-answer-rules.ts';
import { projectNumber } from './project-number.ts';
import { brokenLimit } from './quota-limit.ts';
import type { Rule } from './rule.ts';
import { statedLimits } from './stated-limits.ts';

const RULES: readonly Rule[] = [...ANSWER_RULES, ...NO_ANSWER_RULES];
const UNKNOWN: Rule = {
  name: 'unknown',
  because: 'nothing that was said is known',
  applies: () => true,
  errorClass: ErrorClass.UNKNOWN,
  scope: 'none',
};

/** A finding, with what it was found by. */
export interface Judged {
  finding: Finding;
  evidence: Evidence;
  rule: Rule;
}

/**
 * What a failure means. Total: every input, also a missing one, gets a class, none throws, and the time is linear in the at most
 * 16 KiB of the body that are looked at.
 */
export function classify(error: ProviderError | undefined): Finding {
  return error === undefined ? plainFinding(ErrorClass.UNKNOWN) : judge(error).finding;
}

/** The same, with the reasons. */
export function judge(error: ProviderError): Judged {
  const evidence = gatherEvidence(error);
  const limit = brokenLimit(evidence);
  const rule = RULES.find((candidate) => candidate.applies(evidence, limit)) ?? UNKNOWN;
  const finding: Finding = {
    errorClass: rule.errorClass,
    scope: typeof rule.scope === 'function' ? rule.scope(evidence, limit) : rule.scope,
    retryDelayMs: evidence.delay.ms,
    delayDistrusted: evidence.delay.distrusted,
    rule: rule.name,
    beyond: rule.beyond,
    project: projectNumber(evidence),
    // What else a violation names, such as a precondition, is no limit of calls.
    limits: limit === undefined ? [] : statedLimits(evidence),
  };
  return { finding, evidence, rule };
}
