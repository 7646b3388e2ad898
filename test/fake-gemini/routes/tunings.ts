import type { Answer } from '../answer.ts';
import type { Call } from '../call.ts';
import type { OwnedStore } from '../owned-store.ts';
import { modelNotFound, tunedModelRefused } from '../refusals.ts';
import { field } from '../text.ts';

interface World {
  models: ReadonlySet<string>;
  owned: OwnedStore;
}

/** Begins to tune; the answer is the operation, and the model is ready when it is asked for. */
export function createTuning(call: Call, { models, owned }: World): Answer {
  const base = String(field(call.json, 'baseModel') ?? '');
  const model = base.replace(/^models\//, '');
  if (!models.has(model)) return modelNotFound({ ...call, model });
  const { name } = owned.put(call.project, {
    name: owned.newName('tunedModels'),
    baseModel: base,
    state: 'ACTIVE',
    createTime: owned.time(),
    updateTime: owned.time(),
    tuningTask: { startTime: owned.time(), completeTime: owned.time() },
  });
  const operation = { name: `${name}/operations/fake`, metadata: { tunedModel: name } };
  owned.put(call.project, { ...operation, done: true });
  return { kind: 'json', body: operation };
}

export function getTuning(call: Call, { owned }: World): Answer {
  const tuned = owned.get(call.name, call.project);
  return tuned === undefined ? tunedModelRefused(call.name ?? '') : { kind: 'json', body: tuned };
}
