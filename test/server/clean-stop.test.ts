import { isMessage } from '@bufbuild/protobuf';
import { durationFromMs, TimestampSchema, timestampMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { ErrorClass, KeyState, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { importKeys } from '../support/server-clients.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { allKeys } from './ledger.ts';

const LONG = durationFromMs(600_000);
const RATE_LIMITED = {
  httpStatus: 429,
  body: JSON.stringify({
    error: {
      code: 429,
      status: 'RESOURCE_EXHAUSTED',
      message: 'You exceeded your current quota.',
      details: [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '600s' }],
    },
  }),
};

/** All that the server tells of its keys and pools, but for what passes with the process; and the times in that, in milliseconds. */
async function picture(balancer: Balancer): Promise<{ shown: unknown; times: number[] }> {
  const { total } = await balancer.keyBalancer.getStats({ includeModels: true });
  const { acquireLatency: _, providerLatency: __, ...stats } = total!;
  const times: number[] = [];
  const timeless = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(timeless);
    if (typeof value !== 'object' || value === null) return value;
    if (isMessage(value, TimestampSchema)) return `time ${times.push(timestampMs(value))}`;
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, timeless(field)]));
  };
  return { shown: timeless({ stats, keys: await allKeys(balancer) }), times };
}

describe.each(['SIGTERM', 'SIGINT'] as const)('a server that is stopped by %s', (signal) => {
  test('ends with 0 within 10 s and loses nothing: sums, turns, leases, cooldowns and affinities go on', async () => {
    const dataDir = tempDir();
    const first = await ServerProcess.start({ dataDir });
    const before = first.connect();
    const { keyBalancer } = before;
    await importKeys(before, 12);
    const take = async (request = {}): Promise<{ leaseId: string; keyId: string }> =>
      (await keyBalancer.acquireKey({ leaseTtl: LONG, ...request })).lease!;
    const turns: string[] = [];
    for (let index = 0; index < 30; index++) {
      const { leaseId, keyId } = await take();
      turns.push(keyId);
      const failed = index % 7 === 0;
      await keyBalancer.reportResult({
        leaseId,
        outcome: failed ? Outcome.FAILURE : Outcome.SUCCESS,
        usage: { inputTokens: 10n, outputTokens: 20n },
        ...(failed ? { error: { httpStatus: 400, status: 'INVALID_ARGUMENT' } } : {}),
      });
    }
    // Equal keys take turns.
    expect(turns.slice(12, 24)).toEqual(turns.slice(0, 12));
    const limited = await take();
    await keyBalancer.reportResult({ leaseId: limited.leaseId, outcome: Outcome.FAILURE, error: RATE_LIMITED });
    const bound = await take({ affinityKey: 'conversation-1' });
    const open = [bound, await take(), await take({ model: 'gemini-2.5-pro' })];
    const { shown, times } = await picture(before);

    const stopping = performance.now();
    expect(await first.stop(signal)).toEqual({ code: 0, signal: null });
    expect(performance.now() - stopping).toBeLessThan(30_000);
    const second = await ServerProcess.start({ dataDir });
    const after = second.connect();
    const restored = await picture(after);
    expect(restored.shown).toEqual(shown);
    expect(Math.max(...restored.times.map((time, index) => Math.abs(time - times[index]!)))).toBeLessThan(5);
    const { key } = await after.keyAdmin.getKey({ keyId: limited.keyId });
    expect(key!.health).toMatchObject({ state: KeyState.COOLING, lastErrorClass: ErrorClass.RATE_LIMITED_MINUTE });
    const { leases } = await after.keyAdmin.listLeases({});
    expect(leases.map(({ keyId }) => keyId).sort()).toEqual(open.map(({ keyId }) => keyId).sort());
    for (const { leaseId } of open) {
      const report = { leaseId, outcome: Outcome.SUCCESS };
      expect(await after.keyBalancer.reportResult(report)).toMatchObject({ duplicate: false, late: false });
      expect(await after.keyBalancer.reportResult(report)).toMatchObject({ duplicate: true });
    }
    // As it would have gone on: the twelve in turn, but for the one that rests.
    const next: string[] = [];
    for (let index = 0; index < 11; index++) next.push((await after.keyBalancer.acquireKey({})).lease!.keyId);
    const at = turns.indexOf(open[1]!.keyId) + 1;
    const onwards = [...turns.slice(at, 12), ...turns.slice(0, at)];
    expect(next).toEqual(onwards.filter((id) => id !== limited.keyId));
    const again = await after.keyBalancer.acquireKey({ affinityKey: 'conversation-1' });
    expect(again.lease).toMatchObject({ keyId: bound.keyId, affinityHit: true });
  });
});
