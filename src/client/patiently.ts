import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { awayPauseMs, inTime, isAway } from './away.ts';
import type { Balancer, CallOptions } from './balancer.ts';
import { LONGEST_TIMER_MS } from './checks.ts';
import { KeyBalancerError } from './errors.ts';

/** How long one call tries to reach a balancer that answered before, and one that has not: its address may be wrong. */
const PATIENCE_MS = 10_000;
const FIRST_PATIENCE_MS = 2_000;
/** A call that has an end is ended by its signal, which gets so long to do that. */
const GRACE_MS = 5_000;

/** Those that answered, and those that were warned of, by what all that stand around one balancer share. */
const answered = new WeakSet<Balancer['keyAdmin']>();
const warnedOf = new WeakSet<Balancer['keyAdmin']>();

/** What one call has left. Times in milliseconds. */
export interface TimeLeft {
  /** For a key to become free. */
  waitMs: number;
  /** When its signal ends it, by performance.now(); undefined or infinite: it has no end of its own. */
  endsAt?: number | undefined;
  /** For a balancer that is away; undefined: it was there so far. */
  awayMs?: number;
}

export interface PatientCall {
  left: TimeLeft;
  /** Whether to wait for a key that is free, else to take one only if there is. */
  mayWait: boolean;
  signal: AbortSignal | undefined;
}

/** A call that takes no key, and has no end of its own. */
export function keyless(): PatientCall {
  return { left: { waitMs: 0 }, mayWait: false, signal: undefined };
}

/** How long a balancer that is away is waited for, by a call that has no end of its own. */
export function patienceMs({ keyAdmin }: Balancer): number {
  return answered.has(keyAdmin) ? PATIENCE_MS : FIRST_PATIENCE_MS;
}

/** Asks again while the balancer is away: what is repeated is told from its first by the request id. Takes from `left` what it used of it. */
export async function patiently<T>(
  balancer: Balancer,
  { left, mayWait, signal }: PatientCall,
  ask: (requestId: string, options: CallOptions) => Promise<T>,
): Promise<T> {
  const { endsAt = Number.POSITIVE_INFINITY } = left;
  const hasEnd = Number.isFinite(endsAt);
  // Answers of a balancer in this process are not lost, and an id costs as much as the pick.
  let requestId = balancer.inProcess ? '' : randomUUID();
  let awaySince: number | undefined;
  /** Why it is away: what was said last, or, where nothing was said in the rest of the time, before. */
  let trouble: unknown;
  const spentAway = (): number => (awaySince === undefined ? 0 : performance.now() - awaySince);
  const leftMs = (): number =>
    hasEnd ? endsAt + GRACE_MS - performance.now() : (left.awayMs ?? PATIENCE_MS) - spentAway();
  try {
    for (;;) {
      const startedAt = performance.now();
      try {
        const tryMs = Math.max(1, Math.min(leftMs(), hasEnd ? LONGEST_TIMER_MS : PATIENCE_MS));
        const timeoutMs = tryMs + (mayWait && !hasEnd ? left.waitMs : 0);
        const taken = await inTime(ask(requestId, { signal, timeoutMs }));
        answered.add(balancer.keyAdmin);
        return taken;
      } catch (error) {
        if (awaySince !== undefined && error instanceof KeyBalancerError && error.reason === 'LEASE_EXPIRED') {
          // It was had, and ended while the balancer was away.
          requestId = randomUUID();
          continue;
        }
        if (!isAway(error)) throw error;
        // One that was reached and did not answer has been away for all of the try.
        const wasLate = (error as Error).cause instanceof KeyBalancerError;
        awaySince ??= wasLate ? startedAt : performance.now();
        const isKnown = wasLate || answered.has(balancer.keyAdmin);
        left.awayMs ??= isKnown ? Math.max(PATIENCE_MS, left.waitMs) : FIRST_PATIENCE_MS;
        if (!wasLate || trouble === undefined) trouble = error;
        // One that was late had its time, and its lease is given back should it come.
        if (wasLate || leftMs() <= 0) throw trouble;
        if (!isKnown && spentAway() >= FIRST_PATIENCE_MS) warnOnce(balancer, trouble as Error);
      } finally {
        if (mayWait) left.waitMs = Math.max(0, left.waitMs - (performance.now() - startedAt));
      }
      await sleep(awayPauseMs(), undefined, { signal });
    }
  } finally {
    if (left.awayMs !== undefined) left.awayMs = Math.max(0, left.awayMs - spentAway());
  }
}

/** A call that goes on to its end would not say why it did. */
function warnOnce({ keyAdmin }: Balancer, { message }: Error): void {
  if (warnedOf.has(keyAdmin)) return;
  warnedOf.add(keyAdmin);
  process.emitWarning(`${message}; calls that have a deadline wait for it until then`, 'KeyBalancerWarning');
}
