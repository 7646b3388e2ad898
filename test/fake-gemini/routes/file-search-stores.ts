import type { Answer } from '../answer.ts';
import type { Call } from '../call.ts';
import type { FileStore } from '../file-store.ts';
import type { OwnedStore, Resource } from '../owned-store.ts';
import { page } from '../page.ts';
import { fileRefused, notFound } from '../refusals.ts';
import { field } from '../text.ts';

interface World {
  files: FileStore;
  owned: OwnedStore;
}

export function createStore(call: Call, { owned }: World): Answer {
  const displayName = field(call.json, 'displayName');
  const resource = owned.put(call.project, {
    name: owned.newName('fileSearchStores'),
    ...(typeof displayName === 'string' ? { displayName } : {}),
    createTime: owned.time(),
    updateTime: owned.time(),
    activeDocumentsCount: '0',
  });
  return { kind: 'json', body: resource };
}

export function listStores(call: Call, { owned }: World): Answer {
  return page('fileSearchStores', owned.list('fileSearchStores', call.project), call.query, 20);
}

export function getStore(call: Call, { owned }: World): Answer {
  const store = owned.get(call.name, call.project);
  return store === undefined ? notFound() : { kind: 'json', body: store };
}

export function deleteStore(call: Call, { owned }: World): Answer {
  if (owned.get(call.name, call.project) === undefined) return notFound();
  owned.delete(call.name ?? '');
  return { kind: 'json', body: {} };
}

export function importFile(call: Call, { files, owned }: World): Answer {
  if (owned.get(call.name, call.project) === undefined) return notFound();
  const fileId = String(field(call.json, 'fileName') ?? '').replace(/^files\//, '');
  if (files.get(fileId, call.project) === undefined) return fileRefused(fileId);
  return { kind: 'json', body: storeOperation(call.name!, call.project, owned) };
}

/** What ends an import or an upload to a store: an operation that is done when it is asked for. */
export function storeOperation(store: string, project: string, owned: OwnedStore): Resource {
  const name = owned.newName(`${store}/operations`);
  const documentName = `${store}/documents/${name.split('/').at(-1)}`;
  owned.put(project, { name, done: true, response: { parent: store, documentName } });
  return { name };
}

export function getOperation(call: Call, { owned }: World): Answer {
  const operation = owned.get(call.name, call.project);
  return operation === undefined ? notFound() : { kind: 'json', body: operation };
}
