import type { GoogleGenAI } from '@google/genai';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createKeyBalancer } from '../../src/client/index.ts';
import { expectedAnswer, startFakeGemini } from '../fake-gemini/index.ts';
import { apiKeys } from '../support/orders.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { endings, MODEL } from './balancers.ts';

const [ONE] = apiKeys(1) as [string];

async function ask(ai: GoogleGenAI): Promise<string | undefined> {
  return (await ai.models.generateContent({ model: MODEL, contents: 'hello' })).text;
}

/** Time stands still for whatever takes the globals, as in tests of those who use the client. */
function fakeTimers(): void {
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
}

test('a client that is connected calls, reports and closes under the fake timers of a test', async () => {
  const fake = await startFakeGemini({ keys: { [ONE]: {} } });
  onTestFinished(() => fake.close());
  const server = await ServerProcess.start({ dataDir: tempDir() });
  const genai = { httpOptions: { baseUrl: fake.url } };
  const balancer = createKeyBalancer({ address: server.grpc, model: MODEL, genai });
  // gRPC takes the globals as it connects.
  await balancer.addKey(ONE);
  fakeTimers();
  expect(await balancer.executeWithRetry(ask)).toBe(expectedAnswer('hello'));
  expect(await ask(balancer.genai())).toBe(expectedAnswer('hello'));
  await (await balancer.lease({ maxWait: 1_000 })).succeeded();
  expect(await endings(balancer)).toEqual({ acquired: 3, succeeded: 3 });
  await balancer.close();
});

test('a call gives up on a balancer that is away under the fake timers of a test', async () => {
  fakeTimers();
  const balancer = createKeyBalancer({ address: '127.0.0.1:1' });
  await expect(balancer.lease()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  await balancer.close();
});
