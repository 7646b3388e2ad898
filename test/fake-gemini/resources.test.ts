import { connect } from 'node:net';
import { GoogleGenAI } from '@google/genai';
import { expect, onTestFinished, test } from 'vitest';
import { errorNames, expectedAnswer, type FakeGemini, startFakeGemini } from './index.ts';

const KEY = 'AQ.test-key-000001';
const SAME_PROJECT = 'AQ.test-key-000002';
const OTHER_PROJECT = 'AQ.test-key-000003';
const MODEL = 'gemini-2.5-flash';

async function started(): Promise<FakeGemini> {
  const fake = await startFakeGemini({
    keys: { [KEY]: { project: 'p1' }, [SAME_PROJECT]: { project: 'p1' }, [OTHER_PROJECT]: { project: 'p2' } },
  });
  onTestFinished(() => fake.close());
  return fake;
}

function client(fake: FakeGemini, apiKey = KEY): GoogleGenAI {
  return new GoogleGenAI({ apiKey, vertexai: false, httpOptions: { baseUrl: fake.url } });
}

interface Resource {
  kind: string;
  make(ai: GoogleGenAI): Promise<string>;
  use(ai: GoogleGenAI, name: string): Promise<unknown>;
  refusal: { status: number; message: string };
}

const NOT_FOUND = { status: 404, message: 'Requested entity was not found.' };
const RESOURCES: readonly Resource[] = [
  {
    kind: 'a cache',
    make: async (ai) => (await ai.caches.create({ model: MODEL, config: { contents: 'long' } })).name!,
    use: (ai, name) => ai.models.generateContent({ model: MODEL, contents: 'x', config: { cachedContent: name } }),
    refusal: { status: 403, message: 'CachedContent not found (or permission denied)' },
  },
  {
    kind: 'a tuned model',
    make: async (ai) =>
      (await ai.tunings.tune({ baseModel: `models/${MODEL}`, trainingDataset: { examples: [] } })).name!,
    use: (ai, name) => ai.models.generateContent({ model: name, contents: 'x' }),
    refusal: { status: 403, message: 'You do not have permission to access tuned model' },
  },
  {
    kind: 'a batch',
    make: async (ai) => (await ai.batches.create({ model: MODEL, src: [{ contents: 'x' }] })).name!,
    use: (ai, name) => ai.batches.get({ name }),
    refusal: NOT_FOUND,
  },
  {
    kind: 'a file search store',
    make: async (ai) => (await ai.fileSearchStores.create({})).name!,
    use: (ai, name) => ai.fileSearchStores.get({ name }),
    refusal: NOT_FOUND,
  },
  {
    kind: 'a file for a batch',
    make: async (ai) => (await ai.files.upload({ file: new Blob(['{}'], { type: 'application/json' }) })).name!,
    use: (ai, src) => ai.batches.create({ model: MODEL, src }),
    refusal: { status: 403, message: 'You do not have permission to access the File' },
  },
];

test.each(RESOURCES)("$kind is its project's alone", async ({ make, use, refusal }) => {
  const fake = await started();
  const name = await make(client(fake));
  await use(client(fake, SAME_PROJECT), name);
  await expect(use(client(fake, OTHER_PROJECT), name)).rejects.toMatchObject({
    status: refusal.status,
    message: expect.stringContaining(refusal.message),
  });
});

test("an interaction is its project's alone", async () => {
  const fake = await started();
  const { id } = await client(fake).interactions.create({ model: MODEL, input: 'one' });
  const next = { model: MODEL, input: 'two', previous_interaction_id: id! };
  expect((await client(fake, SAME_PROJECT).interactions.create(next)).output_text).toBe(expectedAnswer('two'));
  await expect(client(fake, OTHER_PROJECT).interactions.create(next)).rejects.toMatchObject({ status: 404 });
});

test('a vector follows from its text', async () => {
  const fake = await started();
  const { embeddings } = await client(fake).models.embedContent({ model: MODEL, contents: ['one', 'two', 'one'] });
  expect(embeddings![0]).toEqual(embeddings![2]);
  expect(embeddings![0]).not.toEqual(embeddings![1]);
});

function talk(fake: FakeGemini, apiKey = KEY) {
  const closed = Promise.withResolvers<{ code: number; reason: string }>();
  const texts: string[] = [];
  const over = Promise.withResolvers<void>();
  const connecting = client(fake, apiKey).live.connect({
    model: MODEL,
    callbacks: {
      onmessage: ({ serverContent }) => {
        for (const { text } of serverContent?.modelTurn?.parts ?? []) texts.push(text ?? '');
        if (serverContent?.turnComplete) over.resolve();
      },
      onclose: ({ code, reason }) => closed.resolve({ code, reason }),
    },
  });
  return { connecting, texts, over: over.promise, closed: closed.promise };
}

test.each(['hello', 'x'.repeat(100_000), 'Grüße, 世界'])('a live session answers each turn', async (prompt) => {
  const fake = await started();
  const { connecting, texts, over, closed } = talk(fake);
  const session = await connecting;
  session.sendClientContent({ turns: prompt });
  await over;
  expect(texts.join('')).toBe(expectedAnswer(prompt));
  expect(fake.counts.inFlight).toBe(1);
  session.close();
  await closed;
  await expect
    .poll(() => fake.counts.log.at(-1))
    .toMatchObject({ method: 'live', status: 101, ending: 'whole', project: 'p1' });
});

test('a live session is refused by a close, with the words of the error', async () => {
  const fake = await started();
  await expect(talk(fake, 'AQ.test-key-unknown').connecting).rejects.toThrow('(code 1008): API key not valid.');
  expect(errorNames).toContain('tpm_paid');
  fake.setKey(KEY, { behaviour: { error: 'tpm_paid' } });
  const { connecting, closed } = talk(fake);
  await expect(connecting).rejects.toThrow('(code 1011): You exceeded your current quota');
  expect(Buffer.byteLength((await closed).reason)).toBeLessThanOrEqual(123);
});

test('other paths, and what is no WebSocket, are refused', async () => {
  const fake = await started();
  const answerTo = (head: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(fake.port, '127.0.0.1', () => socket.write(head));
      let text = '';
      socket.on('data', (bytes: Buffer) => {
        text += bytes.toString('latin1');
      });
      socket.on('end', () => resolve(text));
      socket.on('error', reject);
    });
  const upgrade = 'host: fake\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n';
  expect(await answerTo(`GET /ws/other HTTP/1.1\r\n${upgrade}`)).toContain('404');
  const path = '/ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateContent?key=x';
  expect(await answerTo(`GET ${path} HTTP/1.1\r\n${upgrade}`)).toContain('400');
});

test('closing the fake ends its live sessions', async () => {
  const fake = await started();
  const { connecting, closed } = talk(fake);
  await connecting;
  await fake.close();
  expect((await closed).code).toBe(1006);
});
