import type { Engine } from './engine.ts';
import { invalidField } from './errors.ts';
import type { Gate, Project, Resting } from './key.ts';
import type { Lease } from './lease.ts';
import { isEmpty, type Limits } from './quota/limits.ts';
import { Meter } from './quota/meter.ts';
import type { Moment } from './quota/moment.ts';

/** Models of a project whose quota is kept: clients choose model names. */
const MAX_GATES = 64;

/** Quota of one (project, model), made when it is first needed. undefined: no model is named, or too many were. */
export function gateFor(project: Project, model: string): Gate | undefined {
  const known = project.gates?.get(model);
  if (known !== undefined || model === '') return known;
  project.gates ??= new Map();
  if (project.gates.size >= MAX_GATES && !dropIdleGate(project.gates)) return undefined;
  const gate = { project, model, meter: new Meter(model), deadline: 0, heapIndex: -1 };
  gate.meter.defaults = project.defaults;
  project.gates.set(model, gate);
  return gate;
}

/**
 * Makes room for limits of a model of a project; "" needs none. What refusals taught of other models goes first. Throws INVALID_FIELD
 * where too many models have limits that were set.
 */
export function claimGate(engine: Engine, project: Project, model: string): void {
  if (model === '' || gateFor(project, model) !== undefined) return;
  if (dropTaughtGate(engine, project.gates!) && gateFor(project, model) !== undefined) return;
  throw invalidField('quota.model', model, `one of at most ${MAX_GATES} models whose quota is kept for a project`);
}

/** Limits of a project's models that have none of their own. */
export function setDefaults(engine: Engine, project: Project, defaults: Limits, now: number): void {
  project.defaults = defaults;
  for (const { meter } of project.gates?.values() ?? []) meter.defaults = defaults;
  engine.changes.defaults.add(project);
  relimit(engine, project, '', now);
  for (const { pool } of project.places) pool.supplyModel('');
}

/** Limits of one model of a project; {} for those of the project. */
export function setLimits(engine: Engine, project: Project, model: string, limits: Limits, now: number): void {
  claimGate(engine, project, model);
  const gate = gateFor(project, model)!;
  gate.meter.setLimits = limits;
  engine.changes.gates.add(gate);
  relimit(engine, project, model, now);
  for (const { pool } of project.places) pool.supplyModel(model);
}

/** What an earlier run stored. */
export function replaceMeter(engine: Engine, gate: Gate, meter: Meter, at: Moment): void {
  meter.setLimits = gate.meter.setLimits;
  meter.defaults = gate.meter.defaults;
  gate.meter = meter;
  regate(engine, gate.project, gate.model, at.now);
}

/** Limits of a model ("": of all) of the project are others: there may be room too where it was open already. */
export function relimit(engine: Engine, project: Project, model: string, now: number): void {
  regate(engine, project, model, now);
  for (const { pool } of project.places) pool.supplyProject(project);
}

/** Offers or withholds a project's keys for a model ("": for all), as its cooldowns and quota say now. */
export function regate(engine: Engine, project: Project, model: string, now: number): void {
  const at = engine.moment(now);
  const gates = model === '' ? project.gates?.values() : [project.gates?.get(model)];
  for (const gate of gates ?? []) if (gate !== undefined) watchGate(engine, gate, at);
  for (const place of project.places) place.pool.gate(place, project, model, at);
}

function watchGate(engine: Engine, gate: Gate, at: Moment): void {
  const readyAt = gate.meter.readyAt(1, at);
  if (readyAt > 0 && readyAt < gate.deadline) readySooner(gate.project);
  if (readyAt === 0 || readyAt === Infinity) {
    engine.gateDeadlines.delete(gate);
    gate.deadline = readyAt;
  } else {
    engine.gateDeadlines.set(gate, readyAt);
  }
}

/** Counts a call that the lease is about to make against the quota of its project. */
export function book(engine: Engine, lease: Lease, now: number): void {
  const { project } = lease.key;
  const gate = gateFor(project, lease.model);
  if (gate === undefined) return;
  const at = engine.moment(now);
  lease.booking = gate.meter.book(lease.tokens, at);
  gateMoved(engine, gate, at);
}

/** What was used of a quota changed. */
export function gateMoved(engine: Engine, gate: Gate, at: Moment): void {
  if (!gate.meter.isLimited) return;
  engine.changes.gates.add(gate);
  if (gate.meter.readyAt(1, at) !== 0 || gate.heapIndex >= 0) regate(engine, gate.project, gate.model, at.now);
}

/** The same, by something that came back. */
export function gateReleased(engine: Engine, gate: Gate, at: Moment): void {
  gateMoved(engine, gate, at);
  if (gate.meter.isLimited) for (const { pool } of gate.project.places) pool.supplyProject(gate.project);
}

/** What was booked for a call that was not made, or turned away, comes back. */
export function unbook(engine: Engine, lease: Lease, now: number): void {
  const { booking } = lease;
  if (booking === undefined) return;
  lease.booking = undefined;
  const gate = lease.key.project.gates?.get(lease.model);
  if (gate === undefined) return;
  const at = engine.moment(now);
  gate.meter.settle(booking, { counted: false, succeeded: false, tokens: undefined }, at);
  gateReleased(engine, gate, at);
}

/** What was foretold of when these keys serve again is too late. */
export function readySooner(resting: Resting): void {
  for (const { pool } of (resting as Partial<Project>).places ?? resting.keys) pool.settingsVersion++;
}

/** Lets the quota of a model go whose limits nobody set: callers choose model names, and may teach limits of any. */
function dropTaughtGate(engine: Engine, gates: Map<string, Gate>): boolean {
  for (const [model, gate] of gates) {
    if (!isEmpty(gate.meter.setLimits)) continue;
    gates.delete(model);
    engine.gateDeadlines.delete(gate);
    engine.changes.gates.add(gate);
    return true;
  }
  return false;
}

/** Lets the quota of a model go of which nothing would be lost. */
function dropIdleGate(gates: Map<string, Gate>): boolean {
  for (const [model, { meter, heapIndex }] of gates) {
    if (heapIndex >= 0 || meter.isLimited) continue;
    gates.delete(model);
    return true;
  }
  return false;
}
