import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createKeyBalancer, type KeyBalancer, type WatchOptions } from '../../src/client/index.ts';
import type { WatchHealthResponse } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { apiKeys } from '../support/orders.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { bench, WAYS } from './balancers.ts';

const [ONE, TWO, THREE] = apiKeys(3) as [string, string, string];

/** A channel to an address where nobody was a moment ago takes its time. */
async function added(server: ServerProcess, apiKey: string): Promise<void> {
  const { keyAdmin } = server.connect();
  await vi.waitFor(() => keyAdmin.createKey({ apiKey, key: {} }), 20_000);
}

/** What a watch tells from now on, and how it ends. */
function watched(balancer: KeyBalancer, options?: WatchOptions) {
  const messages: WatchHealthResponse[] = [];
  const over = (async () => {
    for await (const message of balancer.watchHealth(options)) messages.push(message);
    return 'ended';
  })().catch((error: unknown) => error as Error);
  const cases = () => messages.map(({ event }) => event.case).filter((name) => name !== 'heartbeat');
  return { messages, over, cases };
}

describe.each(WAYS)('a watch of health, $way,', ({ place }) => {
  test('begins with a snapshot, tells of changes, and ends with the client', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const { cases, over } = watched(wrapper);
    await expect.poll(() => cases().includes('snapshot')).toBe(true);
    const key = await wrapper.lease();
    const before = cases().length;
    await key.failed({
      status: 400,
      body: '{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"API key not valid.","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}',
    });
    await expect.poll(() => cases().length).toBeGreaterThan(before);
    await wrapper.close();
    expect(await over).toBe('ended');
  });

  test('rejects when its signal is aborted, and leaves the client alone', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const controller = new AbortController();
    const { cases, over } = watched(wrapper, { signal: controller.signal });
    await expect.poll(() => cases().length).toBeGreaterThan(0);
    controller.abort();
    expect(await over).toMatchObject({ name: 'KeyBalancerError', code: 'CANCELLED' });
    await (await wrapper.lease()).succeeded();
  });

  test('ends with the loop over it', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    for await (const { event } of wrapper.watchHealth()) if (event.case === 'snapshot') break;
    await expect.poll(async () => (await wrapper.getStats()).server?.watchers).toBe(0n);
  });
});

test('a watch goes on over a restart of the server, with what happens after it', async () => {
  const dataDir = tempDir();
  const first = await ServerProcess.start({ dataDir });
  const balancer = createKeyBalancer({ address: first.grpc });
  onTestFinished(() => balancer.close());
  await balancer.addKey(ONE);
  const { messages, cases } = watched(balancer);
  await expect.poll(() => cases().includes('snapshot')).toBe(true);
  await first.stop('SIGTERM');
  const second = await ServerProcess.start({ dataDir, grpc: first.grpc });
  const beforeSecond = messages.length;
  await added(second, TWO);
  await expect.poll(() => messages.length).toBeGreaterThan(beforeSecond);
  await second.kill();
  const third = await ServerProcess.start({ dataDir, grpc: first.grpc });
  const beforeThird = messages.length;
  await added(third, THREE);
  await expect.poll(() => messages.length).toBeGreaterThan(beforeThird);
});
