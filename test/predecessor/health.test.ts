import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { expect, onTestFinished, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { connect } from '../../src/client/connect.ts';
import { ErrorClass, KeyState, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { startFakeGemini } from '../fake-gemini/index.ts';
import { testKeys } from '../support/key-dirs.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';

/** A balancer with keys of weight 2. Default: Gemini is not there to be asked about them. */
async function withKeys(count: number, geminiBaseUrl = 'http://127.0.0.1:1'): Promise<Balancer> {
  const balancer = await connect({ dataDir: tempDir(), embedded: { geminiBaseUrl, warn() {} } });
  onTestFinished(() => balancer.close());
  await balancer.keyBalancer.importKeys({ keys: testKeys(count).map((apiKey) => ({ apiKey, weight: 2 })) });
  return balancer;
}

interface Failure {
  httpStatus: number;
  status: string;
  message: string;
  reason?: string;
}

/** So many leases of one key, to be reported one after the other. */
async function leases({ keyBalancer }: Balancer, count: number): Promise<string[]> {
  const taken: string[] = [];
  for (let i = 0; i < count; i++)
    taken.push((await keyBalancer.acquireKey({ model: 'gemini-2.5-flash' })).lease!.leaseId);
  return taken;
}

function succeed({ keyBalancer }: Balancer, leaseId: string) {
  return keyBalancer.reportResult({ leaseId, outcome: Outcome.SUCCESS });
}

function fail({ keyBalancer }: Balancer, leaseId: string, { httpStatus, status, message, reason }: Failure) {
  const details =
    reason === undefined
      ? []
      : [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason, domain: 'googleapis.com' }];
  const body = JSON.stringify({ error: { code: httpStatus, status, message, details } });
  return keyBalancer.reportResult({ leaseId, outcome: Outcome.FAILURE, error: { httpStatus, body } });
}

const SERVER_ERROR = { httpStatus: 500, status: 'INTERNAL', message: 'An internal error has occurred.' };
const DEAD_KEY = {
  httpStatus: 400,
  status: 'INVALID_ARGUMENT',
  message: 'API key not valid. Please pass a valid API key.',
  reason: 'API_KEY_INVALID',
};
const LEAKED_KEY = {
  httpStatus: 403,
  status: 'PERMISSION_DENIED',
  message: 'Your API key was reported as leaked. Please use another API key.',
};
const BAD_PROMPT = { httpStatus: 400, status: 'INVALID_ARGUMENT', message: 'Request contains an invalid argument.' };
const FORBIDDEN = {
  httpStatus: 403,
  status: 'PERMISSION_DENIED',
  message: 'The caller does not have permission',
};
const RATE_LIMITED = {
  httpStatus: 429,
  status: 'RESOURCE_EXHAUSTED',
  message: 'You exceeded your current quota, please check your plan and billing details.',
};

async function keyOf(balancer: Balancer) {
  const { key } = await balancer.keyAdmin.getKey({ keyId: 'key-00000001' });
  return key!;
}

test('row 11: a success raises the effective weight by 10 %, a failure of the key lowers it by 20 %, and the weight itself stays', async () => {
  const balancer = await withKeys(1);
  const [first, second, third] = (await leases(balancer, 3)) as [string, string, string];
  await fail(balancer, first, DEAD_KEY);
  await fail(balancer, second, DEAD_KEY);
  expect(await keyOf(balancer)).toMatchObject({
    weight: 2,
    health: { effectiveWeight: expect.closeTo(2 * 0.8 * 0.8) },
  });
  await succeed(balancer, third);
  expect(await keyOf(balancer)).toMatchObject({ health: { effectiveWeight: expect.closeTo(2 * 0.8 * 0.8 * 1.1) } });
  const { key } = await balancer.keyAdmin.resetKey({ keyId: 'key-00000001' });
  expect(key).toMatchObject({ weight: 2, health: { effectiveWeight: 2, state: KeyState.AVAILABLE, cooldowns: [] } });
});

test('row 11: a key that a report calls dead is out of use, and disabled when Gemini itself refuses it', async () => {
  const accused = await withKeys(1);
  const [first] = await leases(accused, 1);
  await fail(accused, first!, DEAD_KEY);
  expect((await keyOf(accused)).health!.state).toBe(KeyState.QUARANTINED);
  await expect(accused.keyBalancer.acquireKey({})).rejects.toMatchObject({ reason: 'NO_KEY_AVAILABLE' });

  const fake = await startFakeGemini({ keys: { [testKeys(1)[0]!]: { behaviour: 'leaked' } } });
  onTestFinished(() => fake.close());
  const leaked = await withKeys(1, fake.url);
  const [second] = await leases(leaked, 1);
  await fail(leaked, second!, LEAKED_KEY);
  await expect.poll(async () => (await keyOf(leaked)).health!.state).toBe(KeyState.DISABLED_AUTO);
});

test('row 11: a key that is over its quota rests, and its weight is not touched', async () => {
  const balancer = await withKeys(1);
  const [leaseId] = await leases(balancer, 1);
  await fail(balancer, leaseId!, RATE_LIMITED);
  const { health } = await keyOf(balancer);
  expect(health!.cooldowns).toHaveLength(1);
  expect(health!.effectiveWeight).toBe(2);
});

test('row 12: successes in a row restore a weight that failures lowered', async () => {
  const balancer = await withKeys(1);
  const taken = await leases(balancer, 12);
  for (const leaseId of taken.splice(0, 4)) await fail(balancer, leaseId, DEAD_KEY);
  const lowered = (await keyOf(balancer)).health!;
  expect(lowered.effectiveWeight).toBeLessThan(1);
  expect(lowered.consecutiveFailures).toBe(4);
  for (const leaseId of taken) await succeed(balancer, leaseId);
  const restored = (await keyOf(balancer)).health!;
  expect(restored.effectiveWeight).toBeGreaterThan(1.7);
  expect(restored.consecutiveFailures).toBe(0);
});

test.each([
  [400, DEAD_KEY, ErrorClass.KEY_INVALID],
  [400, BAD_PROMPT, ErrorClass.BAD_REQUEST],
  [403, FORBIDDEN, ErrorClass.PERMISSION],
  [429, RATE_LIMITED, ErrorClass.RATE_LIMITED_MINUTE],
  [500, SERVER_ERROR, ErrorClass.SERVER_ERROR],
])('row 13: a %i is judged by its body (%j)', async (_status, failure, errorClass) => {
  const balancer = await withKeys(1);
  const [leaseId] = await leases(balancer, 1);
  expect((await fail(balancer, leaseId!, failure)).errorClass).toBe(errorClass);
});

test('row 15: in a pool with auto success a lease that nobody reports counts as a success', async () => {
  const balancer = await withKeys(1);
  const pool = { pool: 'default', autoSuccess: true };
  await balancer.keyAdmin.updatePool({ pool, updateMask: { paths: ['auto_success'] } });
  await balancer.keyBalancer.acquireKey({ leaseTtl: durationFromMs(1_000) });
  const usage = async () => {
    const { succeeded, expired } = (await keyOf(balancer)).usage!;
    return { succeeded, expired };
  };
  await expect.poll(usage).toEqual({ succeeded: 1n, expired: 0n });
});

test('row 16: what was acknowledged is there after a server was killed, with nothing saved by hand', async () => {
  const dataDir = tempDir();
  const server = await ServerProcess.start({ dataDir });
  const before = server.connect();
  await before.keyBalancer.importKeys({ keys: testKeys(3).map((apiKey) => ({ apiKey })) });
  const [leaseId] = await leases(before, 1);
  await succeed(before, leaseId!);
  await server.kill();
  const after = await connect({ dataDir, embedded: { warn() {} } });
  onTestFinished(() => after.close());
  const { total } = await after.keyBalancer.getStats({});
  expect(total).toMatchObject({ totalKeys: 3n, usage: { acquired: 1n, succeeded: 1n } });
});
