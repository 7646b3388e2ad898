import type { Finding } from '../gemini/finding.ts';
import { ErrorClass, Outcome } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { countCaller } from './callers.ts';
import type { Engine } from './engine.ts';
import { gateFor, gateMoved, gateReleased, relimit } from './gates.ts';
import { failed, succeeded } from './health.ts';
import type { Lease } from './lease.ts';
import { overloaded, workedAgain } from './overload.ts';
import { type Advice, type Policy, policyFor } from './policy.ts';
import { suspect } from './quarantine.ts';
import type { Settlement as BookingOutcome } from './quota/booking.ts';
import { disprove, restAsFound, type Undo } from './resting.ts';
import type { Result } from './settle.ts';

export interface Learned {
  /** undefined: the call did well. */
  advice: Advice | undefined;
  undo: Undo;
  /** Books anew what the lease had booked, once it is as it was before. */
  rebook: Undo;
}

/** Does what a result tells of key, project and model: quota, health, cooldowns, quarantine. Leases and counts are settle()'s. */
export function learn(
  engine: Engine,
  lease: Lease,
  result: Result,
  finding: Finding | undefined,
  now: number,
): Learned {
  const { key } = lease;
  const policy = finding && policyFor(finding);
  const undos: Undo[] = [];
  const unsettled = settleQuota(engine, lease, result, policy, now);
  let advice = policy?.advice;
  if (finding?.delayDistrusted) {
    countCaller(engine, lease.caller, 'delaysDistrusted');
    undos.push(() => countCaller(engine, lease.caller, 'delaysDistrusted', -1));
  }
  // What was called with a key that was replaced since says nothing of its successor.
  const isReplaced = lease.acquireTime < key.secretSince;
  if (finding !== undefined && policy!.rests === 'model') {
    const overload = overloaded(engine, lease, finding, policy!, now);
    undos.push(overload.undo);
    advice = overload.advice;
  }
  if (result.outcome !== Outcome.UNUSED && policy?.fault !== 'caller' && !isReplaced) {
    if (finding === undefined || policy === undefined || !policy.failed) undos.push(...succeed(engine, lease, now));
    else undos.push(...fail(engine, lease, finding, policy, now));
  }
  if (
    finding !== undefined &&
    advice !== undefined &&
    policy!.fault === 'nobody' &&
    policy!.rests === 'nothing' &&
    advice.retry
  ) {
    advice = { ...advice, delayMs: Math.min(LONGEST_DELAY_MS, finding.retryDelayMs ?? advice.delayMs) };
  }
  return {
    advice,
    undo: (at) => {
      for (const undo of undos.reverse()) undo(at);
    },
    rebook: unsettled,
  };
}

const LONGEST_DELAY_MS = 60_000;
/** A request reaches Gemini so long after it was sent at the most, as a rule. What comes to it a minute later may be faster. */
const LONGEST_TRANSIT_MS = 250;

function succeed(engine: Engine, lease: Lease, now: number): Undo[] {
  const { key, model, callTime } = lease;
  engine.setHealth(key, succeeded(key.health, now), now);
  const undos: Undo[] = [workedAgain(engine, model, callTime, now)];
  if (lease.trials?.some(({ rest }) => rest.dayEnd !== undefined)) undos.push(doubtDay(engine, lease, now));
  for (const resting of [key, key.project]) {
    if (resting.rests.length > 0) undos.push(disprove(engine, resting, model, callTime, now));
  }
  return undos;
}

function fail(engine: Engine, lease: Lease, finding: Finding, policy: Policy, now: number): Undo[] {
  const { key } = lease;
  const { errorClass } = finding;
  // A bill that is still not paid when a call tries it.
  const isUnpaidAgain =
    errorClass === ErrorClass.BILLING && lease.trials?.some(({ rest }) => rest.cause === ErrorClass.BILLING) === true;
  const ownFault = policy.fault === 'key' || isUnpaidAgain;
  engine.setHealth(key, failed(key.health, errorClass, ownFault, now), now);
  if (ownFault) engine.changes.announce(key, key.state);
  const undos: Undo[] = [];
  if (policy.rests === 'quarantine') {
    for (const each of finding.scope === 'project' ? [...key.project.keys] : [key]) {
      const undo = suspect(engine, each, errorClass, lease.caller, now);
      if (undo !== undefined) undos.push(undo);
    }
  }
  undos.push(
    restAsFound(engine, key, lease.model, finding, lease.callTime, now),
    learnLimits(engine, lease, finding, now),
  );
  return undos;
}

/** A call worked that tried a day which was taken for spent. */
function doubtDay(engine: Engine, { key, model }: Lease, now: number): Undo {
  const gate = key.project.gates?.get(model);
  if (gate === undefined) return () => {};
  const before = gate.meter.learned;
  gate.meter.doubtDay();
  engine.changes.gates.add(gate);
  relimit(engine, key.project, model, now);
  return (at) => {
    gate.meter.restoreLessons(before);
    relimit(engine, key.project, model, at);
  };
}

/** A refusal that states its limit teaches it. */
function learnLimits(engine: Engine, lease: Lease, finding: Finding, now: number): Undo {
  const { project } = lease.key;
  const undos: (() => void)[] = [];
  for (const limit of finding.limits) {
    const gate = gateFor(project, lease.model || limit.model);
    if (gate === undefined) continue;
    const at = engine.moment(now);
    const before = gate.meter.learned;
    const isLearned = gate.meter.learn(limit.name, limit.value, at);
    const count = isLearned ? 'limitsLearned' : 'limitsRefused';
    countCaller(engine, lease.caller, count);
    undos.push(() => countCaller(engine, lease.caller, count, -1));
    if (!isLearned) continue;
    gateMoved(engine, gate, at);
    undos.push(() => gate.meter.restoreLessons(before));
  }
  return (at) => {
    for (const undo of undos.reverse()) undo();
    if (undos.length > 0) relimit(engine, project, '', at);
  };
}

/** Corrects what the call was booked as. Returns the way to undo it. */
function settleQuota(engine: Engine, lease: Lease, result: Result, policy: Policy | undefined, now: number): Undo {
  const { booking, model } = lease;
  const gate = lease.key.project.gates?.get(model);
  if (booking === undefined || gate === undefined) return () => {};
  const outcome: BookingOutcome = {
    counted: result.outcome !== Outcome.UNUSED && policy?.refusedAtDoor !== true,
    succeeded: policy === undefined || !policy.failed,
    tokens: result.inputTokens > 0 ? result.inputTokens : undefined,
    arrivedAt: Math.min(now, Math.max(booking.time, now - (result.latencyMs ?? Infinity)) + LONGEST_TRANSIT_MS),
  };
  const at = engine.moment(now);
  gate.meter.settle(booking, outcome, at);
  lease.booking = undefined;
  if (!outcome.counted || (outcome.tokens ?? Infinity) < booking.tokens) gateReleased(engine, gate, at);
  else gateMoved(engine, gate, at);
  return (later) => {
    gate.meter.unsettle(booking, outcome, engine.moment(later));
    lease.booking = booking;
    gateMoved(engine, gate, engine.moment(later));
  };
}
