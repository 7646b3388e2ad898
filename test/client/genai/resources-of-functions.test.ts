import type { GoogleGenAI } from '@google/genai';
import { expect, test } from 'vitest';
import type { ClientEvent } from '../../../src/client/events.ts';
import { ResourceOrigins } from '../../../src/client/genai/resource-origins.ts';
import { type CallSettings, leasedCall } from '../../../src/client/leased-call.ts';
import { KeyState } from '../../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { apiKeys } from '../../support/orders.ts';
import { type Bench, bench, MODEL } from './bench.ts';

/** So many projects of two keys each; `known`: the balancer knows whose they are. */
async function projects(count: number, { known = true } = {}) {
  const keys = Object.fromEntries(
    apiKeys(2 * count).map((key, at) => [key, { project: `3000000000${10 + (at % count)}` }]),
  );
  if (known) return functions(await bench(keys));
  const made = await bench(Object.fromEntries(apiKeys(count).map((key) => [key, {}])));
  return functions(made);
}

/** Functions run with leased keys, which share with genai() what is known of resources. */
function functions(made: Bench) {
  const events: ClientEvent[] = [];
  const settings: CallSettings = {
    pool: '',
    model: MODEL,
    affinityKey: '',
    maxRetries: 0,
    retryDelay: 1,
    maxWait: 0,
    signal: undefined,
    deadline: undefined,
    genai: { httpOptions: { baseUrl: made.fake.url } },
  };
  const run = <T>(
    fn: (ai: GoogleGenAI) => Promise<T>,
    { origins = made.origins, maxProjects = 8, ...more }: Partial<CallSettings> & Shared = {},
  ): Promise<T> =>
    leasedCall(made.balancer, { ...settings, ...more }, fn, {
      origins,
      maxProjects,
      notify: (event) => events.push(event),
    });
  return { ...made, run, told: events };
}

interface Shared {
  origins?: ResourceOrigins;
  maxProjects?: number;
}

function about(uri: string) {
  return { model: MODEL, contents: [{ role: 'user', parts: [{ text: 'Sum it up' }, { fileData: { fileUri: uri } }] }] };
}
const upload = (ai: GoogleGenAI) => ai.files.upload({ file: new Blob(['words'], { type: 'text/plain' }) });

test('a function that names a file of genai() is run again in its project at once, and no key is blamed', async () => {
  const { ai, fake, run, told, balancer } = await projects(5);
  const { uri } = await upload(ai);
  const { project } = fake.counts.log[0]!;
  for (let call = 0; call < 5; call++) {
    fake.reset();
    expect((await run((own) => own.models.generateContent(about(uri!)))).text).toContain('Sum it up');
    expect(fake.counts.log.at(-1)).toMatchObject({ project, status: 200 });
    expect(fake.counts.total).toBeLessThanOrEqual(2);
  }
  expect(told.filter(({ type }) => type === 'retry').every((event) => 'search' in event && event.search)).toBe(true);
  const { keys } = await balancer.keyBalancer.getStats({ pools: ['default'], includeKeys: true });
  expect(keys.every(({ state, effectiveWeight }) => state === KeyState.AVAILABLE && effectiveWeight === 1)).toBe(true);
});

test('what a function makes is known to genai() and to functions: a file, a cache, a batch, a tuned model, an interaction', async () => {
  const { ai, fake, run } = await projects(5);
  const makers: readonly [(ai: GoogleGenAI) => Promise<string>, (ai: GoogleGenAI, name: string) => Promise<unknown>][] =
    [
      [async (own) => (await upload(own)).name!, (own, name) => own.files.get({ name })],
      [
        async (own) => (await own.caches.create({ model: MODEL, config: { contents: 'long' } })).name!,
        (own, cachedContent) => own.models.generateContent({ model: MODEL, contents: 'x', config: { cachedContent } }),
      ],
      [
        async (own) => (await own.batches.create({ model: MODEL, src: [{ contents: 'one' }] })).name!,
        (own, name) => own.batches.get({ name }),
      ],
      [
        async (own) =>
          (await own.tunings.tune({ baseModel: `models/${MODEL}`, trainingDataset: { examples: [] } })).name!,
        (own, name) => own.tunings.get({ name }),
      ],
      [
        async (own) => (await own.interactions.create({ model: MODEL, input: 'one' })).id!,
        (own, id) => own.interactions.create({ model: MODEL, input: 'two', previous_interaction_id: id }),
      ],
    ];
  for (const [make, use] of makers) {
    const name = await run(make);
    const { project } = fake.counts.log.at(-1)!;
    fake.reset();
    await use(ai, name);
    expect([name, fake.counts.log.map((entry) => entry.project)]).toEqual([name, [project]]);
    await run((own) => use(own, name));
    expect([name, fake.counts.log.at(-1)]).toEqual([name, expect.objectContaining({ project, status: 200 })]);
    expect(fake.counts.total).toBeLessThanOrEqual(3);
  }
});

test('what another process made is looked for, in no more projects than said, and then known', async () => {
  const { ai, fake, run } = await projects(6);
  const { uri } = await upload(ai);
  const { project } = fake.counts.log[0]!;
  const origins = new ResourceOrigins();
  fake.reset();
  await run((own) => own.models.generateContent(about(uri!)), { origins });
  const asked = fake.counts.log.map((entry) => entry.project);
  expect(asked.at(-1)).toBe(project);
  expect(new Set(asked).size).toBe(asked.length);
  expect(origins.of(['files/none', uri!.slice(uri!.indexOf('files/'))])?.project).toBe(project);
  fake.reset();
  const nowhere = run((own) => own.files.get({ name: 'files/nowhere' }), { origins, maxProjects: 3 });
  await expect(nowhere).rejects.toMatchObject({ status: 403, attempts: { length: 3 } });
  expect(new Set(fake.counts.log.map((entry) => entry.project)).size).toBe(3);
});

test('where projects are not known, the key that has it is found', async () => {
  const { ai, fake, run } = await projects(4, { known: false });
  const { name } = await upload(ai);
  const { apiKey } = fake.counts.log[0]!;
  for (const origins of [new ResourceOrigins(), undefined]) {
    await run((own) => own.files.get({ name: name! }), origins === undefined ? {} : { origins });
    expect(fake.counts.log.at(-1)).toMatchObject({ apiKey, status: 200 });
  }
});

test('what was deleted is not looked for, nor are two files that no key reaches both', async () => {
  const { ai, fake, run } = await projects(3);
  const first = await upload(ai);
  const at = (): string => fake.counts.log.at(-1)!.project;
  const ofFirst = at();
  let second = await upload(ai);
  while (at() === ofFirst) second = await upload(ai);
  fake.reset();
  const both = run(async (own) => {
    await own.files.get({ name: first.name! });
    return own.files.get({ name: second.name! });
  });
  await expect(both).rejects.toMatchObject({ status: 403 });
  expect(fake.counts.byStatus[403]).toBeLessThanOrEqual(3);
  await ai.files.delete({ name: first.name! });
  fake.reset();
  await expect(run((own) => own.files.get({ name: first.name! }))).rejects.toMatchObject({ status: 403 });
  expect(fake.counts.total).toBeLessThanOrEqual(2);
});

test('a project that has no key any more is looked for anew', async () => {
  const { ai, fake, run, origins } = await projects(3);
  const { name } = await upload(ai);
  const { project } = fake.counts.log[0]!;
  origins.remember([name!], { project: '399999999999', keyId: 'key-gone' });
  await run((own) => own.files.get({ name: name! }));
  expect(fake.counts.log.at(-1)).toMatchObject({ project, status: 200 });
  expect(origins.of([name!])?.project).toBe(project);
});
