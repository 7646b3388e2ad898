import { once } from 'node:events';
import { connect } from 'node:net';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import {
  Outcome,
  type SessionResponse,
  type WatchHealthResponse,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { importKeys, openSession, openWatch, rawClient, received, watchServing } from '../support/server-clients.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';

const LONG = durationFromMs(600_000);
/** A server that was told to stop has ended by then: 10 s by design, which a slow machine may stretch. */
const STOPPED_MS = 30_000;

/** A server whose two keys serve one lease each; one is leased by a call, the other on a session. */
async function busyServer(dataDir: string) {
  const server = await ServerProcess.start({ dataDir });
  const balancer = server.connect();
  await importKeys(balancer, 2);
  const pool = { pool: 'default', maxConcurrentLeases: 1 };
  await balancer.keyAdmin.updatePool({ pool, updateMask: { paths: ['max_concurrent_leases'] } });
  const { leaseId } = (await balancer.keyBalancer.acquireKey({ leaseTtl: LONG })).lease!;
  const session = openSession(rawClient(server.grpc));
  const answers = received<SessionResponse>(session);
  const acquire = { correlationId: 1n, operation: { case: 'acquire' as const, value: { leaseTtl: LONG } } };
  session.write({ operations: [acquire] });
  const results = () => answers.messages.flatMap((message) => message.results);
  await expect.poll(results).toHaveLength(1);
  const [first] = results();
  const onSession = first!.result.case === 'acquire' ? first!.result.value.lease!.leaseId : '';
  return { server, balancer, leaseId, session, answers, results, onSession };
}

function reportOnSession({ session, onSession }: Awaited<ReturnType<typeof busyServer>>): void {
  const value = { leaseId: onSession, outcome: Outcome.SUCCESS };
  session.write({ operations: [{ correlationId: 2n, operation: { case: 'report', value } }] });
}

async function sums(balancer: Balancer): Promise<unknown> {
  const { succeeded, unused, released } = (await balancer.keyBalancer.getStats({})).total!.usage!;
  return { succeeded, unused, released };
}

describe('a server that is told to stop', () => {
  test('says so to all who wait, watch or hold a session, still takes reports, and ends with 0', async () => {
    const dataDir = tempDir();
    const busy = await busyServer(dataDir);
    const { server, balancer, leaseId, answers } = busy;
    const serving = received<{ status: string }>(
      watchServing(rawClient(server.grpc), 'keybalancer.v1.KeyAdminService'),
    );
    const watch = received<WatchHealthResponse>(openWatch(rawClient(server.grpc)));
    await expect.poll(() => [serving.messages.length, watch.messages.length]).toEqual([1, 1]);
    const waiting = balancer.keyBalancer.acquireKey({ maxWait: LONG }).catch((error) => error);
    await expect.poll(async () => (await balancer.keyBalancer.getStats({})).total!.waitingAcquires).toBe(1n);

    const stopping = performance.now();
    const exit = server.stop('SIGTERM');
    const draining = { code: 'UNAVAILABLE', reason: 'DRAINING' };
    expect(await waiting).toMatchObject(draining);
    expect(await watch.end).toMatchObject(draining);
    await expect.poll(() => serving.messages.map(({ status }) => status)).toEqual(['SERVING', 'NOT_SERVING']);
    await expect.poll(() => answers.messages.some(({ goAway }) => goAway !== undefined)).toBe(true);
    await expect(balancer.keyBalancer.acquireKey({})).rejects.toMatchObject(draining);
    const report = { leaseId, outcome: Outcome.SUCCESS };
    expect(await balancer.keyBalancer.reportResult(report)).toMatchObject({ duplicate: false });
    reportOnSession(busy);
    await expect
      .poll(() => busy.results().at(-1)?.result)
      .toMatchObject({
        case: 'report',
        value: { duplicate: false },
      });
    expect(await answers.end).toBeUndefined();
    expect(await exit).toEqual({ code: 0, signal: null });
    expect(performance.now() - stopping).toBeLessThan(STOPPED_MS);
    const after = (await ServerProcess.start({ dataDir })).connect();
    expect(await sums(after)).toEqual({ succeeded: 2n, unused: 0n, released: 0n });
  });

  test('ends at once by a second signal, and what was acknowledged is kept', async () => {
    const dataDir = tempDir();
    const { server, balancer, leaseId, onSession, answers } = await busyServer(dataDir);
    void server.stop('SIGTERM');
    await expect.poll(() => answers.messages.some(({ goAway }) => goAway !== undefined)).toBe(true);
    await balancer.keyBalancer.reportResult({ leaseId, outcome: Outcome.SUCCESS });
    const stopping = performance.now();
    expect(await server.stop('SIGTERM')).toEqual({ code: 143, signal: null });
    expect(performance.now() - stopping).toBeLessThan(5_000);
    const after = (await ServerProcess.start({ dataDir })).connect();
    expect(await sums(after)).toEqual({ succeeded: 1n, unused: 0n, released: 0n });
    const report = { leaseId: onSession, outcome: Outcome.SUCCESS };
    expect(await after.keyBalancer.reportResult(report)).toMatchObject({ duplicate: false });
  });

  test('ends within 10 s though clients hold streams open that they never read', async () => {
    const dataDir = tempDir();
    const server = await ServerProcess.start({ dataDir, http: '127.0.0.1:0' });
    const balancer = server.connect();
    await importKeys(balancer, 5_000);
    for (const address of [server.grpc, server.socket]) {
      const watch = openWatch(rawClient(address));
      watch.on('error', () => {}).pause();
      const session = openSession(rawClient(address));
      session.on('error', () => {}).pause();
      const operations = Array.from({ length: 1000 }, (_, index) => ({
        correlationId: BigInt(index),
        operation: { case: 'acquire' as const, value: { leaseTtl: LONG } },
      }));
      session.write({ operations });
      watchServing(rawClient(address), '')
        .on('error', () => {})
        .pause();
    }
    await expect.poll(async () => (await balancer.keyBalancer.getStats({})).total!.activeLeases).toBe(2000n);
    // And connections whose clients never say or read a word.
    for (const address of [server.grpc, server.http]) {
      const silent = connect(Number(address.split(':')[1]), '127.0.0.1');
      silent.on('error', () => {});
      onTestFinished(() => void silent.destroy());
      await once(silent, 'connect');
    }
    const stopping = performance.now();
    expect(await server.stop('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(performance.now() - stopping).toBeLessThan(STOPPED_MS);
    const after = (await ServerProcess.start({ dataDir })).connect();
    const { usage, activeLeases } = (await after.keyBalancer.getStats({})).total!;
    expect(activeLeases + usage!.unused).toBe(2000n);
  });
});
