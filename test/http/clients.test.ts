import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { expect, test } from 'vitest';
import { ErrorInfoSchema } from '../../src/gen/google/rpc/error_details_pb.ts';
import { KeyBalancerService, Outcome, WatchHealthResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { createServices } from '../../src/server/service/services.ts';
import { createKeyOrder } from '../support/orders.ts';
import { openDoor, serviceContext } from './door.ts';

const transports = {
  'Connect in binary': (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: '1.1' }),
  'Connect in JSON': (baseUrl: string) =>
    createConnectTransport({ baseUrl, httpVersion: '1.1', useBinaryFormat: false }),
  'gRPC-Web': (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: '1.1' }),
};

test.for(Object.entries(transports))('a client of %s acquires, reports and is refused', async ([, transport]) => {
  const context = await serviceContext();
  await context.store.createKey(createKeyOrder('AQ.test-key-000001', { maxConcurrentLeases: 1 }));
  const door = await openDoor(createServices(context), { context });
  const client = createClient(KeyBalancerService, transport(door.url));

  const { lease } = await client.acquireKey({ model: 'gemini-2.5-flash' });
  expect(lease).toMatchObject({ apiKey: 'AQ.test-key-000001', model: 'gemini-2.5-flash' });

  const refusal = await client.acquireKey({}).catch((error: unknown) => error as ConnectError);
  expect(refusal).toBeInstanceOf(ConnectError);
  if (!(refusal instanceof ConnectError)) return;
  expect(refusal.code).toBe(Code.ResourceExhausted);
  expect(refusal.findDetails(ErrorInfoSchema)).toMatchObject([
    { domain: 'keybalancer.v1', reason: 'NO_KEY_AVAILABLE', metadata: { cause: 'all_leased' } },
  ]);

  const report = { leaseId: lease!.leaseId, outcome: Outcome.SUCCESS };
  expect(await client.reportResult(report)).toMatchObject({ duplicate: false });
  expect(await client.reportResult(report)).toMatchObject({ duplicate: true });
});

test.for(Object.entries(transports))('a client of %s reads a stream to its end', async ([, transport]) => {
  const door = await openDoor({
    keyBalancer: {
      async *watchHealth() {
        for (const resumeToken of ['a', 'b', 'c']) yield create(WatchHealthResponseSchema, { resumeToken });
      },
    },
  });
  const client = createClient(KeyBalancerService, transport(door.url));
  const tokens: string[] = [];
  for await (const { resumeToken } of client.watchHealth({})) tokens.push(resumeToken);
  expect(tokens).toEqual(['a', 'b', 'c']);
});
