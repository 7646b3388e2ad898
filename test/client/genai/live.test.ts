import { inspect } from 'node:util';
import { type LiveServerMessage, Modality } from '@google/genai';
import { beforeEach, expect, test, vi } from 'vitest';
import { apiKeys } from '../../support/orders.ts';
import { bench, MODEL } from './bench.ts';

const [ONE, TWO] = apiKeys(2) as [string, string];

/** Connects; `events` are what the caller is told of. */
function session({ ai }: Pick<Awaited<ReturnType<typeof bench>>, 'ai'>) {
  const events: string[] = [];
  const raw: unknown[] = [];
  const turnOver = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const connecting = ai.live.connect({
    model: MODEL,
    config: { responseModalities: [Modality.TEXT] },
    callbacks: {
      onopen: () => events.push('open'),
      onmessage: (message: LiveServerMessage) => {
        if (message.serverContent?.turnComplete) turnOver.resolve();
      },
      onerror: (event) => {
        raw.push(event);
        events.push('error');
      },
      onclose: (event) => {
        raw.push(event);
        events.push(`close ${event.code} ${event.reason}`);
        closed.resolve();
      },
    },
  });
  return { connecting, events, raw, turnOver: turnOver.promise, closed: closed.promise };
}

beforeEach(() => {
  vi.spyOn(console, 'warn').mockReturnValue(undefined);
});

test('a session has one lease for its length, with the key in its address, and reports its tokens', async () => {
  const made = await bench({ [ONE]: {} });
  const { connecting, turnOver, closed, events } = session(made);
  const live = await connecting;
  expect(await made.endings()).toEqual({ acquired: 1, active: 1 });
  live.sendClientContent({ turns: 'hello' });
  await turnOver;
  live.close();
  await closed;
  expect(await made.endings()).toEqual({ acquired: 1, succeeded: 1 });
  expect(made.fake.counts.byKey).toEqual({ [ONE]: 1 });
  expect(made.events.at(-1)).toMatchObject({ type: 'report', outcome: 'success', inputTokens: 2, outputTokens: 4 });
  expect(events).toEqual(['open', 'close 1005 ']);
});

test('each session has a lease of its own', async () => {
  const made = await bench({ [ONE]: {}, [TWO]: {} });
  const sessions = [session(made), session(made)];
  const lives = await Promise.all(sessions.map(({ connecting }) => connecting));
  expect(made.fake.counts.byKey).toEqual({ [ONE]: 1, [TWO]: 1 });
  for (const live of lives) live.close();
  for (const { closed } of sessions) await closed;
  expect(await made.endings()).toEqual({ acquired: 2, succeeded: 2 });
});

test('sessions and requests of one affinity are made with one key', async () => {
  const made = await bench({ [ONE]: {}, [TWO]: {} }, { settings: { affinityKey: 'one-user' } });
  for (let times = 0; times < 2; times++) {
    const { connecting, closed } = session(made);
    (await connecting).close();
    await closed;
    await made.ai.models.generateContent({ model: MODEL, contents: 'hello' });
  }
  expect(Object.values(made.fake.counts.byKey)).toEqual([4]);
});

test('a session whose key is refused is set up with another, and the caller sees one session', async () => {
  const made = await bench({ [ONE]: { behaviour: 'dead' }, [TWO]: {} });
  const { connecting, events, closed } = session(made);
  const live = await connecting;
  expect(events).toEqual(['open']);
  expect(made.fake.counts.byKey).toEqual({ [ONE]: 1, [TWO]: 1 });
  live.close();
  await closed;
  expect(await made.endings()).toEqual({ acquired: 2, succeeded: 1, failed: 1 });
  expect(await made.failures()).toEqual({ KEY_INVALID: 1 });
});

test('when no key serves, the caller is told as the SDK tells him, with the tries', async () => {
  const made = await bench(
    { [ONE]: { behaviour: 'dead' }, [TWO]: { behaviour: 'leaked' } },
    { settings: { maxWait: 0 } },
  );
  const { connecting, events } = session(made);
  const error = await connecting.then(
    () => expect.fail('it did not reject'),
    (thrown: unknown) => thrown as Error,
  );
  expect(error.message).toMatch(/^Live connection closed before setup completed \(code 1008\): Your API key was/);
  expect(error).toMatchObject({ attempts: [{ errorClass: 'KEY_INVALID' }, { errorClass: 'KEY_SUSPENDED' }] });
  expect(events).toEqual(['open', expect.stringContaining('close 1008 Your API key was')]);
  expect(await made.endings()).toEqual({ acquired: 2, failed: 2 });
});

test.each([
  ['internal_500', 1011, 'SERVER_ERROR'],
  ['monthly_spend_cap', 1011, 'BILLING'],
  ['key_leaked', 1008, 'KEY_SUSPENDED'],
])('a session that Gemini ends is reported by its close: %s', async (error, code, errorClass) => {
  const made = await bench({ [ONE]: { behaviour: { errorMidStream: error } } });
  const { connecting, events, closed } = session(made);
  (await connecting).sendClientContent({ turns: 'hello' });
  await closed;
  expect(events.at(-1)).toContain(`close ${code}`);
  await expect.poll(() => made.failures()).toEqual({ [errorClass]: 1 });
});

test('a session whose connection breaks is reported as that', async () => {
  const made = await bench({ [ONE]: { behaviour: { cut: 'midStream', on: ['live'] } } });
  const { connecting, closed } = session(made);
  (await connecting).sendClientContent({ turns: 'hello' });
  await closed;
  await expect.poll(() => made.failures()).toEqual({ NETWORK: 1 });
});

test('parameters that the SDK refuses cost no key anything', async () => {
  const made = await bench({ [ONE]: {} });
  const config = { httpOptions: { timeout: 1 } };
  await expect(
    made.ai.live.connect({ model: MODEL, config, callbacks: { onmessage: () => undefined } }),
  ).rejects.toThrow('does not support httpOptions');
  expect(await made.endings()).toEqual({ acquired: 1, unused: 1 });
});

test('a music session that cannot be opened rejects, where the SDK alone waits for ever', async () => {
  const made = await bench(
    { [ONE]: {} },
    { genai: { httpOptions: { baseUrl: 'http://127.0.0.1:1' } }, settings: { maxRetries: 0 } },
  );
  await expect(
    made.ai.live.music.connect({ model: 'lyria-realtime-exp', callbacks: { onmessage: () => undefined } }),
  ).rejects.toThrow('Live connection failed before setup completed');
  expect(await made.failures()).toEqual({ NETWORK: 1 });
});

test('no session, event or error shows the key', async () => {
  const made = await bench({ [ONE]: {} });
  const { connecting, closed, raw } = session(made);
  const live = await connecting;
  const shown = (value: unknown): string => inspect(value, { depth: 30, showHidden: true, maxStringLength: null });
  expect(shown(live)).not.toContain(ONE);
  expect(shown(live.conn)).not.toContain(ONE);
  live.close();
  await closed;
  expect(shown(raw)).not.toContain(ONE);
  expect(shown(made.events)).not.toContain(ONE);
});

test('a session that goes on from another goes to its project', async () => {
  const made = await bench({ [ONE]: { project: '300000000001' }, [TWO]: { project: '300000000002' } });
  made.origins.remember(['live/handle-1'], { project: '300000000002', keyId: 'any' });
  for (let times = 0; times < 3; times++) {
    const closed = Promise.withResolvers<void>();
    const live = await made.ai.live.connect({
      model: MODEL,
      config: { sessionResumption: { handle: 'handle-1' } },
      callbacks: { onmessage: () => undefined, onclose: () => closed.resolve() },
    });
    live.close();
    await closed.promise;
  }
  expect(made.fake.counts.byKey).toEqual({ [TWO]: 3 });
});
