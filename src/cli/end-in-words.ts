import { KeyState } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { RestingGroup, VerificationState } from './resting.ts';
import { causeInWords, count, fromInWords, momentInWords } from './words.ts';

/** What ends the rest of a group of keys, in plain words. */
export function endInWords(group: RestingGroup, now: number): string {
  switch (group.state) {
    case KeyState.QUARANTINED:
      return group.verification === undefined ? 'when Gemini takes it' : quarantineEnd(group.verification, group, now);
    case KeyState.DISABLED_AUTO:
      return 'when an administrator resets or replaces the key';
    case KeyState.DISABLED_ADMIN:
      return 'when an administrator enables the key';
    default:
      return cooldownEnd(group, now);
  }
}

/** Such as "14:02:11 (12 s left)", "14:02:11 (12 s left) to 14:05:00 (3 min left); one call tries it from 14:00:00, 2 s left". */
function cooldownEnd({ firstBack, lastBack, firstTry }: RestingGroup, now: number): string {
  const first = momentInWords(firstBack, now);
  const end = firstBack === lastBack ? first : `${first} to ${momentInWords(lastBack, now)}`;
  return firstTry === undefined ? end : `${end}; one call tries it ${fromInWords(firstTry, now)}`;
}

/** Such as "when Gemini takes it; Gemini could not be reached 3 times: network failed; asked again at 14:02:11 (12 s left)". */
function quarantineEnd(verification: VerificationState, { firstTry }: RestingGroup, now: number): string {
  const { on, refusals, unanswered, unansweredClass } = verification;
  if (!on) return 'when an administrator resets it; Gemini is not asked, since verification is off';
  const parts = ['when Gemini takes it'];
  if (refusals > 0) parts.push(`Gemini refused it ${count(refusals, 'time')}`);
  if (unanswered > 0) {
    parts.push(`Gemini could not be reached ${count(unanswered, 'time')}: ${causeInWords(unansweredClass)}`);
  }
  const again = refusals + unanswered > 0 ? 'asked again' : 'asked';
  parts.push(firstTry !== undefined && firstTry > now ? `${again} at ${momentInWords(firstTry, now)}` : `${again} now`);
  return parts.join('; ');
}
