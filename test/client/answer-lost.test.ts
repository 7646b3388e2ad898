import type { GoogleGenAI } from '@google/genai';
import { describe, expect, test } from 'vitest';
import type { FakeMethod } from '../fake-gemini/index.ts';
import { apiKeys } from '../support/orders.ts';
import { bench, endings, MODEL, WAYS } from './balancers.ts';

const [ONE, TWO] = apiKeys(2) as [string, string];
const input = 'hello';
/** Answers whose connection breaks, after their headers. */
const CUT = { cut: 'midStream' } as const;

type Call = (ai: GoogleGenAI) => Promise<unknown>;

const CREATING: readonly { what: FakeMethod; method: string; call: Call }[] = [
  {
    what: 'batches.create',
    method: 'batchGenerateContent',
    call: (ai) => ai.batches.create({ model: MODEL, src: [{ contents: input }] }),
  },
  {
    what: 'tunings.create',
    method: 'tunedModels.create',
    call: (ai) =>
      ai.tunings.tune({
        baseModel: MODEL,
        trainingDataset: { examples: [{ textInput: '1', output: '2' }] },
        config: { epochCount: 1 },
      }),
  },
  {
    what: 'caches.create',
    method: 'cachedContents.create',
    call: (ai) => ai.caches.create({ model: MODEL, config: { contents: input } }),
  },
  { what: 'fileSearchStores.create', method: 'fileSearchStores.create', call: (ai) => ai.fileSearchStores.create({}) },
  {
    what: 'interactions.create',
    method: 'interactions.create',
    call: (ai) => ai.interactions.create({ model: MODEL, input }),
  },
  {
    what: 'interactions.create',
    method: 'interactions.create',
    call: async (ai) => {
      for await (const _ of await ai.interactions.create({ model: MODEL, input, stream: true })) {
        // Until it breaks.
      }
    },
  },
];
const REPEATED: readonly { what: FakeMethod; call: Call }[] = [
  { what: 'generateContent', call: (ai) => ai.models.generateContent({ model: MODEL, contents: input }) },
  { what: 'countTokens', call: (ai) => ai.models.countTokens({ model: MODEL, contents: input }) },
  { what: 'embedContent', call: (ai) => ai.models.embedContent({ model: MODEL, contents: input }) },
];

async function thrownBy(promise: Promise<unknown>): Promise<Error & { attempts?: unknown[] }> {
  return promise.then(
    () => {
      throw new Error('it did not reject');
    },
    (error: Error) => error,
  );
}

/** The error, or the one that it is around: the SDK wraps what a stream of interactions ends with. */
function bare(error: Error): unknown {
  return error.name === 'KeyBalancerError' ? error : error.cause;
}

describe.each(WAYS)('an answer that Gemini began and did not end, $way,', ({ place }) => {
  test.each(CREATING)('of $what is not asked for again, and says that what it makes may be there', async (each) => {
    const { what: on, method, call } = each;
    const keys = { [ONE]: { behaviour: { ...CUT, on: [on] } }, [TWO]: {} };
    const { fake, wrapper } = await bench(await place(), keys);
    const lost = {
      code: 'UNKNOWN',
      reason: 'ANSWER_LOST',
      metadata: { method },
      message: expect.stringContaining(`Gemini took ${method}, and its answer broke off`),
    };
    const error = await thrownBy(call(wrapper.genai()));
    expect(bare(error)).toMatchObject({ ...lost, attempts: [{ errorClass: 'NETWORK' }] });
    expect(fake.counts.total).toBe(1);
    fake.setKey(TWO, { behaviour: { ...CUT, on: [on] } });
    const thrown = await thrownBy(wrapper.executeWithRetry(call));
    expect(bare(thrown)).toMatchObject(lost);
    expect(thrown).toMatchObject({ attempts: [{ errorClass: 'NETWORK' }] });
    expect(fake.counts.total).toBe(2);
    expect(await endings(wrapper)).toEqual({ acquired: 2, failed: 2 });
  });

  test.each(REPEATED)('of $what is asked for again with another key', async ({ what, call }) => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: {}, [TWO]: {} }, { retryDelay: 1 });
    for (const run of [() => call(wrapper.genai()), () => wrapper.executeWithRetry(call)]) {
      for (const key of [ONE, TWO]) fake.setKey(key, { behaviour: { ...CUT, on: [what] }, times: 1 });
      await run();
    }
    expect(fake.counts.total).toBe(6);
    expect(await endings(wrapper)).toEqual({ acquired: 6, succeeded: 2, failed: 4 });
  });

  test('is lost as well where it came whole and its message did not', async () => {
    let requests = 0;
    const fetch = async (): Promise<Response> => {
      requests++;
      return new Response('{"name": "batches/1', { headers: { 'content-type': 'application/json' } });
    };
    const genai = { httpOptions: { fetch: fetch as never } };
    const { wrapper } = await bench(await place(), { [ONE]: {}, [TWO]: {} }, { genai });
    const { call } = CREATING[0]!;
    for (const run of [() => call(wrapper.genai()), () => wrapper.executeWithRetry(call)]) {
      expect(await thrownBy(run())).toMatchObject({ reason: 'ANSWER_LOST', attempts: [{ errorClass: 'NETWORK' }] });
    }
    expect(requests).toBe(2);
  });

  test('is an abort where that was wanted, and not asked for again where its time was over', async () => {
    let requests = 0;
    let leave = (): void => {};
    const fetch: typeof globalThis.fetch = async (_, init) => {
      requests++;
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(Buffer.from('{"name"'));
          init!.signal!.addEventListener('abort', () => controller.error(init!.signal!.reason));
        },
      });
      leave();
      return new Response(body, { headers: { 'content-type': 'application/json' } });
    };
    const genai = { httpOptions: { fetch: fetch as never } };
    const { wrapper } = await bench(await place(), { [ONE]: {}, [TWO]: {} }, { genai });
    const create = (ai: GoogleGenAI, config: { abortSignal?: AbortSignal; httpOptions?: { timeout: number } }) =>
      ai.batches.create({ model: MODEL, src: [{ contents: input }], config });
    for (const run of [(call: Call) => call(wrapper.genai()), (call: Call) => wrapper.executeWithRetry(call)]) {
      const gone = new AbortController();
      leave = () => gone.abort();
      const aborted = await thrownBy(run((ai) => create(ai, { abortSignal: gone.signal })));
      expect(aborted).toMatchObject({ name: 'AbortError' });
      leave = () => {};
      const late = await thrownBy(run((ai) => create(ai, { httpOptions: { timeout: 2_000 } })));
      expect(late).toMatchObject({ name: 'AbortError', attempts: [{ errorClass: 'TIMEOUT' }] });
    }
    expect(requests).toBe(4);
    expect(await endings(wrapper)).toEqual({ acquired: 4, failed: 4 });
  });
});
