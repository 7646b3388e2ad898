import { describe, expect, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { patientAcquire } from '../../src/client/patient-acquire.ts';
import { Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { apiKeys } from '../support/orders.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { MODEL } from './balancers.ts';
import { remote } from './scripted-balancer.ts';

interface Patience {
  awayMs: number;
  waitMs?: number;
  signal?: AbortSignal;
}

const TAKEN = [
  ['in its time', () => ({ awayMs: 200 })],
  ['by its caller', () => ({ awayMs: 5_000, signal: AbortSignal.timeout(200) })],
] as const;
const WAITED_FOR = [
  ['in its time to wait', () => ({ awayMs: 200, waitMs: 50 })],
  ['by its caller, who waited', () => ({ awayMs: 5_000, waitMs: 5_000, signal: AbortSignal.timeout(200) })],
] as const;

function acquire(balancer: Balancer, { awayMs, waitMs = 0, signal }: Patience): Promise<unknown> {
  const context = { left: { waitMs, awayMs }, mayWait: waitMs > 0, signal };
  return patientAcquire(balancer, { model: MODEL }, context);
}

async function leases(balancer: Balancer): Promise<{ acquired: number; unused: number; active: number }> {
  const { usage, activeLeases } = (await balancer.keyBalancer.getStats({})).total!;
  return { acquired: Number(usage!.acquired), unused: Number(usage!.unused), active: Number(activeLeases) };
}

describe.each([
  // A call of its own that waits is cancelled, so that nobody stands in line for a caller who left: it cannot hear of its lease.
  { way: 'a stream in use', transport: 'session', isWarm: true, given: [...TAKEN, ...WAITED_FOR] },
  { way: 'a new stream', transport: 'session', isWarm: false, given: [...TAKEN, ...WAITED_FOR] },
  { way: 'calls of their own', transport: 'unary', isWarm: true, given: TAKEN },
] as const)('acquires by $way, given up while their server was frozen,', ({ transport, isWarm, given }) => {
  test('keep no lease when it thaws', async () => {
    const server = await ServerProcess.start({ dataDir: tempDir() });
    const operator = server.connect();
    await operator.keyAdmin.createKey({ apiKey: apiKeys(1)[0]! });
    const balancer = remote(server.grpc, { transport });
    if (isWarm) {
      const { lease } = await balancer.keyBalancer.acquireKey({});
      await balancer.keyBalancer.reportResult({ leaseId: lease!.leaseId, outcome: Outcome.UNUSED });
    }
    const before = await leases(operator);
    server.process.kill('SIGSTOP');
    await Promise.all(given.map(([how, patience]) => expect(acquire(balancer, patience()), how).rejects.toThrow()));
    server.process.kill('SIGCONT');
    // All that were sent have come.
    await expect.poll(() => leases(operator)).toMatchObject({ acquired: before.acquired + given.length });
    await expect.poll(() => leases(operator)).toMatchObject({ unused: before.unused + given.length, active: 0 });
  });
});
