import { setTimeout as sleep } from 'node:timers/promises';
import type { GoogleGenAI } from '@google/genai';
import { expect, onTestFinished, test } from 'vitest';
import { createGeminiWrapper, KeyBalancerError } from '../../src/client/index.ts';
import { expectedAnswer } from '../fake-gemini/index.ts';
import { apiKeys } from '../support/orders.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { bench, endings, MODEL } from './balancers.ts';

async function ask(ai: GoogleGenAI, prompt: string): Promise<string | undefined> {
  return (await ai.models.generateContent({ model: MODEL, contents: prompt })).text;
}

test.each(['SIGKILL', 'SIGTERM'] as const)('calls outlast a server that is restarted after %s', async (signal) => {
  const dataDir = tempDir();
  const first = await ServerProcess.start({ dataDir });
  const keys = Object.fromEntries(
    apiKeys(40).map((key, index) => [key, { behaviour: index % 20 === 0 ? ('dead' as const) : { delayMs: 200 } }]),
  );
  // To the deadline they wait for it, however long it takes to start.
  const { fake, wrapper } = await bench({ address: first.grpc }, keys, { deadline: 100_000 });
  // A hundred callers make three calls each, so that there are calls at every point of the server's absence.
  const answers: unknown[] = [];
  const callers = Array.from({ length: 100 }, async (_, caller) => {
    for (let turn = 0; turn < 3; turn++) {
      const prompt = `call ${caller} ${turn}`;
      const result = await wrapper.executeWithRetry(ask, prompt).catch((error: unknown) => error);
      answers.push(result === expectedAnswer(prompt) ? 'right' : result);
    }
  });
  await expect.poll(() => fake.counts.total).toBeGreaterThan(130);
  await first.stop(signal);
  expect(answers.length).toBeLessThan(300);
  // As long as a service manager takes to start it again.
  await sleep(1_500);
  await ServerProcess.start({ dataDir, grpc: first.grpc });
  await Promise.all(callers);

  expect(answers.filter((answer) => answer !== 'right')).toEqual([]);
  expect(answers).toHaveLength(300);
  const { total, byStatus } = fake.counts;
  await expect
    .poll(() => endings(wrapper))
    .toEqual({ acquired: total, succeeded: byStatus[200], failed: byStatus[400] });
  expect(byStatus[200]).toBe(300);
});

test('a report is delivered though its server comes back after the call has ended, and closing waits for it', async () => {
  const dataDir = tempDir();
  const first = await ServerProcess.start({ dataDir });
  const { fake, wrapper } = await bench({ address: first.grpc }, { [apiKeys(1)[0]!]: { behaviour: { delayMs: 300 } } });
  const call = wrapper.executeWithRetry(ask, 'hello');
  await expect.poll(() => fake.counts.inFlight).toBe(1);
  await first.kill();
  expect(await call).toBe(expectedAnswer('hello'));
  const closing = wrapper.close();
  await ServerProcess.start({ dataDir, grpc: first.grpc });
  await closing;
  await using later = createGeminiWrapper({ address: first.grpc });
  expect(await endings(later)).toEqual({ acquired: 1, succeeded: 1 });
});

test('an address where nobody is, is told of, and at once to whoever gives up', async () => {
  const wrapper = createGeminiWrapper({ address: '127.0.0.1:1' });
  onTestFinished(() => wrapper.close());
  const error = await wrapper.executeWithRetry(ask, 'hello').catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(KeyBalancerError);
  expect(error).toMatchObject({ code: 'UNAVAILABLE', message: 'no KeyBalancer answers at 127.0.0.1:1 (ECONNREFUSED)' });
  const reason = new Error('enough');
  const controller = new AbortController();
  const left = wrapper.withRetry(ask, { signal: controller.signal })('hello');
  controller.abort(reason);
  await expect(left).rejects.toBe(reason);
});
