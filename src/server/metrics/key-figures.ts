import { FAULT_DOMAINS } from '../../engine/fault-domain.ts';
import { KeyState, KeyStateSchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Store } from '../../store/store.ts';
import type { Tell } from './figures.ts';

/** Keys that have series of their own, the first by key id: a store may hold a million. */
export const MAX_KEYS = 10_000;

/** Figures of single keys, and of how many keys there are none. */
export async function tellKeys(tell: Tell, store: Store): Promise<void> {
  const { keys, total } = await store.keyFigures(MAX_KEYS);
  for (const { keyId, pool, project, state, activeLeases, faults } of keys) {
    const labels = { pool, project, key_id: keyId };
    tell('keyUp', state === KeyState.AVAILABLE ? 1 : 0, {
      ...labels,
      state: KeyStateSchema.value[state]!.localName.toLowerCase(),
    });
    tell('keyLeases', activeLeases, labels);
    if (faults === undefined) continue;
    for (const domain of FAULT_DOMAINS) tell('keyErrors', faults[domain], { ...labels, domain });
  }
  tell('keysUntold', total - keys.length, {});
}
