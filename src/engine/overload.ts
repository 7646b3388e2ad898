import type { Finding } from '../gemini/finding.ts';
import { breakerOf } from './breakers.ts';
import type { Engine } from './engine.ts';
import type { Lease } from './lease.ts';
import { type Advice, overloadDelayMs, type Policy } from './policy.ts';
import { disprove, rest, type Undo } from './resting.ts';

/** So many overloaded answers in a row open the breaker of a model that worked a moment ago: a few among many good ones do not. */
const IN_A_ROW = 3;
const MOMENT_MS = 60_000;

/**
 * A model is overloaded: nobody's key is to blame, and another key meets the same model. Its breaker opens for everyone, 1, 2, 4 ..
 * 30 s, and then lets one call at a time try.
 */
export function overloaded(
  engine: Engine,
  lease: Lease,
  finding: Finding,
  policy: Policy,
  now: number,
): { advice: Advice; undo: Undo } {
  const breaker = breakerOf(engine, lease.model);
  const later = (delayMs: number): Advice => ({
    ...policy.advice,
    delayMs: Math.min(LONGEST_DELAY_MS, Math.max(delayMs, finding.retryDelayMs ?? 0)),
  });
  if (breaker === undefined) return { advice: later(policy.advice.delayMs), undo: () => {} };
  breaker.failures++;
  const uncount = (): void => {
    breaker.failures = Math.max(0, breaker.failures - 1);
  };
  const advice = later(overloadDelayMs(breaker.rests[0]?.strikes ?? 0));
  if (breaker.failures < IN_A_ROW && now - breaker.lastSuccess < MOMENT_MS) return { advice, undo: uncount };
  const why = { model: '', cause: finding.errorClass, cooldown: policy.cooldown!, finding, began: lease.callTime };
  const undo = rest(engine, breaker, why, now);
  return {
    advice,
    undo: (at) => {
      undo(at);
      uncount();
    },
  };
}

const LONGEST_DELAY_MS = 60_000;

/** A call of the model that worked closes its breaker. */
export function workedAgain(engine: Engine, model: string, began: number, now: number): Undo {
  const breaker = breakerOf(engine, model);
  if (breaker === undefined) return () => {};
  const { failures, lastSuccess } = breaker;
  breaker.failures = 0;
  breaker.lastSuccess = now;
  const undo = breaker.rests.length === 0 ? undefined : disprove(engine, breaker, '', began, now);
  return (at) => {
    breaker.failures = failures;
    breaker.lastSuccess = lastSuccess;
    undo?.(at);
  };
}
