import type { Answer } from '../answer.ts';
import type { Call } from '../call.ts';
import type { OwnedStore } from '../owned-store.ts';
import { page } from '../page.ts';
import { badRequest, cacheRefused, modelNotFound } from '../refusals.ts';
import { field, inputTokens } from '../text.ts';

interface World {
  models: ReadonlySet<string>;
  owned: OwnedStore;
}

const KEPT_MS = 3_600_000;

export function createCache(call: Call, { models, owned }: World): Answer {
  const model = String(field(call.json, 'model') ?? '').replace(/^models\//, '');
  if (!models.has(model)) return modelNotFound({ ...call, model });
  const ttlMs = ttlOf(call.json) ?? KEPT_MS;
  if (Number.isNaN(ttlMs))
    return badRequest("Invalid value at 'cached_content.ttl' (type.googleapis.com/google.protobuf.Duration)");
  const displayName = field(call.json, 'displayName');
  const cache = owned.put(call.project, {
    name: owned.newName('cachedContents'),
    model: `models/${model}`,
    ...(typeof displayName === 'string' ? { displayName } : {}),
    createTime: owned.time(),
    updateTime: owned.time(),
    expireTime: owned.time(ttlMs),
    usageMetadata: { totalTokenCount: inputTokens(call.json) },
  });
  return { kind: 'json', body: cache };
}

export function listCaches(call: Call, { owned }: World): Answer {
  return page('cachedContents', owned.list('cachedContents', call.project), call.query, 1000);
}

export function getCache(call: Call, { owned }: World): Answer {
  const cache = owned.get(call.name, call.project);
  return cache === undefined ? cacheRefused() : { kind: 'json', body: cache };
}

export function updateCache(call: Call, { owned }: World): Answer {
  const cache = owned.get(call.name, call.project);
  if (cache === undefined) return cacheRefused();
  const ttlMs = ttlOf(call.json) ?? KEPT_MS;
  return {
    kind: 'json',
    body: owned.put(call.project, { ...cache, updateTime: owned.time(), expireTime: owned.time(ttlMs) }),
  };
}

export function deleteCache(call: Call, { owned }: World): Answer {
  if (owned.get(call.name, call.project) === undefined) return cacheRefused();
  owned.delete(call.name ?? '');
  return { kind: 'json', body: {} };
}

/** Milliseconds; NaN: it is none. */
function ttlOf(body: unknown): number | undefined {
  const ttl = field(body, 'ttl');
  return ttl === undefined ? undefined : Number(/^(\d+(?:\.\d+)?)s$/.exec(String(ttl))?.[1] ?? Number.NaN) * 1000;
}
