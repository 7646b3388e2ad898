import type { Answer } from '../answer.ts';
import type { Call } from '../call.ts';
import type { FileStore } from '../file-store.ts';
import type { OwnedStore } from '../owned-store.ts';
import { page } from '../page.ts';
import { fileRefused, modelNotFound, notFound } from '../refusals.ts';
import { expectedAnswer, field, list, promptOf } from '../text.ts';

interface World {
  models: ReadonlySet<string>;
  files: FileStore;
  owned: OwnedStore;
}

/** A batch job, which is done at once where its requests are inline; one of a file goes on for good. */
export function createBatch(call: Call, { models, files, owned }: World): Answer {
  if (!models.has(call.model ?? '')) return modelNotFound(call);
  const batch = field(call.json, 'batch');
  const input = field(batch, 'inputConfig');
  const fileName = field(input, 'fileName');
  if (typeof fileName === 'string') {
    const fileId = fileName.replace(/^files\//, '');
    if (files.get(fileId, call.project) === undefined) return fileRefused(fileId);
  }
  const requests = list(field(field(input, 'requests'), 'requests'));
  const inlinedResponses = requests.map((each) => ({
    response: {
      candidates: [
        {
          content: { role: 'model', parts: [{ text: expectedAnswer(promptOf(field(each, 'request'))) }] },
          finishReason: 'STOP',
          index: 0,
        },
      ],
    },
  }));
  const done = typeof fileName !== 'string';
  const resource = owned.put(call.project, {
    name: owned.newName('batches'),
    metadata: {
      '@type': 'type.googleapis.com/google.ai.generativelanguage.v1.GenerateContentBatch',
      model: `models/${call.model}`,
      displayName: field(batch, 'displayName') ?? '',
      state: done ? 'BATCH_STATE_SUCCEEDED' : 'BATCH_STATE_RUNNING',
      createTime: owned.time(),
      updateTime: owned.time(),
      ...(done ? { endTime: owned.time(), output: { inlinedResponses: { inlinedResponses } } } : {}),
    },
    done,
  });
  return { kind: 'json', body: resource };
}

export function listBatches(call: Call, { owned }: World): Answer {
  return page('operations', owned.list('batches', call.project), call.query, 1000);
}

/** Gemini's one answer for a batch of another project and for one that is not there. */
export function getBatch(call: Call, { owned }: World): Answer {
  const batch = owned.get(call.name, call.project);
  return batch === undefined ? notFound() : { kind: 'json', body: batch };
}

export function cancelBatch(call: Call, { owned }: World): Answer {
  const batch = owned.get(call.name, call.project);
  if (batch === undefined) return notFound();
  const metadata = { ...(batch.metadata as object), state: 'BATCH_STATE_CANCELLED', updateTime: owned.time() };
  owned.put(call.project, { ...batch, metadata, done: true });
  return { kind: 'json', body: {} };
}

export function deleteBatch(call: Call, { owned }: World): Answer {
  if (owned.get(call.name, call.project) === undefined) return notFound();
  owned.delete(call.name ?? '');
  return { kind: 'json', body: {} };
}
