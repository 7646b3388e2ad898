import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { importKeys, openSession, rawClient } from '../support/server-clients.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';

const WAIT = { maxWait: durationFromMs(60_000) };

/** A way to the server that can be cut as a cable is. */
async function cuttableWay(address: string): Promise<{ address: string; cut: () => void }> {
  const [host, port] = address.split(':') as [string, string];
  const ways = new Set<() => void>();
  const proxy: Server = createServer((near) => {
    const far = connect(Number(port), host);
    near.pipe(far).pipe(near);
    near.on('error', () => {});
    far.on('error', () => {});
    ways.add(() => {
      near.destroy();
      far.destroy();
    });
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  onTestFinished(() => void proxy.close());
  const cut = (): void => {
    proxy.close();
    for (const way of ways) way();
  };
  return { address: `127.0.0.1:${(proxy.address() as { port: number }).port}`, cut };
}

/** Who waits for a key, and how it goes away. */
const LEAVING: readonly { how: string; wait: (server: ServerProcess) => Promise<() => unknown> }[] = [
  {
    how: 'cancels the call',
    wait: async (server) => {
      const controller = new AbortController();
      server
        .connect()
        .keyBalancer.acquireKey(WAIT, { signal: controller.signal })
        .catch(() => {});
      return () => controller.abort();
    },
  },
  {
    how: 'cancels the call by the socket',
    wait: async (server) => {
      const controller = new AbortController();
      server
        .connect(server.socket)
        .keyBalancer.acquireKey(WAIT, { signal: controller.signal })
        .catch(() => {});
      return () => controller.abort();
    },
  },
  {
    how: 'has its connection cut',
    wait: async (server) => {
      const way = await cuttableWay(server.grpc);
      server
        .connect(way.address)
        .keyBalancer.acquireKey(WAIT)
        .catch(() => {});
      return way.cut;
    },
  },
  {
    how: 'waits by Connect and goes away',
    wait: async (server) => {
      const controller = new AbortController();
      fetch(`http://${server.http}/keybalancer.v1.KeyBalancerService/AcquireKey`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"maxWait":"60s"}',
        signal: controller.signal,
      }).catch(() => {});
      return () => controller.abort();
    },
  },
  {
    how: 'waits on a session that ends',
    wait: async (server) => {
      const session = openSession(rawClient(server.grpc));
      session.on('error', () => {}).resume();
      session.write({ operations: [{ correlationId: 1n, operation: { case: 'acquire', value: WAIT } }] });
      return () => session.cancel();
    },
  },
];

async function waiting(balancer: Balancer): Promise<bigint> {
  return (await balancer.keyBalancer.getStats({})).total!.waitingAcquires;
}

/** A server whose only key is leased. */
async function fullServer() {
  const server = await ServerProcess.start({ dataDir: tempDir(), http: '127.0.0.1:0' });
  const balancer = server.connect();
  await importKeys(balancer, 1);
  const pool = { pool: 'default', maxConcurrentLeases: 1 };
  await balancer.keyAdmin.updatePool({ pool, updateMask: { paths: ['max_concurrent_leases'] } });
  const { lease } = await balancer.keyBalancer.acquireKey({});
  return { server, balancer, leaseId: lease!.leaseId };
}

describe('an acquire that waits', () => {
  test('takes no key once its caller has gone, whichever way it went, and the next in line gets the key', async () => {
    const { server, balancer, leaseId } = await fullServer();
    let held = leaseId;
    for (const { how, wait } of LEAVING) {
      const leave = await wait(server);
      await expect.poll(() => waiting(balancer), { message: how }).toBe(1n);
      const next = balancer.keyBalancer.acquireKey(WAIT);
      await expect.poll(() => waiting(balancer)).toBe(2n);
      await leave();
      await expect.poll(() => waiting(balancer), { message: how }).toBe(1n);
      await balancer.keyBalancer.reportResult({ leaseId: held, outcome: Outcome.SUCCESS });
      held = (await next).lease!.leaseId;
      expect((await balancer.keyAdmin.listLeases({})).leases).toHaveLength(1);
    }
    await balancer.keyBalancer.reportResult({ leaseId: held, outcome: Outcome.SUCCESS });
    expect((await balancer.keyAdmin.listLeases({})).leases).toEqual([]);
    const { usage } = (await balancer.keyBalancer.getStats({})).total!;
    expect(usage).toMatchObject({ acquired: BigInt(LEAVING.length + 1), succeeded: BigInt(LEAVING.length + 1) });
  });

  test('is refused before the deadline of its call, and takes no key after it', async () => {
    const { balancer, leaseId } = await fullServer();
    const refused = balancer.keyBalancer.acquireKey(WAIT, { timeoutMs: 3_000 });
    await expect(refused).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'NO_KEY_AVAILABLE' });
    expect(await waiting(balancer)).toBe(0n);
    await balancer.keyBalancer.reportResult({ leaseId, outcome: Outcome.SUCCESS });
    expect((await balancer.keyAdmin.listLeases({})).leases).toEqual([]);
  });
});
