import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import { Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { checkServing, importKeys, rawClient, received, watchServing } from '../support/server-clients.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';

const run = promisify(execFile);
const SERVICES = ['keybalancer.v1.KeyBalancerService', 'keybalancer.v1.KeyAdminService'] as const;
const BUF = ['buf', 'curl', '--protocol', 'grpc', '--http2-prior-knowledge'];

async function startWithKeys(count: number): Promise<ServerProcess> {
  const server = await ServerProcess.start({ dataDir: tempDir(), http: '127.0.0.1:0' });
  await importKeys(server.connect(), count);
  return server;
}

describe('gRPC health', () => {
  test('says SERVING for the server and each service, to those who ask and to those who watch, and knows no other', async () => {
    const server = await startWithKeys(1);
    for (const address of [server.grpc, server.socket]) {
      const client = rawClient(address);
      for (const service of ['', ...SERVICES]) {
        expect(await checkServing(client, service)).toBe('SERVING');
        const watch = received<{ status: string }>(watchServing(client, service));
        await expect.poll(() => watch.messages).toMatchObject([{ status: 'SERVING' }]);
      }
      await expect(checkServing(client, 'keybalancer.v1.Nothing')).rejects.toMatchObject({ code: 5 });
      const unknown = received<{ status: string }>(watchServing(client, 'keybalancer.v1.Nothing'));
      await expect.poll(() => unknown.messages).toMatchObject([{ status: 'SERVICE_UNKNOWN' }]);
    }
  });
});

describe('reflection', () => {
  test.each(['grpc-v1', 'grpc-v1alpha'])('by %s lets buf curl list methods, acquire and report', async (protocol) => {
    const server = await startWithKeys(2);
    const buf = async (...rest: string[]): Promise<string> => {
      const { stdout } = await run('npx', [...BUF, '--reflect', '--reflect-protocol', protocol, ...rest]);
      return stdout;
    };
    const address = `http://${server.grpc}`;
    const methods = (await buf('--list-methods', address)).trim().split('\n');
    expect(methods).toContain(`${SERVICES[0]}/AcquireKey`);
    expect(methods).toContain(`${SERVICES[1]}/ListKeys`);
    expect(methods).toContain('grpc.health.v1.Health/Check');
    expect(JSON.parse(await buf(`${address}/grpc.health.v1.Health/Check`, '-d', '{}'))).toEqual({ status: 'SERVING' });
    const { lease } = JSON.parse(await buf(`${address}/${SERVICES[0]}/AcquireKey`, '-d', '{}'));
    expect(lease).toMatchObject({ apiKey: 'AQ.test-key-000000', pool: 'default' });
    const report = JSON.stringify({ leaseId: lease.leaseId, outcome: 'OUTCOME_SUCCESS' });
    expect(JSON.parse(await buf(`${address}/${SERVICES[0]}/ReportResult`, '-d', report))).toMatchObject({
      keyHealth: { keyId: lease.keyId, state: 'KEY_STATE_AVAILABLE' },
    });
    const { usage } = (await server.connect().keyBalancer.getStats({})).total!;
    expect(usage).toMatchObject({ acquired: 1n, succeeded: 1n });
  });
});

describe('the HTTP door', () => {
  test('serves acquires and reports to curl in Connect JSON', async () => {
    const server = await startWithKeys(1);
    const curl = async (method: string, message: object): Promise<{ lease: { leaseId: string } }> => {
      const url = `http://${server.http}/${SERVICES[0]}/${method}`;
      const line = ['-sS', '--fail', '--json', JSON.stringify(message), url];
      return JSON.parse((await run('curl', line)).stdout);
    };
    const { lease } = await curl('AcquireKey', { model: 'models/gemini-2.5-flash', leaseTtl: '30s' });
    expect(lease).toMatchObject({ apiKey: 'AQ.test-key-000000', model: 'gemini-2.5-flash' });
    const report = { leaseId: lease.leaseId, outcome: 'OUTCOME_SUCCESS', latency: '1.5s' };
    expect(await curl('ReportResult', report)).toMatchObject({ keyHealth: { state: 'KEY_STATE_AVAILABLE' } });
    expect(await curl('ReportResult', report)).toMatchObject({ duplicate: true });
  });
});

describe('a refusal over gRPC', () => {
  test('carries its reason, when to try again, and the fields that are to blame', async () => {
    const server = await startWithKeys(1);
    const { keyBalancer, keyAdmin } = server.connect();
    const pool = { pool: 'default', maxConcurrentLeases: 1 };
    await keyAdmin.updatePool({ pool, updateMask: { paths: ['max_concurrent_leases'] } });
    await keyBalancer.acquireKey({ leaseTtl: durationFromMs(30_000) });
    const refusal = await keyBalancer.acquireKey({}).catch((error) => error);
    expect(refusal).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      reason: 'NO_KEY_AVAILABLE',
      metadata: { pool: 'default', cause: 'all_leased' },
    });
    expect(refusal.retryAfterMs).toBeGreaterThan(0);
    expect(refusal.retryAfterMs).toBeLessThanOrEqual(30_000);
    const bad = await keyBalancer.acquireKey({ model: 'a b', leaseTtl: durationFromMs(10) }).catch((error) => error);
    expect(bad).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
    expect(bad.violations).toMatchObject([{ field: 'model' }]);
    await expect(keyBalancer.acquireKey({ pool: 'none' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      reason: 'POOL_NOT_FOUND',
      metadata: { pool: 'none' },
    });
  });

  test('of a message over 4 MiB is RESOURCE_EXHAUSTED and leaves the connection and its other calls alone', async () => {
    const server = await startWithKeys(1);
    const balancer = server.connect();
    const keys = Array.from({ length: 10_000 }, (_, index) => ({ apiKey: `AQ.${'x'.repeat(450)}-${index}` }));
    await expect(balancer.keyBalancer.importKeys({ keys })).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    for (let round = 0; round < 5; round++) {
      const calls = await Promise.allSettled([
        balancer.keyBalancer.importKeys({ keys }),
        ...Array.from({ length: 10 }, () => balancer.keyBalancer.acquireKey({})),
      ]);
      expect(calls[0]).toMatchObject({ status: 'rejected', reason: { code: 'RESOURCE_EXHAUSTED' } });
      expect(calls.slice(1).map(({ status }) => status)).toEqual(new Array(10).fill('fulfilled'));
    }
    const { leases } = await balancer.keyAdmin.listLeases({ pageSize: 100 });
    expect(leases).toHaveLength(50);
    const reports = [{ leaseId: 'x', outcome: Outcome.SUCCESS }];
    expect((await balancer.keyBalancer.batchReportResults({ reports })).results).toHaveLength(1);
    expect((await balancer.keyBalancer.getStats({})).total!.totalKeys).toBe(1n);
  });
});
