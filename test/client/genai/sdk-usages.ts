import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type CallableTool,
  type FunctionCall,
  type GoogleGenAI,
  type LiveServerMessage,
  Modality,
  UploadToFileSearchStoreOperation,
} from '@google/genai';
import { MODEL } from './bench.ts';

/** One way to use the SDK. What it returns is compared, so it has nothing that differs between two calls of the same. */
export interface Usage {
  name: string;
  /**
   * Whether it needs resources that were made apart to be in one project: a list shows those of one, and a store takes only files of its
   * own. With several projects in a pool, that is luck.
   */
  oneProject?: true;
  run(ai: GoogleGenAI, dir: string): Promise<unknown>;
}

const weather: CallableTool = {
  async tool() {
    return { functionDeclarations: [{ name: 'weather', description: 'Tells the weather.' }] };
  },
  async callTool(calls: FunctionCall[]) {
    return calls.map(({ name }) => ({ functionResponse: { name: name!, response: { sky: 'clear' } } }));
  },
};

const hello = { model: MODEL, contents: 'hello' };

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

async function textsOf(stream: AsyncIterable<{ text?: string | undefined }>): Promise<unknown[]> {
  return (await all(stream)).map(({ text }) => text);
}

/** What a failure shows of itself. */
async function failure(promise: Promise<unknown>): Promise<unknown> {
  try {
    return { resolved: await promise };
  } catch (error) {
    const { name, message, status } = error as Error & { status?: number };
    return { name, message, status };
  }
}

function blob(text: string, type = 'text/plain'): Blob {
  return new Blob([text], { type });
}

async function upload(ai: GoogleGenAI, text = 'some words'): Promise<{ name: string; uri: string }> {
  const { name, uri } = await ai.files.upload({ file: blob(text) });
  return { name: name!, uri: uri! };
}

function aboutFile(uri: string) {
  return [{ role: 'user', parts: [{ text: 'Sum it up' }, { fileData: { fileUri: uri, mimeType: 'text/plain' } }] }];
}

const cached = { model: MODEL, config: { contents: 'a long text', displayName: 'mine', ttl: '60s' } };

/** Says something in a live session, and gives all that came until its turn was over. */
async function talk(ai: GoogleGenAI, texts: string[]): Promise<unknown> {
  const events: string[] = [];
  const messages: LiveServerMessage[] = [];
  let turnOver = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const session = await ai.live.connect({
    model: MODEL,
    config: { responseModalities: [Modality.TEXT] },
    callbacks: {
      onopen: () => events.push('open'),
      onmessage: (message) => {
        events.push('message');
        messages.push(message);
        if (message.serverContent?.turnComplete) turnOver.resolve();
      },
      onerror: () => events.push('error'),
      onclose: ({ code }) => {
        events.push(`close ${code}`);
        closed.resolve();
      },
    },
  });
  for (const text of texts) {
    turnOver = Promise.withResolvers();
    session.sendClientContent({ turns: text });
    await turnOver.promise;
  }
  session.close();
  await closed.promise;
  return { events, messages: messages.map((message) => ({ ...message })) };
}

export const USAGES: readonly Usage[] = [
  { name: 'models.generateContent', run: (ai) => ai.models.generateContent(hello) },
  {
    name: 'models.generateContent with a system instruction, history and settings',
    run: (ai) =>
      ai.models.generateContent({
        model: MODEL,
        contents: [
          { role: 'user', parts: [{ text: 'one' }] },
          { role: 'model', parts: [{ text: 'two' }] },
          { role: 'user', parts: [{ text: 'three' }] },
        ],
        config: { systemInstruction: 'Be short.', temperature: 0, maxOutputTokens: 100 },
      }),
  },
  {
    name: 'models.generateContent with an image in the request',
    run: (ai) =>
      ai.models.generateContent({
        model: MODEL,
        contents: ['What is it?', { inlineData: { mimeType: 'image/png', data: 'AAAA'.repeat(1000) } }],
      }),
  },
  {
    name: 'models.generateContent that answers with an image',
    run: async (ai) => {
      const config = { responseModalities: [Modality.TEXT, Modality.IMAGE] };
      return (await ai.models.generateContent({ ...hello, config })).candidates;
    },
  },
  {
    name: 'models.generateContent with function declarations',
    run: async (ai) => {
      const config = { tools: [{ functionDeclarations: [{ name: 'weather' }] }] };
      return (await ai.models.generateContent({ model: MODEL, contents: 'the weather?', config })).functionCalls;
    },
  },
  {
    name: 'models.generateContent that calls functions by itself',
    run: async (ai) => {
      const response = await ai.models.generateContent({
        model: MODEL,
        contents: 'the weather?',
        config: { tools: [weather] },
      });
      return { text: response.text, history: response.automaticFunctionCallingHistory };
    },
  },
  {
    name: 'models.generateContent with options of its own for HTTP',
    run: async (ai) =>
      (
        await ai.models.generateContent({
          ...hello,
          config: { httpOptions: { timeout: 30_000, headers: { 'x-own': '1' } } },
        })
      ).text,
  },
  {
    name: 'models.generateContent of two prompts at once',
    run: async (ai) => {
      const responses = await Promise.all(
        ['a', 'b'].map((contents) => ai.models.generateContent({ model: MODEL, contents })),
      );
      return responses.map(({ text }) => text);
    },
  },
  {
    name: 'a model that is not there',
    run: (ai) => failure(ai.models.generateContent({ ...hello, model: 'gemini-none' })),
  },
  {
    name: 'a request without contents',
    run: (ai) => failure(ai.models.generateContent({ model: MODEL, contents: [] })),
  },
  { name: 'models.generateContentStream', run: async (ai) => all(await ai.models.generateContentStream(hello)) },
  {
    name: 'models.generateContentStream that is left after a chunk',
    run: async (ai) => {
      for await (const { text } of await ai.models.generateContentStream(hello)) return text;
    },
  },
  {
    name: 'models.generateContentStream that calls functions by itself',
    run: async (ai) =>
      textsOf(
        await ai.models.generateContentStream({ model: MODEL, contents: 'the weather?', config: { tools: [weather] } }),
      ),
  },
  {
    name: 'a stream of a model that is not there',
    run: (ai) => failure(ai.models.generateContentStream({ ...hello, model: 'gemini-none' })),
  },
  { name: 'models.countTokens', run: (ai) => ai.models.countTokens(hello) },
  { name: 'models.embedContent', run: (ai) => ai.models.embedContent({ model: MODEL, contents: ['one', 'two'] }) },
  { name: 'models.list', run: async (ai) => all(await ai.models.list()) },
  { name: 'models.list in pages', run: async (ai) => all(await ai.models.list({ config: { pageSize: 2 } })) },
  { name: 'models.get', run: (ai) => ai.models.get({ model: MODEL }) },
  {
    name: 'models.generateImages, which the SDK has for Vertex alone',
    run: (ai) => failure(ai.models.generateImages({ model: MODEL, prompt: 'a cat' })),
  },
  {
    name: 'chats.sendMessage over three turns',
    run: async (ai) => {
      const chat = ai.chats.create({ model: MODEL });
      for (const message of ['one', 'two', 'three']) await chat.sendMessage({ message });
      return chat.getHistory();
    },
  },
  {
    name: 'chats.sendMessageStream',
    run: async (ai) => {
      const chat = ai.chats.create({ model: MODEL });
      const texts = await textsOf(await chat.sendMessageStream({ message: 'hello' }));
      return { texts, history: chat.getHistory() };
    },
  },
  {
    name: 'a chat with a history and a system instruction',
    run: async (ai) => {
      const history = [
        { role: 'user', parts: [{ text: 'hi' }] },
        { role: 'model', parts: [{ text: 'hi there' }] },
      ];
      const chat = ai.chats.create({ model: MODEL, history, config: { systemInstruction: 'Be kind.' } });
      return [(await chat.sendMessage({ message: 'and now?' })).text, chat.getHistory(true)];
    },
  },
  {
    name: 'a chat that calls functions by itself',
    run: async (ai) => {
      const chat = ai.chats.create({ model: MODEL, config: { tools: [weather] } });
      await chat.sendMessage({ message: 'the weather?' });
      return chat.getHistory();
    },
  },
  {
    name: 'files.upload of a blob',
    run: async (ai) => {
      const { displayName, mimeType, sizeBytes, state } = await ai.files.upload({
        file: blob('words', 'text/markdown'),
        config: { displayName: 'Words' },
      });
      return { displayName, mimeType, sizeBytes, state };
    },
  },
  {
    name: 'files.upload of a path, in several parts',
    run: async (ai, dir) => {
      const path = join(dir, 'large.txt');
      await writeFile(path, 'x'.repeat(17 * 1024 * 1024));
      const { mimeType, sizeBytes, sha256Hash } = await ai.files.upload({ file: path });
      return { mimeType, sizeBytes, sha256Hash };
    },
  },
  {
    name: 'files.get',
    run: async (ai) => {
      const { name } = await upload(ai);
      return (await ai.files.get({ name })).sizeBytes;
    },
  },
  {
    name: 'files.list',
    oneProject: true,
    run: async (ai) => {
      const { name } = await upload(ai);
      return (await all(await ai.files.list())).some((file) => file.name === name);
    },
  },
  {
    name: 'files.delete, and get after it',
    run: async (ai) => {
      const { name } = await ai.files.upload({ file: blob('gone'), config: { name: 'gone' } });
      await ai.files.delete({ name: name! });
      return failure(ai.files.get({ name: name! }));
    },
  },
  {
    name: 'files.download',
    run: async (ai, dir) => {
      const { name } = await upload(ai, 'download me');
      const downloadPath = join(dir, 'downloaded.txt');
      await ai.files.download({ file: name, downloadPath });
      return readFile(downloadPath, 'utf8');
    },
  },
  {
    name: 'a file in a prompt',
    run: async (ai) => {
      const { uri } = await upload(ai);
      return ai.models.generateContent({ model: MODEL, contents: aboutFile(uri) });
    },
  },
  {
    name: 'a file in a chat',
    run: async (ai) => {
      const { uri } = await upload(ai);
      const chat = ai.chats.create({ model: MODEL, history: aboutFile(uri) });
      return (await chat.sendMessage({ message: 'shorter' })).text;
    },
  },
  {
    name: 'caches.create, get, update, list and delete',
    oneProject: true,
    run: async (ai) => {
      const { name, displayName, usageMetadata } = await ai.caches.create(cached);
      const got = await ai.caches.get({ name: name! });
      const updated = await ai.caches.update({ name: name!, config: { ttl: '120s' } });
      const listed = (await all(await ai.caches.list())).map((cache) => cache.displayName);
      await ai.caches.delete({ name: name! });
      return [
        displayName,
        usageMetadata,
        got.model,
        updated.model,
        listed,
        await failure(ai.caches.get({ name: name! })),
      ];
    },
  },
  {
    name: 'a cache in a prompt',
    run: async (ai) => {
      const { name } = await ai.caches.create(cached);
      return ai.models.generateContent({ ...hello, config: { cachedContent: name! } });
    },
  },
  {
    name: 'a stream with a cache',
    run: async (ai) => {
      const { name } = await ai.caches.create(cached);
      return textsOf(await ai.models.generateContentStream({ ...hello, config: { cachedContent: name! } }));
    },
  },
  {
    name: 'batches.create of requests, and get',
    run: async (ai) => {
      const { name } = await ai.batches.create({ model: MODEL, src: [{ contents: 'one' }, { contents: 'two' }] });
      const { state, dest } = await ai.batches.get({ name: name! });
      return { state, dest };
    },
  },
  {
    name: 'batches.create of a file, cancel, list and delete',
    oneProject: true,
    run: async (ai) => {
      const { name: fileName } = await upload(ai, '{}');
      const { name } = await ai.batches.create({ model: MODEL, src: fileName, config: { displayName: 'nightly' } });
      const running = (await ai.batches.get({ name: name! })).state;
      await ai.batches.cancel({ name: name! });
      const listed = (await all(await ai.batches.list())).map(({ displayName, state }) => ({ displayName, state }));
      await ai.batches.delete({ name: name! });
      return [running, listed, await failure(ai.batches.get({ name: name! }))];
    },
  },
  {
    name: 'fileSearchStores.create, get, list, use and delete',
    oneProject: true,
    run: async (ai) => {
      const { name } = await ai.fileSearchStores.create({ config: { displayName: 'papers' } });
      const got = (await ai.fileSearchStores.get({ name: name! })).displayName;
      const listed = (await all(await ai.fileSearchStores.list())).map(({ displayName }) => displayName);
      const tools = [{ fileSearch: { fileSearchStoreNames: [name!] } }];
      const { text } = await ai.models.generateContent({ ...hello, config: { tools } });
      await ai.fileSearchStores.delete({ name: name! });
      return [got, listed, text];
    },
  },
  {
    name: 'fileSearchStores.uploadToFileSearchStore and operations.get',
    run: async (ai) => {
      const { name } = await ai.fileSearchStores.create({});
      const begun = await ai.fileSearchStores.uploadToFileSearchStore({
        fileSearchStoreName: name!,
        file: blob('a paper'),
      });
      const operation = new UploadToFileSearchStoreOperation();
      operation.name = begun.name!;
      return (await ai.operations.get({ operation })).done;
    },
  },
  {
    name: 'fileSearchStores.importFile and operations.get',
    oneProject: true,
    run: async (ai) => {
      const { name } = await ai.fileSearchStores.create({});
      const { name: fileName } = await upload(ai, 'a paper');
      const operation = await ai.fileSearchStores.importFile({ fileSearchStoreName: name!, fileName });
      return (await ai.operations.get({ operation })).done;
    },
  },
  {
    name: 'tunings.tune and get',
    run: async (ai) => {
      const { name } = await ai.tunings.tune({
        baseModel: `models/${MODEL}`,
        trainingDataset: { examples: [{ textInput: 'a', output: 'b' }] },
      });
      const { state, baseModel } = await ai.tunings.get({ name: name! });
      return { state, baseModel };
    },
  },
  {
    name: 'interactions.create',
    run: async (ai) => {
      const { output_text, usage, status } = await ai.interactions.create({ model: MODEL, input: 'hello' });
      return { output_text, usage, status };
    },
  },
  {
    name: 'interactions.create as a stream',
    run: async (ai) => {
      const events = await all(await ai.interactions.create({ model: MODEL, input: 'hello', stream: true }));
      return events.map((event) => (event.event_type === 'step.delta' ? event.delta : event.event_type));
    },
  },
  {
    name: 'interactions that go on from the one before, get and delete',
    run: async (ai) => {
      const first = await ai.interactions.create({ model: MODEL, input: 'one' });
      const second = await ai.interactions.create({
        model: MODEL,
        input: 'two',
        previous_interaction_id: first.id!,
      });
      const got = await ai.interactions.get(second.id!);
      await ai.interactions.delete(second.id!);
      return [second.output_text, got.output_text];
    },
  },
  {
    name: 'an interaction of a model that is not there',
    run: (ai) => failure(ai.interactions.create({ model: 'gemini-none', input: 'hello' })),
  },
  { name: 'live.connect, and two turns', run: (ai) => talk(ai, ['hello', 'and again']) },
  {
    name: 'live.music.connect',
    run: async (ai) => {
      const played = Promise.withResolvers<unknown>();
      const session = await ai.live.music.connect({
        model: 'models/lyria-realtime-exp',
        callbacks: {
          onmessage: ({ serverContent }) => {
            if (serverContent !== undefined) played.resolve(serverContent);
          },
        },
      });
      await session.setWeightedPrompts({ weightedPrompts: [{ text: 'jazz', weight: 1 }] });
      session.play();
      const content = await played.promise;
      session.close();
      return content;
    },
  },
  {
    name: 'tunings.list, which the SDK has for Vertex alone',
    run: (ai) => failure(ai.tunings.list()),
  },
];
