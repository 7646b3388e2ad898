import { brokenUntil, supplyModel } from './breakers.ts';
import type { Engine } from './engine.ts';
import { readySooner, regate } from './gates.ts';
import type { Breaker, Key, Project, Resting } from './key.ts';
import { type Lease, LeaseState } from './lease.ts';
import { cutShort, isHalfOpen, nextChange, type Rest } from './rest.ts';

export function setRests(engine: Engine, resting: Resting, rests: readonly Rest[], now: number): void {
  // As when a report is undone whose key was deleted meanwhile.
  if (isGone(engine, resting)) return;
  const before = resting.rests;
  const sooner = cutShort(before, rests, now);
  resting.rests = rests;
  engine.changes.resting.add(resting);
  watchRests(engine, resting, now);
  if (resting.kind === 'model') {
    if (brokenUntil(engine, (resting as Breaker).model, now) === 0) supplyModel(engine, (resting as Breaker).model);
    return;
  }
  if (sooner) readySooner(resting);
  if (resting.kind === 'project') refreshProject(engine, resting as Project, [...before, ...rests], now);
  else (resting as Key).pool.refresh(resting as Key, now);
  if (resting.kind === 'project') engine.tidyProject(resting as Project);
}

/** Whether it is a deleted key, or the project of its own that such a key had. */
export function isGone(engine: Engine, resting: Resting): boolean {
  if (resting.kind === 'model' || (resting as Partial<Project>).name) return false;
  return [...resting.keys].every((key) => engine.keys.get(key.ordinal) !== key);
}

/** Watchers are to hear of the cooldowns of these keys. */
export function announceRests(engine: Engine, resting: Resting): void {
  if (!isGone(engine, resting)) for (const key of resting.keys) engine.changes.announce(key, key.state);
}

/** The lease is the one call that tries what is half-open. */
export function startTrials(engine: Engine, lease: Lease, now: number): void {
  const { key, model } = lease;
  const breaker = engine.breakers.get(model);
  if (key.rests.length === 0 && key.project.rests.length === 0 && !breaker?.rests.length) return;
  for (const resting of [key, key.project, breaker]) {
    for (const rest of resting?.rests ?? []) {
      const isMeant = resting!.kind === 'model' || rest.model === '' || rest.model === model;
      if (!isMeant || rest.trial !== undefined || !isHalfOpen(rest, now)) continue;
      rest.trial = lease;
      lease.trials ??= [];
      lease.trials.push({ resting: resting!, rest });
    }
  }
  for (const { resting, rest } of lease.trials ?? []) trialMoved(engine, resting, rest, now);
}

/** It goes on trying what it tried: its end was undone, or the server began anew. */
export function resumeTrials(engine: Engine, lease: Lease, trials: Lease['trials'], now: number): void {
  if (lease.state !== LeaseState.ACTIVE) return;
  for (const { resting, rest } of trials ?? []) {
    if (rest.trial !== undefined || !resting.rests.includes(rest)) continue;
    rest.trial = lease;
    lease.trials ??= [];
    lease.trials.push({ resting, rest });
    trialMoved(engine, resting, rest, now);
  }
}

/** A lease that tried what was half-open is over, or was reported: another may try. */
export function endTrials(engine: Engine, lease: Lease, now: number): void {
  const { trials } = lease;
  if (trials === undefined) return;
  lease.trials = undefined;
  for (const { resting, rest } of trials) {
    if (rest.trial === lease) rest.trial = undefined;
    trialMoved(engine, resting, rest, now);
  }
}

function trialMoved(engine: Engine, resting: Resting, rest: Rest, now: number): void {
  engine.changes.resting.add(resting);
  if (rest.trial === undefined) readySooner(resting);
  if (resting.kind === 'model') {
    if (rest.trial === undefined) supplyModel(engine, (resting as Breaker).model);
    return;
  }
  if (resting.kind === 'project') refreshProject(engine, resting as Project, [rest], now);
  else (resting as Key).pool.refresh(resting as Key, now);
}

/** After cooldowns of a project changed: `touched` are those before and after. */
function refreshProject(engine: Engine, project: Project, touched: readonly Rest[], now: number): void {
  const models = new Set(touched.map((rest) => rest.model));
  if (models.has('')) {
    for (const key of project.keys) key.pool.refresh(key, now);
    regate(engine, project, '', now);
  } else {
    for (const model of models) regate(engine, project, model, now);
  }
}

export function watchRests(engine: Engine, resting: Resting, now: number): void {
  const next = nextChange(resting.rests, now);
  if (next === Infinity) engine.restDeadlines.delete(resting);
  else engine.restDeadlines.set(resting, next);
}
