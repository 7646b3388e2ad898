import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { createKeyBalancer } from '../../../src/client/index.ts';
import { type FakeGemini, startFakeGemini } from '../../fake-gemini/index.ts';
import { ServerProcess } from '../../support/server-process.ts';
import { tempDir } from '../../support/temp-dir.ts';
import { endings, MODEL } from '../balancers.ts';
import { badKeys } from './bad-keys.ts';
import { CALLERS, CALLS_EACH, LoadChild, PROCESSES } from './load-child.ts';

const CALLS = PROCESSES * CALLS_EACH;

/** Runs the load, `disturb` beside it, and shows that each call was answered once and each lease reported once. */
async function underLoad(disturb: (fake: FakeGemini, server: ServerProcess, dataDir: string) => Promise<void>) {
  const keys = badKeys();
  const fake = await startFakeGemini({ keys });
  onTestFinished(() => fake.close());
  const dataDir = tempDir();
  const server = await serverOn(dataDir);
  const balancer = createKeyBalancer({ address: server.grpc });
  onTestFinished(() => balancer.close());
  for (const key of Object.keys(keys)) await balancer.addKey(key);

  const place = { address: server.grpc };
  const shared = { place, model: MODEL, geminiUrl: fake.url, calls: CALLS_EACH, callers: CALLERS };
  const loads = Array.from(
    { length: PROCESSES },
    (_, index) => new LoadChild({ ...shared, name: `process ${index}` }).result,
  );
  const [results] = await Promise.all([Promise.all(loads), disturb(fake, server, dataDir)]);

  expect(results.flatMap(({ wrong }) => wrong)).toEqual([]);
  expect(results.reduce((sum, { right }) => sum + right, 0)).toBe(CALLS);
  const { total, byStatus, byEnding, byKeyAndStatus } = fake.counts;
  // As many good answers as calls, each of which got one: no call was made again that was answered.
  expect(byStatus).toEqual({ 200: CALLS, 400: expect.any(Number), 429: expect.any(Number) });
  const keysWith = (status: number): number => Object.values(byKeyAndStatus).filter((of) => of[status]).length;
  expect({ died: keysWith(400), spent: keysWith(429), served: keysWith(200) }).toEqual({
    died: 10,
    spent: 10,
    served: 29,
  });
  expect(byEnding).toEqual({ whole: total });
  // Nothing is active, expired, late or released: every lease was reported, and as what it was.
  const { unused = 0, ...ends } = await endings(balancer);
  expect(ends).toEqual({ acquired: total + unused, succeeded: CALLS, failed: total - CALLS });
  // A lease ends once, whatever is sent; a report that was counted twice shows here.
  expect(Number((await balancer.getStats()).pools[0]!.usage!.calls)).toBe(total);
}

/** It asks Gemini nothing itself: the fake counts calls alone. */
function serverOn(dataDir: string, grpc = '127.0.0.1:0'): Promise<ServerProcess> {
  return ServerProcess.start({ dataDir, grpc, more: ['--verify', 'off'] });
}

test('calls from four processes all succeed though keys die, are spent and are slow, each answered once and reported once', async () => {
  await underLoad(async () => {});
});

test('so do they though the server is killed and restarted three times', async () => {
  await underLoad(async (fake, first, dataDir) => {
    let server = first;
    for (const kill of [1, 2, 3]) {
      await expect.poll(() => fake.counts.byStatus[200] ?? 0, { interval: 5 }).toBeGreaterThan((kill * CALLS) / 4);
      await server.kill();
      expect(fake.counts.byStatus[200]).toBeLessThan(CALLS);
      // As long as a service manager takes to start it again.
      await sleep(1_000);
      server = await serverOn(dataDir, first.grpc);
    }
  });
});
