import { type Finding, plainFinding } from '../gemini/finding.ts';
import { ErrorClass, Outcome } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { endTrials, resumeTrials } from './cooldowns.ts';
import type { Engine } from './engine.ts';
import { endingOf } from './engine.ts';
import { BalancerError } from './errors.ts';
import { faultDomain } from './fault-domain.ts';
import { book, unbook } from './gates.ts';
import type { Key } from './key.ts';
import { learn } from './learn.ts';
import { type Lease, LeaseState, leaseRef } from './lease.ts';
import { type Advice, type Policy, policyFor } from './policy.ts';
import type { Ending, UsageCounts } from './usage.ts';

export interface Result {
  outcome: Outcome;
  /** Of a failure. */
  finding: Finding | undefined;
  inputTokens: number;
  outputTokens: number;
  cachedTokens: number;
  keepLease: boolean;
  /** How long Gemini took, by the caller's clock. */
  latencyMs?: number | undefined;
}

export interface Settlement {
  errorClass: ErrorClass;
  /** undefined: the call did well. */
  advice: Advice | undefined;
  late: boolean;
  /** Counts it for good, among what is never taken back. To be called once it is stored. */
  tally: () => void;
  /** Makes it not have been, as when it could not be stored. Settlements are undone newest first. */
  undo: (now: number) => void;
}

/** Takes a result in: counts it, learns from it and, unless the lease is kept, ends it. */
export function settle(engine: Engine, lease: Lease, result: Result, now: number): Settlement {
  const { key } = lease;
  const { state, lastOutcome, callTime, trials } = lease;
  const before = { state, lastOutcome, callTime, trials, health: key.health };
  const late = lease.state !== LeaseState.ACTIVE;
  const finding = result.outcome === Outcome.FAILURE ? (result.finding ?? plainFinding(ErrorClass.UNKNOWN)) : undefined;
  const policy = finding && policyFor(finding);
  const counted: [keyof UsageCounts, number][] = [];
  const count = (field: keyof UsageCounts, by: number): void => {
    engine.count(lease, field, by);
    counted.push([field, by]);
  };

  if (late) {
    count(endingOf(lease), -1);
    count('late', 1);
  }
  const ending = endingFor(result.outcome, policy);
  // Stays with a lease that is kept: should it expire, it counts by its last report.
  lease.lastOutcome = ending === 'succeeded' ? Outcome.SUCCESS : ending === 'unused' ? Outcome.UNUSED : Outcome.FAILURE;
  const ends = !result.keepLease || late;
  const learned = learn(engine, lease, result, finding, now);
  if (ends) {
    engine.end(lease, now);
    count(ending, 1);
  } else {
    endTrials(engine, lease, now);
    lease.callTime = now;
    book(engine, lease, now);
    engine.changes.leases.add(lease);
  }
  if (result.outcome !== Outcome.UNUSED) {
    count('calls', 1);
    count('inputTokens', result.inputTokens);
    count('outputTokens', result.outputTokens);
    count('cachedTokens', result.cachedTokens);
  }
  if (finding !== undefined) countFailure(engine, key, finding, 1);

  return {
    errorClass: finding?.errorClass ?? ErrorClass.UNSPECIFIED,
    advice: learned.advice,
    late,
    tally: () => {
      const { counters } = key.pool;
      for (const [field, by] of counted) counters[field] += Math.max(0, by);
      if (finding !== undefined) tallyFailure(key, finding);
    },
    undo: (at) => {
      for (const [field, by] of counted) engine.count(lease, field, -by);
      if (finding !== undefined) countFailure(engine, key, finding, -1);
      learned.undo(at);
      const exists = engine.keys.get(key.ordinal) === key;
      if (exists) engine.setHealth(key, before.health, at);
      if (ends && exists) {
        lease.lastOutcome = before.lastOutcome;
        lease.state = before.state;
        engine.hold(lease);
        resumeTrials(engine, lease, before.trials, at);
        learned.rebook(at);
      } else if (ends) {
        // The key was deleted meanwhile, which releases leases that nobody reported.
        if (!late) engine.count(lease, 'released', 1);
      } else {
        unbook(engine, lease, at);
        lease.callTime = before.callTime;
        learned.rebook(at);
        // The kept lease may have expired meanwhile, counted by this report.
        const isOver = lease.state === LeaseState.EXPIRED || lease.state === LeaseState.LEFT;
        if (isOver) engine.count(lease, endingOf(lease), -1);
        lease.lastOutcome = before.lastOutcome;
        if (isOver) engine.count(lease, endingOf(lease), 1);
        resumeTrials(engine, lease, before.trials, at);
      }
    },
  };
}

/** Extends an active lease; one that lasts longer already stays as it is. Returns the way to undo it. */
export function renew(engine: Engine, lease: Lease, ttlMs: number | undefined, now: number): () => void {
  if (lease.state !== LeaseState.ACTIVE) {
    throw new BalancerError('LEASE_EXPIRED', `lease ${leaseRef(lease)} is over; acquire a new one`);
  }
  const { settings } = lease.key.pool;
  const before = lease.expireTime;
  const ttl = Math.min(ttlMs ?? settings.defaultLeaseTtlMs, settings.maxLeaseTtlMs);
  lease.expireTime = Math.max(before, now + ttl);
  engine.leaseDeadlines.set(lease, lease.expireTime);
  engine.changes.leases.add(lease);
  return () => {
    if (lease.state !== LeaseState.ACTIVE) return;
    lease.expireTime = before;
    engine.leaseDeadlines.set(lease, before);
    engine.changes.leases.add(lease);
  };
}

function tallyFailure(key: Key, finding: Finding): void {
  key.pool.counters.failures[nameOf(finding.errorClass)]!++;
  const domain = faultDomain(finding);
  if (domain === undefined) return;
  key.faults ??= { caller: 0, key: 0, project: 0, provider: 0 };
  key.faults[domain]++;
}

/** Counts of failures by class belong to the pool. */
function countFailure(engine: Engine, key: Key, finding: Finding, by: number): void {
  const name = nameOf(finding.errorClass);
  const counts = key.pool.failuresByClass;
  counts[name] = (counts[name] ?? 0) + by;
  if (counts[name] === 0) delete counts[name];
  engine.changes.poolUsage.add(key.pool);
}

const CLASS_NAMES = new Map<ErrorClass, string>(Object.entries(ErrorClass).map(([name, value]) => [value, name]));

/** Such as RATE_LIMITED_MINUTE. */
export function nameOf(errorClass: ErrorClass): string {
  return CLASS_NAMES.get(errorClass) ?? 'UNKNOWN';
}

function endingFor(outcome: Outcome, policy: Policy | undefined): Ending {
  if (outcome === Outcome.UNUSED) return 'unused';
  return policy?.failed ? 'failed' : 'succeeded';
}
