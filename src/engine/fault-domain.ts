import type { Finding } from '../gemini/finding.ts';
import { policyFor } from './policy.ts';

/** Whose affair a failure is: that of who called, of the key, of its project (quota, billing, permission), or of the provider. */
export const FAULT_DOMAINS = ['caller', 'key', 'project', 'provider'] as const;
export type FaultDomain = (typeof FAULT_DOMAINS)[number];

/** Failures by fault domain. */
export type FaultCounts = Record<FaultDomain, number>;

/** undefined: no failure, such as an answer that was blocked for its content. */
export function faultDomain(finding: Pick<Finding, 'errorClass' | 'scope' | 'beyond'>): FaultDomain | undefined {
  const { failed, fault, rests, refusedAtDoor } = policyFor(finding);
  if (!failed) return undefined;
  if (fault === 'caller') return 'caller';
  // What a key or a project is refused for is told at the door; all else is trouble behind it.
  if (!refusedAtDoor) return 'provider';
  const ofKey = fault === 'key' || finding.scope === 'key' || (rests === 'quarantine' && finding.scope !== 'project');
  return ofKey ? 'key' : 'project';
}
