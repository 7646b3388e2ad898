import type { Batches } from './batch-fit.ts';
import type { Engine } from './engine.ts';
import { type Key, keyId, ordinalOf, type Project, projectName, triesDay } from './key.ts';
import type { Lane } from './lane.ts';
import { type Pool, serves } from './pool.ts';
import type { Moment } from './quota/moment.ts';

/** What an acquire asks for. */
export interface Order {
  readonly caller: string;
  /** "": any. */
  readonly model: string;
  /** Expected input tokens of a call; 0: unknown. */
  readonly tokens: number;
  readonly affinityKey: string;
  readonly ttlMs: number | undefined;
  readonly sessionId: string;
  readonly priority: number;
  readonly requireProject: string;
  readonly requireKeyId: string;
  /** What matcher() made of excludes and requirements. */
  readonly matches: Matcher | undefined;
  /** One batch for each size; undefined: one lease. */
  readonly batches: Batches | undefined;
}

export interface Constraints {
  excludeKeyIds: readonly string[];
  excludeProjects: readonly string[];
  requireProject: string;
  requireKeyId: string;
}

/** Whether a key is one that the request allows. */
export interface Matcher {
  (key: Key): boolean;
  /** It allows no key of these. */
  readonly excludeProjects: ReadonlySet<string>;
}

/** undefined: the request allows every key. */
export function matcher(request: Constraints): Matcher | undefined {
  const { requireProject, requireKeyId } = request;
  const excluded = new Set(request.excludeKeyIds.map(ordinalNamed));
  const projects = new Set(request.excludeProjects);
  projects.delete('');
  if (excluded.size === 0 && projects.size === 0 && requireProject === '' && requireKeyId === '') return undefined;
  const required = ordinalNamed(requireKeyId);
  const matches = (key: Key): boolean => {
    const project = projectName(key);
    if (requireProject !== '' && project !== requireProject) return false;
    if (projects.has(project)) return false;
    return (requireKeyId === '' || key.ordinal === required) && !excluded.has(key.ordinal);
  };
  return Object.assign(matches, { excludeProjects: projects });
}

/** Ordinal of the key that has just this id; -1: no key can have it. */
function ordinalNamed(id: string): number {
  const ordinal = ordinalOf(id);
  return ordinal !== undefined && keyId(ordinal) === id ? ordinal : -1;
}

export type Candidates = readonly (Key | undefined)[] | ReadonlySet<Key>;

/** How many there are, keys of other pools and places without a key among them. */
export function sizeOf(keys: Candidates): number {
  return 'size' in keys ? keys.size : keys.length;
}

/** Keys of the pool that the order's requirements leave to choose from, by index where there is one. */
export function candidates(engine: Engine, pool: Pool, order: Order): Candidates {
  if (order.requireKeyId !== '') return [engine.keys.get(ordinalNamed(order.requireKeyId))];
  if (order.requireProject !== '') return engine.projects.get(order.requireProject)?.keys ?? [];
  return pool.keys;
}

/** Whether a key that is in the lane will do for the order. In the general lane keys may be that do not serve its model. */
export function allows(order: Order, lane: Lane, key: Key, at: Moment): boolean {
  if (order.matches !== undefined && !order.matches(key)) return false;
  if (lane.model === order.model) return order.tokens === 0 || fitsQuota(key.project, order, at);
  return serves(key, order.model, order.tokens, at);
}

/** Whether the project's quota has room for the order's tokens. */
export function fitsQuota(project: Project, order: Order, at: Moment): boolean {
  const gate = project.gates?.get(order.model);
  return gate === undefined || gate.meter.readyAt(order.tokens, at, triesDay(project, order.model, at.now)) === 0;
}
