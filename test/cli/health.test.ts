import { expect, onTestFinished, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { connect } from '../../src/client/connect.ts';
import { ErrorClass, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { startFakeGemini } from '../fake-gemini/index.ts';
import { SAMPLES, textOf } from '../gemini/error-samples.ts';
import { type Served, startServe } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { tempDir } from '../support/temp-dir.ts';

const key = (n: number): string => `AQ.test-key-${String(n).padStart(6, '0')}`;

interface Pool {
  served: Served;
  balancer: Balancer;
  health(...args: string[]): ReturnType<typeof cliHere>;
}

/** A server with some keys. */
async function poolOf(keys: number, ...args: string[]): Promise<Pool> {
  const served = await startServe(tempDir(), ...args);
  const balancer = await connect({ address: served.grpc });
  onTestFinished(() => balancer.close());
  await balancer.keyBalancer.importKeys({
    keys: Array.from({ length: keys }, (_, index) => ({ apiKey: key(index + 1) })),
  });
  return { served, balancer, health: (...more) => cliHere(['health', '--address', served.grpc, ...more]) };
}

/** A call with the key that fails with a recorded error of Gemini's. */
async function fail({ balancer }: Pool, keyId: string, name: string): Promise<void> {
  const { lease } = await balancer.keyBalancer.acquireKey({ requireKeyId: keyId, model: 'gemini-2.5-flash' });
  const sample = SAMPLES.find((each) => each.name === name)!;
  const error = { body: textOf(sample), httpStatus: sample.httpStatus };
  await balancer.keyBalancer.reportResult({ leaseId: lease?.leaseId ?? '', outcome: Outcome.FAILURE, error });
}

test('while Gemini cannot be reached a suspected key stays in quarantine, and health says why and when it is asked again', async () => {
  const pool = await poolOf(2, '--gemini-base-url', 'http://127.0.0.1:1');
  await fail(pool, 'key-00000001', 'consumer_suspended_2026');
  await expect
    .poll(async () => (await pool.health()).stdout)
    .toMatch(
      /^default\t1\tquarantined until verified\tthe key was refused as suspended or leaked\tevery model\twhen Gemini takes it; Gemini could not be reached \d+ times?: network failed; asked again /m,
    );
  const { resting } = JSON.parse((await pool.health('--json')).stdout);
  expect(resting).toMatchObject([
    {
      state: 'KEY_STATE_QUARANTINED',
      cause: 'ERROR_CLASS_KEY_SUSPENDED',
      verification: { on: true, refusals: 0, unansweredClass: 'ERROR_CLASS_NETWORK' },
      firstBack: null,
      ends: expect.stringContaining('Gemini could not be reached'),
    },
  ]);
});

test('a key that Gemini refuses too is disabled, and stats tell that its reporter was right', async () => {
  const fake = await startFakeGemini({ keys: { [key(1)]: { behaviour: 'suspended' }, [key(2)]: {} } });
  onTestFinished(() => fake.close());
  const pool = await poolOf(2, '--gemini-base-url', fake.url);
  await fail(pool, 'key-00000001', 'consumer_suspended_2026');
  await expect
    .poll(async () => (await pool.health()).stdout)
    .toMatch(
      /^default\t1\tdisabled: found invalid or suspended\t.*\twhen an administrator resets or replaces the key$/m,
    );
  const stats = await cliHere(['stats', '--address', pool.served.grpc]);
  expect(stats.stdout).toMatch(/^CALLER\tQUARANTINED\tCONFIRMED\tREFUTED\t.*\nlocal\t\d+\t1\t0\t/m);
});

test('with verification off the report decides at once', async () => {
  const pool = await poolOf(2, '--verify', 'off', '--gemini-base-url', 'http://127.0.0.1:1');
  await fail(pool, 'key-00000001', 'consumer_suspended_2026');
  expect((await pool.health()).stdout).toMatch(/^default\t1\tdisabled: found invalid or suspended\t/m);
});

test('a spent day ends at midnight, and one call tries earlier', async () => {
  const pool = await poolOf(2);
  await fail(
    pool,
    'key-00000001',
    SAMPLES.find(({ errorClass }) => errorClass === ErrorClass.QUOTA_EXHAUSTED_DAY)!.name,
  );
  expect((await pool.health()).stdout).toMatch(
    /^default\t1\tavailable for other models\tdaily quota used up\tgemini-2\.5-flash, whole project\t.* left\); one call tries it from .* left$/m,
  );
});

test('a project that only an error named is shown as learned', async () => {
  const pool = await poolOf(1);
  const named = SAMPLES.find((sample) => /projects\/\d{4,}/.test(textOf(sample)) && sample.scope !== 'none')!;
  await fail(pool, 'key-00000001', named.name);
  const number = /projects\/(\d{4,})/.exec(textOf(named))![1];
  const { stdout } = await pool.health();
  expect(stdout).toContain(`PROJECT, AS GEMINI NAMED IT\tKEYS\n${number}\t1\n`);
  const listed = await cliHere(['list', '--address', pool.served.grpc]);
  expect(listed.stdout).toContain(`\t${number} (learned)\t`);
  expect(JSON.parse((await pool.health('--json')).stdout).learnedProjects).toEqual([{ project: number, keys: 1 }]);
});
