import { expect, onTestFinished, test, vi } from 'vitest';
import { connect } from '../../../src/client/connect.ts';
import { startFakeGemini } from '../../fake-gemini/index.ts';
import { tempDir } from '../../support/temp-dir.ts';
import { ownerOf } from '../shared-child.ts';
import { badKeys } from './bad-keys.ts';
import { CALLERS, CALLS_EACH, LoadChild, PROCESSES } from './load-child.ts';

const KILLS = 3;
/** More than a lease lasts that nobody renews: 2 min. */
const LEASE_OVER_MS = 130_000;
/** A process has a model of its own, by which its calls are counted: those that are killed are replaced. */
const MODELS = Array.from({ length: PROCESSES + KILLS }, (_, index) => `gemini-of-process-${index}`);

async function dirWith(keys: readonly string[]): Promise<string> {
  vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
  const dataDir = tempDir();
  const balancer = await connect({ dataDir, visit: true });
  for (const apiKey of keys) await balancer.keyAdmin.createKey({ apiKey });
  await balancer.close();
  return dataDir;
}

/** Leases of each model by how they ended, once those that nobody is there to end have ended by their time. */
async function endingsByModel(dataDir: string): Promise<Map<string, Record<string, number>>> {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + LEASE_OVER_MS });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const balancer = await connect({ dataDir, visit: true });
  const { pools } = await balancer.keyBalancer.getStats({ includeModels: true });
  await balancer.close();
  expect(pools[0]!.activeLeases).toBe(0n);
  return new Map(
    pools[0]!.models.map(({ model, usage }) => {
      const { acquired, succeeded, failed, expired, unused, released, late, calls } = usage!;
      const all = { acquired, succeeded, failed, expired, unused, released, late, calls };
      return [model, Object.fromEntries(Object.entries(all).map(([name, count]) => [name, Number(count)]))];
    }),
  );
}

test('calls from four processes on one data dir all succeed though its owner is killed three times under them, each answered once and reported once', async () => {
  const keys = badKeys();
  const fake = await startFakeGemini({ keys, modelNames: MODELS, logSize: 1_000_000 });
  onTestFinished(() => fake.close());
  const dataDir = await dirWith(Object.keys(keys));
  const alive = new Map<string, LoadChild>();
  const killed: string[] = [];
  const start = (): void => {
    const model = MODELS[alive.size + killed.length]!;
    const order = { place: { dataDir }, geminiUrl: fake.url, calls: CALLS_EACH, callers: CALLERS };
    alive.set(model, new LoadChild({ ...order, model, name: model }));
  };
  const statuses = (model: string): number[] =>
    fake.counts.log.filter((each) => each.model === model).map(({ status }) => status);
  const answered = (model: string): number => statuses(model).filter((status) => status === 200).length;
  const owner = () => [...alive].find(([, { pid }]) => pid === ownerOf(dataDir));

  for (let index = 0; index < PROCESSES; index++) start();
  for (let kill = 0; kill < KILLS; kill++) {
    // All that run have done some of their calls, and none all.
    await expect.poll(() => [...alive.keys()].every((model) => answered(model) > CALLS_EACH / 100)).toBe(true);
    await expect.poll(owner).toBeDefined();
    const [model, child] = owner()!;
    expect(answered(model)).toBeLessThan(CALLS_EACH);
    await child.kill();
    alive.delete(model);
    killed.push(model);
    start();
  }
  const results = await Promise.all([...alive.values()].map(({ result }) => result));
  expect(results.flatMap(({ wrong }) => wrong)).toEqual([]);
  expect(results.map(({ right }) => right)).toEqual(results.map(() => CALLS_EACH));

  const endings = await endingsByModel(dataDir);
  for (const model of alive.keys()) {
    const asked = statuses(model).length;
    // As many good answers as calls: none was made again that was answered. And each was reported, once, and as what it was.
    expect(answered(model), model).toBe(CALLS_EACH);
    const { unused = 0, acquired, ...rest } = endings.get(model)!;
    expect({ acquired: acquired! - unused, ...rest }, model).toEqual({
      acquired: asked,
      succeeded: CALLS_EACH,
      failed: asked - CALLS_EACH,
      expired: 0,
      released: 0,
      late: 0,
      // A lease ends once, whatever is sent; a report that was counted twice shows here.
      calls: asked,
    });
  }
  for (const model of killed) {
    const { acquired = 0, unused = 0, succeeded = 0, failed = 0, expired, released, late, calls } = endings.get(model)!;
    const failures = statuses(model).filter((status) => status !== 200).length;
    // Never more than there were; fewer by those that were still on their way when it was killed, however many.
    expect(succeeded, model).toBeLessThanOrEqual(answered(model));
    expect(failed, model).toBeLessThanOrEqual(failures);
    // Whatever else it took was taken back.
    expect({ expired, released, late, calls }, model).toEqual({
      expired: acquired - unused - succeeded - failed,
      released: 0,
      late: 0,
      calls: succeeded + failed,
    });
  }
});
