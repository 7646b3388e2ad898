import { describe, expect, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { importKeys } from '../support/server-clients.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { allKeys } from './ledger.ts';

const REFUSED = { code: 'UNAVAILABLE', reason: 'STORE_UNAVAILABLE' };
/** No file can grow by this: the log already is larger. */
const FULL = 1;

async function usage(balancer: Balancer): Promise<unknown> {
  const { total } = await balancer.keyBalancer.getStats({});
  const { usage, activeLeases, failuresByClass } = total!;
  const keys = await allKeys(balancer);
  return { usage, activeLeases, failuresByClass, keys: keys.map(({ usage, health }) => ({ usage, health })) };
}

/** A server that has a few keys, reports and open leases. */
async function usedServer(dataDir: string) {
  const server = await ServerProcess.start({ dataDir, http: '127.0.0.1:0' });
  const balancer = server.connect();
  await importKeys(balancer, 5);
  const leases: string[] = [];
  for (let index = 0; index < 20; index++) {
    leases.push((await balancer.keyBalancer.acquireKey({ leaseTtl: { seconds: 600n } })).lease!.leaseId);
  }
  for (const leaseId of leases.splice(0, 5)) {
    await balancer.keyBalancer.reportResult({ leaseId, outcome: Outcome.SUCCESS });
  }
  return { server, balancer, leases };
}

async function failedCommits(server: ServerProcess): Promise<number> {
  const metrics = await (await fetch(`http://${server.http}/metrics`)).text();
  return Number(/^keybalancer_store_commit_failures_total (\d+)$/m.exec(metrics)?.[1]);
}

describe('a server whose disk is full', () => {
  test('refuses reports without a trace and acquires, lives, and goes on by itself once there is room', async () => {
    const dataDir = tempDir();
    const { server, balancer, leases } = await usedServer(dataDir);
    const { keyBalancer, keyAdmin } = balancer;
    const before = await usage(balancer);
    server.limitFileSize(FULL);
    const failure = { outcome: Outcome.FAILURE, error: { httpStatus: 403, status: 'PERMISSION_DENIED' } };
    for (const leaseId of leases.slice(0, 3)) {
      await expect(keyBalancer.reportResult({ leaseId, ...failure })).rejects.toMatchObject(REFUSED);
    }
    const reports = leases.map((leaseId) => ({ leaseId, outcome: Outcome.SUCCESS }));
    const { results } = await keyBalancer.batchReportResults({ reports });
    expect(new Set(results.map(({ result }) => result.case))).toEqual(new Set(['error']));
    await expect(keyBalancer.acquireKey({})).rejects.toMatchObject(REFUSED);
    await expect(keyBalancer.renewLease({ leaseId: leases[0]! })).rejects.toMatchObject(REFUSED);
    await expect(importKeys(balancer, 3, 'AQ.other')).rejects.toMatchObject(REFUSED);
    await expect(keyAdmin.createPool({ pool: { pool: 'other' } })).rejects.toMatchObject(REFUSED);
    expect(await usage(balancer)).toEqual(before);
    const tries = await failedCommits(server);
    await expect.poll(() => failedCommits(server)).toBeGreaterThan(tries + 2);
    await expect(keyBalancer.acquireKey({})).rejects.toMatchObject(REFUSED);
    expect(server.stderr).not.toContain('takes writes again');

    server.limitFileSize('unlimited');
    await expect
      .poll(() => keyBalancer.acquireKey({ leaseTtl: { seconds: 600n } }).then(() => 'served', String))
      .toBe('served');
    for (const leaseId of leases) {
      const answer = await keyBalancer.reportResult({ leaseId, outcome: Outcome.SUCCESS });
      expect(answer).toMatchObject({ duplicate: false, late: false });
    }
    await importKeys(balancer, 3, 'AQ.other');
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(server.stderr.match(/takes no writes/g)).toHaveLength(1);
    const after = (await ServerProcess.start({ dataDir })).connect();
    const { total } = await after.keyBalancer.getStats({});
    expect(total).toMatchObject({
      totalKeys: 8n,
      activeLeases: 1n,
      usage: { acquired: 21n, succeeded: 20n, failed: 0n },
    });
  });

  test.each<{ what: string; change: (used: Awaited<ReturnType<typeof usedServer>>) => Promise<unknown> }>([
    { what: 'an import', change: ({ balancer }) => importKeys(balancer, 3, 'AQ.other') },
    { what: 'a new pool', change: ({ balancer }) => balancer.keyAdmin.createPool({ pool: { pool: 'other' } }) },
    {
      what: 'a report',
      change: ({ balancer, leases }) =>
        balancer.keyBalancer.reportResult({ leaseId: leases[0]!, outcome: Outcome.SUCCESS }),
    },
  ])('goes on by itself, and not before, also where nothing but $what failed', async ({ change }) => {
    const used = await usedServer(tempDir());
    const { server, balancer } = used;
    // Answered after the commit of all before it.
    await balancer.keyBalancer.renewLease({ leaseId: used.leases[1]! });
    server.limitFileSize(FULL);
    await expect(change(used)).rejects.toMatchObject(REFUSED);
    const tries = await failedCommits(server);
    await expect.poll(() => failedCommits(server)).toBeGreaterThan(tries + 2);
    await expect(balancer.keyBalancer.acquireKey({})).rejects.toMatchObject(REFUSED);
    expect(server.stderr).not.toContain('takes writes again');
    server.limitFileSize('unlimited');
    await expect.poll(() => balancer.keyBalancer.acquireKey({}).then(() => 'served', String)).toBe('served');
    await change(used);
  });

  test('that is stopped then ends within 10 s, and what was acknowledged is there', async () => {
    const dataDir = tempDir();
    const { server, balancer, leases } = await usedServer(dataDir);
    server.limitFileSize(FULL);
    const report = { leaseId: leases[0]!, outcome: Outcome.SUCCESS };
    await expect(balancer.keyBalancer.reportResult(report)).rejects.toMatchObject(REFUSED);
    const stopping = performance.now();
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    expect(performance.now() - stopping).toBeLessThan(30_000);
    const after = (await ServerProcess.start({ dataDir })).connect();
    expect((await after.keyBalancer.getStats({})).total!.usage).toMatchObject({ acquired: 20n, succeeded: 5n });
    expect(await after.keyBalancer.reportResult(report)).toMatchObject({ duplicate: false });
  });
});
