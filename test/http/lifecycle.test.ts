import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { create } from '@bufbuild/protobuf';
import { expect, onTestFinished, test } from 'vitest';
import { AcquireKeyResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import type { CallContext } from '../../src/server/service/service-functions.ts';
import { ACQUIRE, openDoor, post } from './door.ts';

/** An acquire that waits until the test says that it may end. */
function held() {
  const seen = { started: 0, end: () => {} };
  const ended = new Promise<void>((resolve) => {
    seen.end = resolve;
  });
  const acquireKey = async (_request: unknown, _call: CallContext) => {
    seen.started++;
    await ended;
    return create(AcquireKeyResponseSchema, { replayed: true });
  };
  return { seen, keyBalancer: { acquireKey } };
}

test('the address is the one that is listened on, with brackets for IPv6', async () => {
  const door = await openDoor({}, { host: '::1' });
  expect(door.address).toMatch(/^\[::1\]:[1-9]\d*$/);
  expect((await fetch(`http://${door.address}/healthz`)).status).toBe(200);
});

test('a port in use is an error that names the address', async () => {
  const first = await openDoor({});
  const port = Number(first.address.split(':')[1]);
  await expect(openDoor({}, { port })).rejects.toThrow(`cannot listen on 127.0.0.1:${port}: the port is in use`);
});

test('connections are kept for the next request, until the server drains', async () => {
  const door = await openDoor({ keyBalancer: { acquireKey: async () => create(AcquireKeyResponseSchema) } });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  const get = async (path: string): Promise<IncomingMessage> => {
    const [answer] = (await once(request(`${door.url}${path}`, { agent }).end(), 'response')) as [IncomingMessage];
    await once(answer.resume(), 'end');
    return answer;
  };
  const first = await get('/healthz');
  const second = await get('/readyz');
  expect(second.socket).toBe(first.socket);
  expect([second.statusCode, second.headers.connection]).toEqual([200, 'keep-alive']);

  door.drain();
  const third = await get('/readyz');
  expect([third.statusCode, third.headers.connection]).toEqual([503, 'close']);
  const report = await post(`${door.url}${ACQUIRE}`, {});
  expect([report.status, report.headers.get('connection')]).toEqual([200, 'close']);
});

test('close lets a running call end, and takes no more', async () => {
  const { seen, keyBalancer } = held();
  const door = await openDoor({ keyBalancer });
  const call = post(`${door.url}${ACQUIRE}`, {});
  await expect.poll(() => seen.started).toBe(1);
  let closed = false;
  const closing = door.close().then(() => {
    closed = true;
  });
  await expect.poll(() => fetch(`${door.url}/healthz`).catch(() => 'refused')).toBe('refused');
  expect(closed).toBe(false);
  seen.end();
  const answer = await call;
  expect([answer.status, await answer.json()]).toEqual([200, { replayed: true }]);
  await closing;
});

test('close does not wait for connections on which nothing runs', async () => {
  const door = await openDoor({});
  const port = Number(door.address.split(':')[1]);
  const silent = connect(port, '127.0.0.1');
  await once(silent, 'connect');
  const begun = connect(port, '127.0.0.1');
  begun.write('GET /healthz HTTP/1.1\r\nHost: local');
  const used = connect(port, '127.0.0.1');
  used.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await once(used, 'data');
  const ends = [silent, begun, used].map((socket) => {
    socket.on('error', () => {});
    return once(socket.resume(), 'close');
  });
  const start = performance.now();
  await door.close();
  expect(performance.now() - start).toBeLessThan(5_000);
  await Promise.all(ends);
});

test('close cuts a call that does not end, and its signal says so', async () => {
  const { seen, keyBalancer } = held();
  let signal: AbortSignal | undefined;
  const acquireKey: typeof keyBalancer.acquireKey = (_request, call) => {
    signal = call.signal;
    return keyBalancer.acquireKey(_request, call);
  };
  const door = await openDoor({ keyBalancer: { acquireKey } }, { lingerMs: 300 });
  const call = post(`${door.url}${ACQUIRE}`, {}).catch(() => 'cut');
  await expect.poll(() => seen.started).toBe(1);
  await door.close();
  expect(await call).toBe('cut');
  await expect.poll(() => signal?.aborted).toBe(true);
  seen.end();
});
