import type { Clock } from '../../engine/clock.ts';
import type { Engine } from '../../engine/engine.ts';
import { allowsModel, readyAt } from '../../engine/key.ts';
import type { Pool } from '../../engine/pool.ts';
import { KeyState } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { ModelStatsView } from '../store.ts';
import { pause } from './admin-context.ts';
import { usageView } from './views.ts';

/** Others run after so many questions to keys, which is about a millisecond. */
const SLICE = 10_000;

/** What the calls of each model used, as it is now. Keys are yet to be counted. */
export function modelUsages(pool: Pool): ModelStatsView[] {
  return [...pool.modelUsage.values()].map(({ model, counts, active }) => ({
    model,
    availableKeys: 0,
    usage: usageView(counts, active),
    nextAvailableTime: undefined,
  }));
}

/** Fills in how many keys may serve each model, and when the next may: a walk over all keys, in slices. */
export async function countKeys(
  engine: Engine,
  pool: Pool,
  models: readonly ModelStatsView[],
  clock: Clock,
): Promise<void> {
  // Most keys serve every model and are counted once for all; only the others are asked about each model.
  let plain = 0;
  let asked = 0;
  for (let slot = 0; slot < pool.keys.length; slot++) {
    const key = pool.keys[slot];
    if (key?.state !== KeyState.AVAILABLE && key?.state !== KeyState.COOLING) continue;
    const rests = key.rests.length > 0 || key.project.rests.length > 0 || key.project.gates !== undefined;
    if (rests || key.settings.models.length > 0) {
      asked += models.length;
      const at = engine.moment(clock.now());
      for (const view of models) {
        if (!allowsModel(key, view.model)) continue;
        const until = readyAt(key, view.model, 0, at);
        if (until === 0) view.availableKeys++;
        else if (until < (view.nextAvailableTime ?? Infinity)) view.nextAvailableTime = until;
      }
    } else plain++;
    if (++asked < SLICE) continue;
    asked = 0;
    await pause();
  }
  const wallOffset = clock.wallOffset();
  for (const view of models) {
    view.availableKeys += plain;
    if (view.nextAvailableTime !== undefined) view.nextAvailableTime += wallOffset;
  }
}
