import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { expect, test } from 'vitest';
import { ErrorInfoSchema } from '../../src/gen/google/rpc/error_details_pb.ts';
import { KeyBalancerService } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { createServices } from '../../src/server/service/services.ts';
import { createKeyOrder } from '../support/orders.ts';
import { openDoor, serviceContext } from './door.ts';

async function watchedDoor() {
  const draining = new AbortController();
  const context = { ...(await serviceContext()), draining: draining.signal };
  await context.store.createKey(createKeyOrder('AQ.test-key-000001'));
  const door = await openDoor(createServices(context), { context });
  const transport = createConnectTransport({ baseUrl: door.url, httpVersion: '1.1', useBinaryFormat: false });
  return { context, draining, door, client: createClient(KeyBalancerService, transport) };
}

test('a watcher in JSON gets the snapshot, then a change, and is let go of when it leaves', async () => {
  const { context, client, door } = await watchedDoor();
  const gone = new AbortController();
  const events = client.watchHealth({}, { signal: gone.signal })[Symbol.asyncIterator]();
  const snapshot = (await events.next()).value?.event;
  expect(snapshot).toMatchObject({ case: 'snapshot', value: { keys: [{ pool: 'default' }] } });
  expect(context.open.watchers).toBe(1);

  const added = await context.store.createKey(createKeyOrder('AQ.test-key-000002'));
  // That the pool has a key at last may be told before.
  const keys: (string | undefined)[] = [];
  while (!keys.includes(added.keyId)) {
    const event = (await events.next()).value?.event;
    keys.push(event?.case === 'change' ? event.value.key?.keyId : undefined);
  }
  expect(keys.length).toBeLessThanOrEqual(2);

  gone.abort();
  await expect(events.next()).rejects.toThrow();
  await expect.poll(() => context.open.watchers).toBe(0);
  expect(door.faults).toEqual([]);
});

test('a drain ends the stream with UNAVAILABLE and DRAINING, and then the door closes at once', async () => {
  const { draining, client, door } = await watchedDoor();
  const events = client.watchHealth({})[Symbol.asyncIterator]();
  await events.next();
  door.drain();
  draining.abort();
  // What was ready to be told still comes.
  const toItsEnd = async (): Promise<void> => {
    while (!(await events.next()).done);
  };
  const error = await toItsEnd().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ConnectError);
  if (!(error instanceof ConnectError)) return;
  expect(error.code).toBe(Code.Unavailable);
  expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: 'DRAINING' }]);
  const start = performance.now();
  await door.close();
  expect(performance.now() - start).toBeLessThan(5_000);
});
