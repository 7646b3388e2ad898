import { KeyState } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Engine } from './engine.ts';
import { allowsModel, type Key, type Project, readyAt } from './key.ts';
import type { Lane } from './lane.ts';
import { LazyOrder } from './lazy-order.ts';
import { type Candidates, candidates, type Order, sizeOf } from './order.ts';
import type { Pool } from './pool.ts';
import type { Moment } from './quota/moment.ts';

/** How long a look at all keys is used: at least so long, and so much longer a key that only a small part of all time goes there. */
const FRESH_MS = 20;
const FRESH_MS_PER_KEY = 0.002;
/** A look in which an order met so many keys that rest longer than they did then is not used again. */
const MAX_MOVED = 250;
/** Looks that a pool keeps. */
const MAX_LOOKS = 64;
/** Looking at no more keys than these is not worth keeping. */
const FEW_KEYS = 100;
/** Projects with no more keys than these are not passed over as one. */
const SMALL_PROJECT = 8;
/** No model has this name: it stands for all that neither a rest nor a key's settings name. */
const UNNAMED = ' ';

/** The key that an order gets next if all goes as it looks now. */
export interface Soonest {
  key: Key;
  /** When it rests no more, on the engine's clock; 0: a lease has to come back first. */
  readyAt: number;
}

/** Keys of one project, which an order may exclude as one, or ("") of none and of small ones. */
interface Group {
  readonly project: string;
  readonly keys: LazyOrder<Key>;
}

/**
 * What a walk over all keys found: when each is ready for a model, kept so that the many who are refused while a pool is dry
 * need not all walk. Until `settingsVersion` moves a key is never ready before that, only later: when its turn comes it is asked
 * again. So an old look costs time, never truth.
 */
interface Look {
  readonly settingsVersion: number;
  until: number;
  readonly groups: LazyOrder<Group>;
  /** Of a look for UNNAMED: the models that it does not stand for. */
  readonly named: ReadonlySet<string>;
}

const looksOf = new WeakMap<Pool, Map<string, Look>>();

/** Of the enabled keys that the order allows the one that is ready first; undefined: it allows none. */
export function soonest(engine: Engine, pool: Pool, lane: Lane, order: Order, now: number): Soonest | undefined {
  const look = lookFor(engine, pool, lane, order, now);
  let found: Soonest | undefined;
  let earliest = Infinity;
  let moved = 0;
  const at = engine.moment(now);
  for (let g = 0; g < look.groups.size && look.groups.rank(g) < earliest; g++) {
    const { project, keys } = look.groups.item(g);
    if (project !== '' && order.matches?.excludeProjects.has(project)) continue;
    for (let i = 0; i < keys.size && keys.rank(i) < earliest; i++) {
      const key = keys.item(i);
      if (order.matches !== undefined && !order.matches(key)) continue;
      const ready = readyAt(key, order.model, order.tokens, at);
      if (ready > keys.rank(i)) moved++;
      if (ready >= earliest) continue;
      earliest = ready;
      found = { key, readyAt: ready };
    }
  }
  if (moved > MAX_MOVED) look.until = now;
  return found;
}

/** Clients choose model names: those beyond a pool's lanes that nothing names share one look. */
function lookFor(engine: Engine, pool: Pool, lane: Lane, order: Order, now: number): Look {
  if (lane.model === order.model || order.requireKeyId !== '') return lookNow(engine, pool, order.model, order, now);
  const shared = lookNow(engine, pool, UNNAMED, order, now);
  return shared.named.has(order.model) ? lookNow(engine, pool, order.model, order, now) : shared;
}

function lookNow(engine: Engine, pool: Pool, model: string, order: Order, now: number): Look {
  const looks = looksOf.get(pool) ?? new Map<string, Look>();
  looksOf.set(pool, looks);
  const name = `${model}\n${order.requireProject}`;
  const known = order.requireKeyId === '' ? looks.get(name) : undefined;
  if (known !== undefined && known.settingsVersion === pool.settingsVersion && now < known.until) return known;
  const keys = candidates(engine, pool, order);
  const look = lookAt(pool, keys, model, engine.moment(now));
  if (sizeOf(keys) <= FEW_KEYS) return look;
  looks.delete(name);
  // Oldest first.
  for (const [each, { until }] of looks) {
    if (now < until && looks.size < MAX_LOOKS) break;
    looks.delete(each);
  }
  looks.set(name, look);
  return look;
}

function lookAt(pool: Pool, keys: Candidates, model: string, at: Moment): Look {
  const single: Group = { project: '', keys: new LazyOrder() };
  const byProject = new Map<Project, Group>();
  const named = new Set<string>();
  let last = single;
  for (const key of keys) {
    if (key?.pool !== pool || key.state === KeyState.DISABLED_ADMIN || key.state === KeyState.DISABLED_AUTO) continue;
    if (model === UNNAMED) addModels(key, named);
    if (!allowsModel(key, model)) continue;
    const { project } = key;
    if (project.keys.size <= SMALL_PROJECT) last = single;
    else if (last.project !== project.name) {
      last = byProject.get(project) ?? { project: project.name, keys: new LazyOrder() };
      byProject.set(project, last);
    }
    last.keys.add(key, readyAt(key, model, 0, at));
  }
  const groups = new LazyOrder<Group>();
  for (const group of [single, ...byProject.values()]) {
    if (group.keys.size > 0) groups.add(group, group.keys.rank(0));
  }
  const until = at.now + Math.max(FRESH_MS, pool.keyCount * FRESH_MS_PER_KEY);
  return { settingsVersion: pool.settingsVersion, until, groups, named };
}

function addModels({ settings, rests, project }: Key, into: Set<string>): void {
  for (const model of settings.models) into.add(model);
  for (const rest of rests) into.add(rest.model);
  for (const rest of project.rests) into.add(rest.model);
  if (project.gates !== undefined) for (const model of project.gates.keys()) into.add(model);
}
