import { callerOf, countCaller, LESSONS_AN_HOUR, recent } from './callers.ts';
import { setRests } from './cooldowns.ts';
import type { Engine } from './engine.ts';
import { gateFor, relimit, setDefaults } from './gates.ts';
import { type Gate, type Key, type Project, projectName } from './key.ts';
import { mergedRests, moveTrial } from './rest.ts';

/**
 * Takes in which project an error named for a key. `caller`: whose report it was; "": the server's own question, which is believed
 * and goes before a report.
 *
 * A report's word is bounded: an administrator's project and one learned before stay, and a caller teaches few keys an hour.
 */
export function learnProject(engine: Engine, key: Key, name: string, caller: string, now: number): boolean {
  const known = key.learnedProject;
  if (key.settings.project !== '' || known?.name === name) return false;
  if (caller === '') {
    setLearned(engine, key, { name, caller, time: now }, now);
    return true;
  }
  const record = callerOf(engine, caller);
  record.lessons = recent(record.lessons, now);
  if (known !== undefined || record.lessons.length >= LESSONS_AN_HOUR) {
    countCaller(engine, caller, 'projectsRefused');
    return false;
  }
  record.lessons.push(now);
  countCaller(engine, caller, 'projectsLearned');
  setLearned(engine, key, { name, caller, time: now }, now);
  return true;
}

/** Forgets which project errors named for the key. */
export function forgetProject(engine: Engine, key: Key, now: number): void {
  if (key.learnedProject === undefined) return;
  const { rests } = key.project;
  setLearned(engine, key, undefined, now);
  // Whether the key rested by itself or for the others, nobody knows: it goes on resting.
  if (key.project.name === '')
    setRests(
      engine,
      key.project,
      rests.map((rest) => ({ ...rest, trial: undefined })),
      now,
    );
}

function setLearned(engine: Engine, key: Key, learned: Key['learnedProject'], now: number): void {
  key.learnedProject = learned;
  engine.changes.status.add(key);
  moveToProject(engine, key, now);
}

/** Puts the key where its settings and what was learned say that it belongs. */
export function moveToProject(engine: Engine, key: Key, now: number): void {
  const from = key.project;
  const name = projectName(key);
  if (from.name === name) return;
  const previousState = key.state;
  leaveProject(engine, key);
  joinProject(engine, key, name === '' ? undefined : engine.project(name), now);
  // What was a project of its own brings along what is known of it: it was the other one all the time.
  if (from.name === '') mergeProjects(engine, from, key.project, now);
  // Else its calls stay booked where they began.
  else for (const lease of key.leases) lease.booking = undefined;
  key.pool.settingsVersion++;
  engine.changes.announce(key, previousState);
  key.pool.refresh(key, now);
}

/** `project`: undefined for one of its own. */
export function joinProject(engine: Engine, key: Key, project: Project | undefined, now: number): void {
  key.project = project ?? newProject('', key.keys as Set<Key>);
  key.project.keys.add(key);
  key.pool.joinGroup(key, now);
  engine.changes.resting.add(key.project);
}

export function leaveProject(engine: Engine, key: Key): void {
  const { project } = key;
  key.pool.leaveGroup(key);
  if (project.name === '') {
    engine.restDeadlines.delete(project);
    for (const gate of project.gates?.values() ?? []) {
      engine.gateDeadlines.delete(gate);
      engine.changes.gates.add(gate);
    }
    engine.changes.resting.add(project);
    return;
  }
  project.keys.delete(key);
  engine.tidyProject(project);
}

export function newProject(name: string, keys = new Set<Key>()): Project {
  return {
    kind: 'project',
    name,
    keys,
    places: [],
    gates: undefined,
    defaults: {},
    rests: [],
    deadline: 0,
    heapIndex: -1,
  };
}

/** Two projects turned out to be one: limits, cooldowns and what was used come together. */
function mergeProjects(engine: Engine, from: Project, into: Project, now: number): void {
  const at = engine.moment(now);
  const gates: Gate[] = [...(from.gates?.values() ?? [])];
  for (const { model, meter } of gates) {
    const gate = gateFor(into, model);
    if (gate === undefined) continue;
    gate.meter.merge(meter, at);
    engine.changes.gates.add(gate);
  }
  into.defaults = { ...from.defaults, ...into.defaults };
  if (Object.keys(from.defaults).length > 0) setDefaults(engine, into, into.defaults, now);
  const rests = mergedRests(into.rests, from.rests);
  for (const rest of from.rests) if (rests.includes(rest)) moveTrial(rest, rest, into);
  if (rests !== into.rests) setRests(engine, into, rests, now);
  from.rests = [];
  relimit(engine, into, '', now);
}
