import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { connect } from '../../src/client/connect.ts';
import { KeyBalancerError } from '../../src/client/errors.ts';
import { importKeyFile } from '../../src/client/key-file.ts';
import { leasedCall } from '../../src/client/leased-call.ts';
import { patientAcquire, patientImporter } from '../../src/client/patient-acquire.ts';
import { AcquireKeyResponseSchema, ReportResultResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { apiKeys } from '../support/orders.ts';
import { tempDir } from '../support/temp-dir.ts';
import { serve } from './balancers.ts';
import { warned } from './scripted-balancer.ts';

const realNow = performance.now.bind(performance);
/** How much later it is than it was, by what the client measures time with. */
let passedMs = 0;

beforeEach(() => {
  passedMs = 0;
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => realNow() + passedMs);
  return () => spy.mockRestore();
});

/** Leases, but where it is away: then a try costs 4 s. */
class Desk {
  awayFor = 0;
  readonly balancer = {
    keyAdmin: {},
    keyBalancer: {
      acquireKey: async () => {
        if (this.awayFor > 0) {
          this.awayFor--;
          passedMs += 4_000;
          throw new KeyBalancerError('no KeyBalancer answers', { code: 'UNAVAILABLE' });
        }
        return create(AcquireKeyResponseSchema, { lease: { leaseId: 'lease', keyId: 'key' } });
      },
      reportResult: async () => create(ReportResultResponseSchema),
    },
  } as unknown as Balancer;

  acquire(waitMs: number): Promise<string> {
    const call = { left: { waitMs }, mayWait: waitMs > 0, signal: undefined };
    return patientAcquire(this.balancer, {}, call).then(
      ({ leaseId }) => leaseId,
      (error: KeyBalancerError) => error.code,
    );
  }

  call(deadline: number): Promise<string> {
    const settings = { pool: '', model: '', affinityKey: '', maxRetries: 0, retryDelay: 0, maxWait: undefined };
    return leasedCall(this.balancer, { ...settings, signal: undefined, deadline, genai: {} }, () => 'done');
  }
}

test('a balancer that went away is waited for until the call’s deadline', async () => {
  const desk = new Desk();
  await desk.acquire(0);
  desk.awayFor = 6;
  expect(await desk.call(60_000)).toBe('done');
});

test('by a call without a deadline it is waited for 10 s, or as long as for a key where that is longer', async () => {
  const desk = new Desk();
  await desk.acquire(0);
  desk.awayFor = 2;
  expect(await desk.acquire(0)).toBe('lease');
  desk.awayFor = 6;
  expect(await desk.acquire(0)).toBe('UNAVAILABLE');
  desk.awayFor = 6;
  expect(await desk.acquire(60_000)).toBe('lease');
});

test('where nobody ever answered it is waited for 2 s, or until the deadline, and that is said once', async () => {
  const warnings = warned();
  const desk = new Desk();
  desk.awayFor = 100;
  expect(await desk.acquire(60_000)).toBe('UNAVAILABLE');
  expect(desk.awayFor).toBeGreaterThan(97);
  desk.awayFor = 4;
  expect(await desk.call(60_000)).toBe('done');
  expect(warnings).toEqual(['no KeyBalancer answers; calls that have a deadline wait for it until then']);
});

test('an import whose answer was lost is repeated, and tells what came of it the first time', async () => {
  const balancer = await connect({ address: (await serve()).grpc! });
  onTestFinished(() => balancer.close());
  const file = join(tempDir(), 'keys.txt');
  writeFileSync(file, apiKeys(2).join('\n'));
  let asked = 0;
  const importKeys: typeof balancer.keyBalancer.importKeys = async (request, options) => {
    const response = await balancer.keyBalancer.importKeys(request, options);
    if (++asked === 1) throw new KeyBalancerError('the connection was lost', { code: 'UNAVAILABLE' });
    return response;
  };
  const losing = { ...balancer, keyBalancer: { ...balancer.keyBalancer, importKeys } };
  expect(await importKeyFile(patientImporter(losing), file)).toMatchObject({ new: 2, skipped: 0 });
  expect(asked).toBe(2);
});
