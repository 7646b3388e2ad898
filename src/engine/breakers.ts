import type { Engine } from './engine.ts';
import type { Breaker, Key } from './key.ts';
import { restsUntil } from './rest.ts';

/** Models with a breaker: clients choose model names. */
const MAX_BREAKERS = 1_000;
const NO_KEYS: ReadonlySet<Key> = new Set();

/** undefined: no model is named, or too many have one. */
export function breakerOf(engine: Engine, model: string): Breaker | undefined {
  let breaker = engine.breakers.get(model);
  if (breaker !== undefined || model === '') return breaker;
  if (engine.breakers.size >= MAX_BREAKERS) {
    for (const each of engine.breakers.values()) if (each.rests.length === 0) engine.breakers.delete(each.model);
    if (engine.breakers.size >= MAX_BREAKERS) return undefined;
  }
  breaker = {
    kind: 'model',
    model,
    failures: 0,
    lastSuccess: -Infinity,
    rests: [],
    keys: NO_KEYS,
    deadline: 0,
    heapIndex: -1,
  };
  engine.breakers.set(model, breaker);
  return breaker;
}

/** Until when an overloaded model takes no calls; 0: it does. */
export function brokenUntil(engine: Engine, model: string, now: number): number {
  const breaker = engine.breakers.get(model);
  return breaker === undefined || breaker.rests.length === 0 ? 0 : restsUntil(breaker.rests, '', now);
}

/** Who waits for the model may be served again. */
export function supplyModel(engine: Engine, model: string): void {
  for (const pool of engine.pools.values()) {
    if (pool.waiting > 0) pool.supplyLane(pool.lanes.get(model) ?? pool.general);
  }
}
