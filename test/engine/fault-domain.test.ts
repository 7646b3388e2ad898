import { expect, test } from 'vitest';
import { faultDomain } from '../../src/engine/fault-domain.ts';
import { plainFinding, type Scope } from '../../src/gemini/finding.ts';
import { ErrorClass } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';

test.each<[keyof typeof ErrorClass, Scope, string | undefined]>([
  ['BAD_REQUEST', 'none', 'caller'],
  ['NOT_FOUND', 'none', 'caller'],
  ['KEY_INVALID', 'key', 'key'],
  ['KEY_SUSPENDED', 'none', 'key'],
  ['KEY_SUSPENDED', 'project', 'project'],
  ['PERMISSION', 'key', 'key'],
  ['PERMISSION', 'project', 'project'],
  ['RATE_LIMITED_MINUTE', 'project-model', 'project'],
  ['RATE_LIMITED_MINUTE', 'none', 'project'],
  ['QUOTA_EXHAUSTED_DAY', 'project-model', 'project'],
  ['BILLING', 'project', 'project'],
  ['OVERLOADED', 'none', 'provider'],
  ['SERVER_ERROR', 'none', 'provider'],
  ['TIMEOUT', 'none', 'provider'],
  ['UNKNOWN', 'none', 'provider'],
  ['CONTENT_BLOCKED', 'none', undefined],
])('%s, found to be of scope %s, is an affair of: %s', (name, scope, domain) => {
  expect(faultDomain(plainFinding(ErrorClass[name], scope))).toBe(domain);
});

test('what Google refuses the calling host is the affair of the caller, whatever the class', () => {
  const finding = { ...plainFinding(ErrorClass.PERMISSION, 'key'), beyond: 'calling-host' as const };
  expect(faultDomain(finding)).toBe('caller');
});
