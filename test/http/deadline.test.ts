import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { BalancerError } from '../../src/engine/errors.ts';
import { type AcquireKeyResponse, AcquireKeyResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import type { CallContext } from '../../src/server/service/service-functions.ts';
import { createServices } from '../../src/server/service/services.ts';
import { createKeyOrder } from '../support/orders.ts';
import { ACQUIRE, openDoor, post, serviceContext } from './door.ts';

/** An acquire that waits until its signal is aborted, as one does that finds no key. */
function waiting(calls: CallContext[]): {
  acquireKey: (request: unknown, call: CallContext) => Promise<AcquireKeyResponse>;
} {
  return {
    acquireKey: (_request, call) => {
      calls.push(call);
      return new Promise((_resolve, reject) => {
        call.signal.addEventListener('abort', () =>
          reject(new BalancerError('OPERATION_CANCELLED', 'the caller went away')),
        );
      });
    },
  };
}

test('Connect-Timeout-Ms reaches the function, and the call ends by it', async () => {
  const calls: CallContext[] = [];
  const door = await openDoor({ keyBalancer: waiting(calls) });
  const answer = await post(`${door.url}${ACQUIRE}`, {}, { 'connect-timeout-ms': '2000' });
  expect(answer.status).toBe(504);
  expect(await answer.json()).toMatchObject({ code: 'deadline_exceeded' });
  expect(calls[0]?.caller).toBe('local');
  expect(calls[0]?.timeoutMs).toBeGreaterThan(0);
  expect(calls[0]?.timeoutMs).toBeLessThanOrEqual(2_000);
  expect(door.faults).toEqual([]);
});

test('a call without a deadline has no time limit', async () => {
  const calls: CallContext[] = [];
  const door = await openDoor({
    keyBalancer: {
      acquireKey: async (_request, call) => {
        calls.push(call);
        return create(AcquireKeyResponseSchema);
      },
    },
  });
  expect((await post(`${door.url}${ACQUIRE}`, {})).status).toBe(200);
  expect(calls[0]?.timeoutMs).toBeUndefined();
});

test('a deadline that is farther than a timer can wait for ends no call', async () => {
  const calls: CallContext[] = [];
  const door = await openDoor({ keyBalancer: waiting(calls) });
  const deadlines: Record<string, string>[] = [
    { 'content-type': 'application/json', 'connect-timeout-ms': '2147483648' },
    { 'content-type': 'application/json', 'connect-timeout-ms': '9999999999' },
    { 'content-type': 'application/grpc-web+proto', 'grpc-timeout': '99999999H' },
  ];
  for (const headers of deadlines) {
    const gone = new AbortController();
    // An empty message in a frame of gRPC-Web, and in JSON.
    const body = headers['connect-timeout-ms'] === undefined ? new Uint8Array(5) : '{}';
    const call = fetch(`${door.url}${ACQUIRE}`, { method: 'POST', headers, body, signal: gone.signal });
    const before = calls.length;
    await expect.poll(() => calls).toHaveLength(before + 1);
    const { signal, timeoutMs } = calls.at(-1)!;
    expect(timeoutMs).toBeUndefined();
    // A timer that fires at once would have done so by the time that another request was answered.
    await fetch(`${door.url}/healthz`);
    expect(signal.aborted).toBe(false);
    gone.abort();
    await expect(call).rejects.toThrow();
  }
});

test('a caller that goes away aborts the signal', async () => {
  const calls: CallContext[] = [];
  const door = await openDoor({ keyBalancer: waiting(calls) });
  const gone = new AbortController();
  const call = fetch(`${door.url}${ACQUIRE}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
    signal: gone.signal,
  });
  await expect.poll(() => calls).toHaveLength(1);
  expect(calls[0]?.signal.aborted).toBe(false);
  gone.abort();
  await expect(call).rejects.toThrow();
  await expect.poll(() => calls[0]?.signal.aborted).toBe(true);
  expect(door.faults).toEqual([]);
});

test('an acquire whose caller went away while it waited takes no key', async () => {
  const context = await serviceContext();
  const { store } = context;
  await store.createKey(createKeyOrder('AQ.test-key-000001', { maxConcurrentLeases: 1 }));
  const door = await openDoor(createServices(context), { context });
  const first = (await (await post(`${door.url}${ACQUIRE}`, {})).json()) as { lease: { leaseId: string } };

  const gone = new AbortController();
  const second = fetch(`${door.url}${ACQUIRE}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"maxWait": "30s"}',
    signal: gone.signal,
  });
  const stats = async () => (await store.stats({ pools: [], includeModels: false })).total;
  await expect.poll(async () => (await stats()).waitingAcquires).toBe(1);
  gone.abort();
  await expect(second).rejects.toThrow();
  await expect.poll(async () => (await stats()).waitingAcquires).toBe(0);

  const report = { leaseId: first.lease.leaseId, outcome: 'OUTCOME_SUCCESS' };
  expect((await post(`${door.url}/keybalancer.v1.KeyBalancerService/ReportResult`, report)).status).toBe(200);
  expect(await stats()).toMatchObject({ activeLeases: 0, usage: { acquired: 1, succeeded: 1 } });
});
