import type { IncomingMessage } from 'node:http';
import type { FakeMethod } from './behaviour.ts';

/** What a URL and HTTP method ask for. */
export interface Target {
  method: FakeMethod;
  /** `v1`, `v1beta` or another; errors name it. */
  version: string;
  model: string | undefined;
  fileId: string | undefined;
  /** Of another resource, such as `cachedContents/abc` or `fileSearchStores/abc/operations/def`. */
  name: string | undefined;
  query: URLSearchParams;
}

/** A request whose key is known, as the routes get it. */
export interface Call extends Target {
  apiKey: string;
  project: string;
  headers: IncomingMessage['headers'];
  bytes: Buffer;
  /** The body as JSON; undefined when it is none. */
  json: unknown;
}

/** Reads any API version. `other` is what the fake does not know. */
export function targetOf(httpMethod: string, url: string): Target {
  const { pathname, searchParams: query } = URL.parse(url, 'http://fake') ?? new URL('http://fake');
  const [, upload, version = '', path = ''] = /^\/(upload\/)?(v\d\w*)\/(.*)$/.exec(pathname) ?? [];
  const target: Target = { method: 'other', version, model: undefined, fileId: undefined, name: undefined, query };
  const verb = (method: FakeMethod, more: Partial<Target> = {}): Target => ({ ...target, method, ...more });

  if (upload !== undefined) {
    const [, store] = /^(fileSearchStores\/[^/:]+):uploadToFileSearchStore$/.exec(path) ?? [];
    return httpMethod === 'POST' && (path === 'files' || store !== undefined)
      ? verb('files.upload', { name: store })
      : target;
  }
  const operation = /^[^:]+\/operations\/[^/:]+$/.test(path);
  if (operation) return httpMethod === 'GET' ? verb('operations.get', { name: decoded(path) }) : target;
  const [, collection = '', id, action] = /^([A-Za-z]+)(?:\/([^/:]+))?(?:[:/](\w+))?$/.exec(path) ?? [];
  const name = id === undefined ? undefined : decoded(id);
  const what = `${httpMethod} ${collection}${name === undefined ? '' : '/id'}${action === undefined ? '' : `:${action}`}`;
  switch (what) {
    case 'GET files':
      return verb('files.list');
    case 'GET files/id':
      return verb('files.get', { fileId: name });
    case 'DELETE files/id':
      return verb('files.delete', { fileId: name });
    case 'GET files/id:download':
      return verb('files.download', { fileId: name });
    case 'POST tunedModels/id:generateContent':
      return verb('generateContent', { model: `tunedModels/${name}`, name: `tunedModels/${name}` });
  }
  const ofModel = Object.hasOwn(MODEL_METHODS, what) ? MODEL_METHODS[what] : undefined;
  if (ofModel !== undefined) return verb(ofModel, { model: name });
  const ofResource = Object.hasOwn(RESOURCE_METHODS, what) ? RESOURCE_METHODS[what] : undefined;
  return ofResource === undefined ? target : verb(ofResource, { name: name && `${collection}/${name}` });
}

const MODEL_METHODS: Readonly<Record<string, FakeMethod>> = {
  'GET models': 'models.list',
  'GET models/id': 'models.get',
  'POST models/id:generateContent': 'generateContent',
  'POST models/id:streamGenerateContent': 'streamGenerateContent',
  'POST models/id:countTokens': 'countTokens',
  'POST models/id:embedContent': 'embedContent',
  'POST models/id:batchEmbedContents': 'embedContent',
  'POST models/id:batchGenerateContent': 'batches.create',
  'POST models/id:asyncBatchEmbedContent': 'batches.create',
};

const RESOURCE_METHODS: Readonly<Record<string, FakeMethod>> = {
  'POST cachedContents': 'caches.create',
  'GET cachedContents': 'caches.list',
  'GET cachedContents/id': 'caches.get',
  'PATCH cachedContents/id': 'caches.update',
  'DELETE cachedContents/id': 'caches.delete',
  'GET batches': 'batches.list',
  'GET batches/id': 'batches.get',
  'POST batches/id:cancel': 'batches.cancel',
  'DELETE batches/id': 'batches.delete',
  'POST fileSearchStores': 'fileSearchStores.create',
  'GET fileSearchStores': 'fileSearchStores.list',
  'GET fileSearchStores/id': 'fileSearchStores.get',
  'DELETE fileSearchStores/id': 'fileSearchStores.delete',
  'POST fileSearchStores/id:importFile': 'fileSearchStores.importFile',
  'POST tunedModels': 'tunings.create',
  'GET tunedModels/id': 'tunings.get',
  'POST interactions': 'interactions.create',
  'GET interactions/id': 'interactions.get',
  'POST interactions/id:cancel': 'interactions.cancel',
  'DELETE interactions/id': 'interactions.delete',
};

/** The whole body; undefined when it is larger than `maxBytes`, of which no more than that is kept. Rejects when the client leaves. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size <= maxBytes) parts.push(part);
    // Read on to its end all the same: a client that still sends does not see an early answer.
    else parts.length = 0;
  }
  return size <= maxBytes ? Buffer.concat(parts) : undefined;
}

export function parsedJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
