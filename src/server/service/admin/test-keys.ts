import { create } from '@bufbuild/protobuf';
import { BalancerError } from '../../../engine/errors.ts';
import {
  ProviderErrorSchema,
  type TestKeysRequest,
  type TestKeysResponse,
} from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { KeyTestView, Store } from '../../../store/store.ts';
import * as fields from '../fields.ts';
import type { ServiceContext } from '../service-context.ts';
import type { CallContext } from '../service-functions.ts';
import { durationMessage } from '../time-messages.ts';
import { Wakeup } from '../wakeup.ts';
import { keyId } from './manage-keys.ts';

const MAX_KEY_IDS = 10_000;
const PARALLELISM = 4;
const MAX_PARALLELISM = 32;
const MAX_MODELS_PAGE_SIZE = 1000;
const TIMEOUT_MS = 10_000;
const SHORTEST_TIMEOUT_MS = 100;
const LONGEST_TIMEOUT_MS = 60_000;
/** Keys of a pool that are listed at a time. */
const PAGE = 500;
/** Keys that are looked up between two turns of the event loop. */
const SLICE = 50;

/**
 * Asks Gemini about each key, and tells each answer as it comes. A test is begun only when the result of an earlier one was
 * taken, so that a slow reader slows the tests and nothing piles up. A key that is deleted meanwhile is left out.
 */
export async function* testKeys(
  context: ServiceContext,
  request: TestKeysRequest,
  call: CallContext,
): AsyncGenerator<TestKeysResponse> {
  const options = testOptions(request);
  const ids = fields.list('key_ids', request.keyIds, 0, MAX_KEY_IDS);
  const pool = fields.poolName(request.pool);
  if (call.signal.aborted) return;
  if (context.draining.aborted) throw draining();
  const queue =
    ids.length === 0
      ? await poolQueue(context.store, pool)
      : await namedQueue(context.store, ids, request.pool === '' ? undefined : pool);
  yield* new KeyTests(context, call.signal, queue, options).results();
}

interface TestOptions {
  /** "": the models are listed. */
  model: string;
  modelsPageSize: number;
  parallelism: number;
  timeoutMs: number;
  apply: boolean;
}

function testOptions(request: TestKeysRequest): TestOptions {
  const { parallelism, modelsPageSize, timeout, apply } = request;
  return {
    model: fields.model('model', request.model),
    modelsPageSize:
      modelsPageSize === 0 ? 1 : fields.integer('models_page_size', modelsPageSize, 1, MAX_MODELS_PAGE_SIZE),
    parallelism: parallelism === 0 ? PARALLELISM : fields.integer('parallelism', parallelism, 1, MAX_PARALLELISM),
    timeoutMs: fields.durationWithin('timeout', timeout, SHORTEST_TIMEOUT_MS, LONGEST_TIMEOUT_MS) ?? TIMEOUT_MS,
    apply,
  };
}

/** Keys to be tested, in their order. */
interface KeyQueue {
  ids: AsyncIterator<string, void>;
  /** How many there are in all, as far as is known: a pool changes while its keys are tested. */
  total(): number;
}

/** Keys that were named, each once. An unknown one is refused before any is tested. */
async function namedQueue(store: Store, ids: readonly string[], pool: string | undefined): Promise<KeyQueue> {
  const found = new Set<string>();
  for (const [index, id] of ids.entries()) {
    const field = `key_ids[${index}]`;
    const key = await store.getKey(keyId(field, id));
    if (pool !== undefined && key.pool !== pool) {
      throw fields.refused(field, `${id} of pool ${key.pool}`, `keys of pool ${pool}, or no pool beside key_ids`);
    }
    found.add(key.keyId);
    if (index % SLICE === SLICE - 1) await new Promise((resolve) => setImmediate(resolve));
  }
  async function* each(): AsyncGenerator<string, void> {
    yield* found;
  }
  return { ids: each(), total: () => found.size };
}

/** Keys of the pool, read page by page, in order of age: no more than it has now, so that it ends while others add keys. */
async function poolQueue(store: Store, pool: string): Promise<KeyQueue> {
  const filters = { pool, states: [], project: '', source: '', labels: {}, limit: PAGE };
  let page = await store.listKeys({ ...filters, after: '' });
  const atStart = page.totalSize;
  let listed = 0;
  // On the last page it shows how many were deleted before they were listed.
  const total = (): number => (page.next === '' ? Math.min(atStart, listed + page.items.length) : atStart);
  async function* each(): AsyncGenerator<string, void> {
    for (;;) {
      for (const { keyId } of page.items.slice(0, atStart - listed)) yield keyId;
      if (page.next === '' || listed + page.items.length >= atStart) return;
      listed += page.items.length;
      page = await store.listKeys({ ...filters, after: page.next });
    }
  }
  return { ids: each(), total };
}

/** The tests of one call, some at a time. */
class KeyTests {
  readonly #context: ServiceContext;
  readonly #signal: AbortSignal;
  readonly #queue: KeyQueue;
  readonly #options: TestOptions;
  readonly #wakeup = new Wakeup();
  /** Ends the tests that run. */
  readonly #stop = new AbortController();
  /** Results that were not taken yet: together with what runs, no more than the parallelism. */
  readonly #ended: (KeyTestView | 'gone')[] = [];
  #running = 0;
  #done = 0;
  /** Keys that were deleted after they were listed. */
  #gone = 0;
  #failure: { error: unknown } | undefined;

  constructor(context: ServiceContext, signal: AbortSignal, queue: KeyQueue, options: TestOptions) {
    this.#context = context;
    this.#signal = signal;
    this.#queue = queue;
    this.#options = options;
  }

  async *results(): AsyncGenerator<TestKeysResponse> {
    const { draining: stopping } = this.#context;
    const stop = (): void => {
      this.#stop.abort();
      this.#wakeup.wake();
    };
    this.#signal.addEventListener('abort', stop, { once: true });
    stopping.addEventListener('abort', stop, { once: true });
    try {
      let more = true;
      for (;;) {
        while (more && !this.#stopped && this.#running + this.#ended.length < this.#options.parallelism) {
          const next = await this.#queue.ids.next();
          if (next.done) more = false;
          else if (!this.#stopped) void this.#test(next.value);
        }
        if (this.#signal.aborted) return;
        if (stopping.aborted) throw draining();
        if (this.#failure !== undefined) throw this.#failure.error;
        const result = this.#ended.shift();
        if (result === 'gone') this.#gone++;
        else if (result !== undefined) yield this.#response(result);
        else if (this.#running > 0) await this.#wakeup.sleep();
        else if (!more) return;
      }
    } finally {
      this.#signal.removeEventListener('abort', stop);
      stopping.removeEventListener('abort', stop);
      // The reader may have left in the middle.
      stop();
    }
  }

  get #stopped(): boolean {
    return this.#stop.signal.aborted || this.#signal.aborted || this.#context.draining.aborted;
  }

  async #test(id: string): Promise<void> {
    const { model, modelsPageSize, timeoutMs, apply } = this.#options;
    this.#running++;
    try {
      const order = { keyId: id, model, modelsPageSize, timeoutMs, apply, signal: this.#stop.signal };
      this.#ended.push(await this.#context.store.testKey(order));
    } catch (error) {
      if (error instanceof BalancerError && error.reason === 'KEY_NOT_FOUND') this.#ended.push('gone');
      else this.#failure ??= { error };
    }
    this.#running--;
    this.#wakeup.wake();
  }

  #response({ keyId, ok, errorClass, error, latencyMs }: KeyTestView): TestKeysResponse {
    this.#done++;
    return {
      $typeName: 'keybalancer.v1.TestKeysResponse',
      keyId,
      ok,
      errorClass,
      ...(error && { error: create(ProviderErrorSchema, error) }),
      latency: durationMessage(latencyMs),
      done: this.#done,
      total: this.#queue.total() - this.#gone,
    };
  }
}

function draining(): BalancerError {
  return new BalancerError('DRAINING', 'this server is shutting down; not all keys were tested');
}
