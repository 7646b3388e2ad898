import { expect, test } from 'vitest';
import { ResourceOrigins } from '../../../src/client/genai/resource-origins.ts';
import { KeyState } from '../../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { apiKeys } from '../../support/orders.ts';
import { bench, MODEL } from './bench.ts';

const KEYS = apiKeys(20);
/** Five projects of two keys, or as said. */
function projects(count: number, each = 2) {
  return Object.fromEntries(
    KEYS.slice(0, count * each).map((key, at) => [key, { project: `3000000000${10 + (at % count)}` }]),
  );
}
const words = () => new Blob(['words'], { type: 'text/plain' });

function about(uri: string) {
  return { model: MODEL, contents: [{ role: 'user', parts: [{ text: 'Sum it up' }, { fileData: { fileUri: uri } }] }] };
}

test('what names a file goes to its project, with any of its keys', async () => {
  const { ai, fake } = await bench(projects(5));
  const file = await ai.files.upload({ file: words() });
  const { project } = fake.counts.log[0]!;
  for (let call = 0; call < 6; call++) await ai.models.generateContent(about(file.uri!));
  await ai.files.get({ name: file.name! });
  await ai.files.delete({ name: file.name! });
  expect(new Set(fake.counts.log.map((entry) => entry.project))).toEqual(new Set([project]));
  expect(Object.keys(fake.counts.byKey)).toHaveLength(2);
  expect(fake.counts.byStatus).toEqual({ 200: 10 });
});

test('so does what names a cache, a batch, a tuned model, a store and its operations, or the interaction before', async () => {
  const { ai, fake } = await bench(projects(5));
  const wentTo = (): string => fake.counts.log.at(-1)!.project;
  const cache = await ai.caches.create({ model: MODEL, config: { contents: 'long' } });
  const ofCache = wentTo();
  await ai.models.generateContent({ model: MODEL, contents: 'x', config: { cachedContent: cache.name! } });
  expect(wentTo()).toBe(ofCache);
  const batch = await ai.batches.create({ model: MODEL, src: [{ contents: 'one' }] });
  const ofBatch = wentTo();
  await ai.batches.get({ name: batch.name! });
  expect(wentTo()).toBe(ofBatch);
  const tuned = await ai.tunings.tune({ baseModel: `models/${MODEL}`, trainingDataset: { examples: [] } });
  const ofTuned = wentTo();
  await ai.tunings.get({ name: tuned.name! });
  expect(wentTo()).toBe(ofTuned);
  const store = await ai.fileSearchStores.create({});
  const ofStore = wentTo();
  const operation = await ai.fileSearchStores.uploadToFileSearchStore({
    fileSearchStoreName: store.name!,
    file: words(),
  });
  expect(wentTo()).toBe(ofStore);
  expect(operation.name).toContain(store.name);
  const first = await ai.interactions.create({ model: MODEL, input: 'one' });
  const ofInteraction = wentTo();
  await ai.interactions.create({ model: MODEL, input: 'two', previous_interaction_id: first.id! });
  expect(wentTo()).toBe(ofInteraction);
  const stream = await ai.interactions.create({ model: MODEL, input: 'three', stream: true });
  const events = [];
  for await (const event of stream) events.push(event);
  const ofStream = wentTo();
  const { interaction } = events[0] as { interaction: { id: string } };
  await ai.interactions.get(interaction.id);
  expect(wentTo()).toBe(ofStream);
  expect(Object.keys(fake.counts.byStatus)).toEqual(['200']);
});

test('every part of an upload goes to the project where it began', async () => {
  const { ai, fake } = await bench(projects(5, 1));
  for (let upload = 0; upload < 10; upload++)
    await ai.files.upload({ file: new Blob(['x'.repeat(9 * 1024 * 1024)], { type: 'text/plain' }) });
  expect(fake.counts.byStatus).toEqual({ 200: 30 });
});

test('a part of an upload that fails is sent again in the same project', async () => {
  const { ai, fake } = await bench(projects(5, 1));
  for (const key of KEYS.slice(0, 5))
    fake.setKey(key, { behaviour: ({ body }) => (body === undefined && once(key) ? 'overloaded' : 'healthy') });
  const seen = new Set<string>();
  const once = (key: string): boolean => !seen.has(key) && seen.add(key).size > 0;
  const file = await ai.files.upload({ file: words() });
  expect(file.state).toBe('ACTIVE');
  expect(new Set(fake.counts.log.map((entry) => entry.project)).size).toBe(1);
});

test('a file that another process made is found, and then known', async () => {
  const made = await bench(projects(5, 1));
  const { uri } = await made.ai.files.upload({ file: words() });
  const owner = made.fake.counts.log[0]!.project;
  const other = made.another();
  made.fake.reset();
  expect((await other.models.generateContent(about(uri!))).text).toContain('Sum it up');
  const { log } = made.fake.counts;
  expect(log.at(-1)).toMatchObject({ project: owner, status: 200 });
  expect(new Set(log.map((entry) => entry.project)).size).toBe(log.length);
  made.fake.reset();
  for (let call = 0; call < 5; call++) await other.models.generateContent(about(uri!));
  expect(made.fake.counts.byStatus).toEqual({ 200: 5 });
});

test('the search blames no key, and costs none of the tries', async () => {
  const made = await bench(projects(8, 1), { settings: { maxRetries: 0 } });
  const { uri } = await made.ai.files.upload({ file: words() });
  // Whichever is asked first, the owner is found.
  for (let other = 0; other < 8; other++) await made.another().models.generateContent(about(uri!));
  expect(Object.keys(await made.failures())).toEqual(['RESOURCE_MISMATCH']);
  const { keys } = await made.balancer.keyBalancer.getStats({ pools: ['default'], includeKeys: true });
  expect(
    keys.every((key) => key.state === KeyState.AVAILABLE && key.effectiveWeight === 1 && key.cooldowns.length === 0),
  ).toBe(true);
  expect(made.events.filter((event) => event.type === 'retry').every(({ search }) => search)).toBe(true);
});

test.each([
  [undefined, 8],
  [3, 3],
  [1, 1],
])('what is nowhere is looked for in no more projects than said: %s', async (maxProjects, tries) => {
  const { ai, fake } = await bench(projects(10, 2), { settings: maxProjects === undefined ? {} : { maxProjects } });
  await expect(ai.files.get({ name: 'files/nowhere' })).rejects.toMatchObject({
    status: 403,
    attempts: { length: tries },
  });
  expect(fake.counts.total).toBe(tries);
  expect(new Set(fake.counts.log.map(({ project }) => project)).size).toBe(tries);
});

test('a batch of another process is found by its 404', async () => {
  const made = await bench(projects(5, 1));
  const { name } = await made.ai.batches.create({ model: MODEL, src: [{ contents: 'one' }] });
  expect((await made.another().batches.get({ name: name! })).name).toBe(name);
});

test('a model that is not there is not looked for elsewhere because a file is named, too', async () => {
  const { another, fake } = await bench(projects(5, 1));
  const request = { ...about('files/of-another-process'), model: 'gemini-none' };
  await expect(another().models.generateContent(request)).rejects.toMatchObject({ status: 404 });
  expect(fake.counts.total).toBe(1);
});

test('what was made in a project that has another name now is looked for', async () => {
  const { ai, fake, origins } = await bench(projects(3, 1));
  const { uri, name } = await ai.files.upload({ file: words() });
  origins.remember([name!], { project: '399999999999', keyId: 'key-gone' });
  expect((await ai.models.generateContent(about(uri!))).text).toContain('Sum it up');
  expect(origins.of([name!])?.project).toBe(fake.counts.log[0]!.project);
});

test('where the project of a key is not known, its files go to that key', async () => {
  const { ai, fake } = await bench(Object.fromEntries(KEYS.slice(0, 4).map((key) => [key, {}])));
  const file = await ai.files.upload({ file: words() });
  for (let call = 0; call < 4; call++) await ai.models.generateContent(about(file.uri!));
  expect(Object.keys(fake.counts.byKey)).toHaveLength(1);
  expect(fake.counts.byStatus).toEqual({ 200: 6 });
});

test('the turns of a chat go with one key, and chats are spread over all', async () => {
  const { ai, fake } = await bench(projects(5, 1));
  const chats = Array.from({ length: 3 }, () => ai.chats.create({ model: MODEL }));
  for (const turn of ['one', 'two', 'three']) for (const chat of chats) await chat.sendMessage({ message: turn });
  // By turns, nine messages would go round all five.
  expect(Object.values(fake.counts.byKey)).toEqual([3, 3, 3]);
  for (const chat of chats) expect(chat.getHistory()).toHaveLength(6);
});

test('a chat goes on with another key where its own is limited', async () => {
  const { ai, fake } = await bench(projects(2, 1));
  const chat = ai.chats.create({ model: MODEL });
  await chat.sendMessage({ message: 'one' });
  fake.setKey(fake.counts.log[0]!.apiKey, { behaviour: { minuteLimit: 1 } });
  for (const message of ['two', 'three', 'four']) await chat.sendMessage({ message });
  expect(chat.getHistory()).toHaveLength(8);
  expect(Object.keys(fake.counts.byKey)).toHaveLength(2);
});

test('the pages of a list are those of one project', async () => {
  const { ai, fake } = await bench(projects(5, 1));
  for (let upload = 0; upload < 40; upload++) await ai.files.upload({ file: words() });
  fake.reset();
  const names = new Set<string>();
  for await (const { name } of await ai.files.list({ config: { pageSize: 3 } })) names.add(name!);
  expect(names.size).toBe(8);
  expect(Object.keys(fake.counts.byKey)).toHaveLength(1);
});

test('no more than so many resources are remembered', () => {
  const origins = new ResourceOrigins(100);
  for (let at = 0; at < 1_000; at++) origins.remember([`files/${at}`], { project: 'p', keyId: 'k' });
  expect(origins.size).toBe(100);
  expect(origins.of(['files/0'])).toBeUndefined();
  expect(origins.of(['files/0', 'files/999'])).toEqual({ project: 'p', keyId: 'k' });
});
