import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type Answer, send } from './answer.ts';
import { type Call, parsedJson, readBody, targetOf } from './call.ts';
import { CountBook } from './counts.ts';
import { type ErrorTemplate, recordedError, type Wrapping } from './errors.ts';
import { FileStore } from './file-store.ts';
import { QuotaBook } from './limits.ts';
import { serveLive } from './live.ts';
import type { FakeGeminiOptions } from './options.ts';
import { OwnedStore } from './owned-store.ts';
import { type Plan, plainPlan, planFor } from './plan.ts';
import { behaviourFailed, notFound, refusal, tooLarge } from './refusals.ts';
import { cancelBatch, createBatch, deleteBatch, getBatch, listBatches } from './routes/batches.ts';
import { createCache, deleteCache, getCache, listCaches, updateCache } from './routes/caches.ts';
import { embed } from './routes/embed.ts';
import {
  createStore,
  deleteStore,
  getOperation,
  getStore,
  importFile,
  listStores,
} from './routes/file-search-stores.ts';
import { deleteFile, downloadFile, getFile, listFiles, uploadFile } from './routes/files.ts';
import { countTokens, generate, streamFormat } from './routes/generate.ts';
import { cancelInteraction, createInteraction, deleteInteraction, getInteraction } from './routes/interactions.ts';
import { DEFAULT_MODELS, getModel, listModels } from './routes/models.ts';
import { createTuning, getTuning } from './routes/tunings.ts';
import { KeyBook, ModelBook, type ModelOptions } from './scripts.ts';
import { field } from './text.ts';

/** The SDK may write two slashes. */
const LIVE =
  /^\/+ws\/google\.ai\.generativelanguage\.\w+\.GenerativeService\.BidiGenerate(Content|Music)\w*(?:\?(.*))?$/;
const MAX_BODY_BYTES = 64 * 1024 * 1024;

/** All of the fake's state, and the way of a request through it. */
export class Fake {
  readonly keys = new KeyBook();
  readonly counts: CountBook;
  readonly quotas: QuotaBook;
  readonly files: FileStore;
  /** Caches, batches and the other resources. */
  readonly owned: OwnedStore;
  readonly models: Set<string>;
  readonly maxFileBytes: number;
  baseUrl = '';
  readonly #rules = new ModelBook();
  readonly #options: FakeGeminiOptions;
  readonly #now: () => number;
  readonly #wrapping: Wrapping;
  #responses = 0;

  constructor(options: FakeGeminiOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#wrapping = options.wrapping ?? 'json';
    this.maxFileBytes = options.maxBodyBytes ?? MAX_BODY_BYTES;
    this.counts = new CountBook(options.logSize ?? 10_000);
    this.quotas = new QuotaBook(this.#now);
    this.files = new FileStore(this.#now);
    this.owned = new OwnedStore(this.#now);
    this.models = new Set(options.modelNames ?? DEFAULT_MODELS);
    for (const [apiKey, key] of Object.entries(options.keys ?? {})) this.keys.set(apiKey, key);
    for (const model of options.models ?? []) this.setModel(model);
  }

  setModel(options: ModelOptions): void {
    this.#rules.set(options);
    if (options.model !== undefined) this.models.add(options.model);
  }

  newResponseId = (): string => {
    this.#responses += 1;
    return `fake-response-${this.#responses}`;
  };

  /** A live session over a WebSocket, if it is one. */
  upgrade(request: IncomingMessage, socket: Duplex): void {
    const [, music, query = ''] = LIVE.exec(request.url ?? '') ?? [];
    if (music === undefined) {
      socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n');
      return;
    }
    const apiKey = String(request.headers['x-goog-api-key'] ?? new URLSearchParams(query).get('key') ?? '');
    const project = this.keys.projectOf(apiKey);
    const at = this.#now();
    const counted = this.counts.arrived({ apiKey, project: project ?? '', model: undefined, method: 'live', at });
    serveLive(request, socket, { music: music === 'Music', ended: counted }, (setup) => {
      const plain = plainPlan(this.#wrapping);
      if (project === undefined) return { ...plain, refusal: recordedError('key_invalid_json') };
      const model = String(field(setup, 'model') ?? '').replace(/^models\//, '');
      const asked = { apiKey, project, method: 'live', model, body: setup, at } as const;
      return planFor(asked, this.keys, this.#rules, this.#wrapping);
    });
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const target = targetOf(request.method ?? 'GET', request.url ?? '/');
    // The URL of an upload under way says whose it is, so its key may be left out.
    const uploader = this.files.upload(target.query.get('upload_id') ?? '')?.apiKey;
    const apiKey = String(request.headers['x-goog-api-key'] ?? target.query.get('key') ?? uploader ?? '');
    if (apiKey !== '' && this.#options.acceptUnknownKeys && this.keys.projectOf(apiKey) === undefined)
      this.keys.set(apiKey, {});
    const project = this.keys.projectOf(apiKey);
    const at = this.#now();
    const ended = this.counts.arrived({
      apiKey,
      project: project ?? '',
      model: target.model,
      method: target.method,
      at,
    });
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    // Writing to a client that has just left is no fault of the fake's.
    response.on('error', () => gone.abort());

    let bytes: Buffer | undefined;
    try {
      bytes = await readBody(request, this.maxFileBytes);
    } catch {
      return ended(0, 'clientGone');
    }
    const [answer, plan] = this.#answerTo({ ...target, apiKey, headers: request.headers }, project, bytes, at);
    await send(response, answer, plan, gone.signal, ended);
  }

  #answerTo(
    request: Omit<Call, 'project' | 'bytes' | 'json'>,
    project: string | undefined,
    bytes: Buffer | undefined,
    at: number,
  ): [Answer, Plan] {
    const plain = plainPlan(this.#wrapping);
    if (request.apiKey === '') return [refusal(recordedError('unregistered_caller_no_key')), plain];
    if (project === undefined) return [refusal(recordedError('key_invalid_json')), plain];
    if (bytes === undefined) return [tooLarge(this.maxFileBytes), plain];
    const call: Call = { ...request, project, bytes, json: isUploadPart(request) ? undefined : parsedJson(bytes) };
    let plan: Plan;
    try {
      const { apiKey, method, model, json: body } = call;
      plan = planFor({ apiKey, project, method, model, body, at }, this.keys, this.#rules, this.#wrapping);
    } catch (error) {
      // Only a behaviour that is a function gets here: the others were checked when they were set.
      return [behaviourFailed(error), plain];
    }
    return [plan.refusal === undefined ? this.#route(call, plan) : scripted(plan.refusal, call), plan];
  }

  #route(call: Call, plan: Plan): Answer {
    switch (call.method) {
      case 'models.list':
        return listModels(call, this.models);
      case 'models.get':
        return getModel(call, this.models);
      case 'generateContent':
      case 'streamGenerateContent':
        return generate(call, plan, this);
      case 'countTokens':
        return countTokens(call, this);
      case 'files.upload':
        return uploadFile(call, this);
      case 'files.list':
        return listFiles(call, this);
      case 'files.get':
        return getFile(call, this);
      case 'files.delete':
        return deleteFile(call, this);
      case 'files.download':
        return downloadFile(call, this);
      case 'embedContent':
        return embed(call, this);
      case 'caches.create':
        return createCache(call, this);
      case 'caches.list':
        return listCaches(call, this);
      case 'caches.get':
        return getCache(call, this);
      case 'caches.update':
        return updateCache(call, this);
      case 'caches.delete':
        return deleteCache(call, this);
      case 'batches.create':
        return createBatch(call, this);
      case 'batches.list':
        return listBatches(call, this);
      case 'batches.get':
        return getBatch(call, this);
      case 'batches.cancel':
        return cancelBatch(call, this);
      case 'batches.delete':
        return deleteBatch(call, this);
      case 'fileSearchStores.create':
        return createStore(call, this);
      case 'fileSearchStores.list':
        return listStores(call, this);
      case 'fileSearchStores.get':
        return getStore(call, this);
      case 'fileSearchStores.delete':
        return deleteStore(call, this);
      case 'fileSearchStores.importFile':
        return importFile(call, this);
      case 'operations.get':
        return getOperation(call, this);
      case 'tunings.create':
        return createTuning(call, this);
      case 'tunings.get':
        return getTuning(call, this);
      case 'interactions.create':
        return createInteraction(call, plan, this);
      case 'interactions.get':
        return getInteraction(call, this);
      case 'interactions.cancel':
        return cancelInteraction(call, this);
      case 'interactions.delete':
        return deleteInteraction(call, this);
      case 'live':
      case 'other':
        return notFound();
    }
  }
}

/** Bytes of a file, which are not to be read as JSON. */
function isUploadPart({ query }: Pick<Call, 'query'>): boolean {
  return query.has('upload_id');
}

/** A behaviour's own answer. One with status 200, such as a blocked prompt, comes as a stream where a stream was asked for. */
function scripted(error: ErrorTemplate, call: Call): Answer {
  if (error.status !== 200 || call.method !== 'streamGenerateContent') return refusal(error);
  return { kind: 'stream', format: streamFormat(call), chunks: [error.body] };
}
