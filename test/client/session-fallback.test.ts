import { constants, createServer } from 'node:http2';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { expect, onTestFinished, test, vi } from 'vitest';
import { BalancerError } from '../../src/engine/errors.ts';
import { type AcquireKeyRequest, AcquireKeyResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { tempDir } from '../support/temp-dir.ts';
import { type Functions, listen, remote, SessionDesk, warned } from './scripted-balancer.ts';

/** Single acquires, counted. */
function singles(): { calls: AcquireKeyRequest[]; acquireKey: NonNullable<Functions['acquireKey']> } {
  const calls: AcquireKeyRequest[] = [];
  return {
    calls,
    acquireKey: async (request) => {
      calls.push(request);
      return create(AcquireKeyResponseSchema, { lease: { leaseId: 'single' } });
    },
  };
}

/** An address that nobody else takes while no server is there. */
function ownSocket(): string {
  return `unix:${join(tempDir(), 'balancer.sock')}`;
}

const realNow = performance.now.bind(performance);

/** Time as the client measures it is so much later than it is. */
function timeIs(ms: number): void {
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => realNow() + ms);
  onTestFinished(() => spy.mockRestore());
}

const leaseIdOf = async (call: Promise<{ lease?: { leaseId: string } | undefined }>): Promise<unknown> =>
  call.then(
    ({ lease }) => lease?.leaseId,
    (error) => error.code,
  );

test('a server without sessions is asked by single calls, says so once, and is tried again after minutes', async () => {
  const warnings = warned();
  const { calls, acquireKey } = singles();
  const { address, server } = await listen({ acquireKey }, { target: ownSocket() });
  const { keyBalancer } = remote(address);
  const answers = await Promise.all([keyBalancer.acquireKey({}), keyBalancer.acquireKey({})]);
  expect(answers.map(({ lease }) => lease?.leaseId)).toEqual(['single', 'single']);
  expect(await leaseIdOf(keyBalancer.acquireKey({}))).toBe('single');
  expect(calls).toHaveLength(3);
  await expect.poll(() => warnings).toHaveLength(1);
  expect(warnings[0]).toContain(`${address} gets each operation by a call of its own: it has no Session method`);

  // Tried again in vain, which is no news.
  timeIs(5 * 60_000);
  expect(await leaseIdOf(keyBalancer.acquireKey({}))).toBe('single');
  server.forceShutdown();
  timeIs(10 * 60_000 + 1_000);
  const desk = new SessionDesk();
  desk.obliging = true;
  await listen({ session: desk.session }, { target: address });
  await expect.poll(() => leaseIdOf(keyBalancer.acquireKey({ model: 'later' }))).toBe('lease-later');
  expect(warnings).toHaveLength(1);
});

/** Answers single acquires by itself, and resets whatever is opened as a Session stream, as a proxy may. */
async function resettingProxy(code: number): Promise<{ address: string; streams: () => number }> {
  let streams = 0;
  const bytes = toBinary(AcquireKeyResponseSchema, create(AcquireKeyResponseSchema, { lease: { leaseId: 'single' } }));
  const server = createServer().on('stream', (stream, headers) => {
    stream.on('error', () => {});
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    if (headers[':path']?.endsWith('/Session')) {
      streams++;
      stream.close(code);
      return;
    }
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, bytes.length]), bytes]));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as { port: number };
  return { address: `127.0.0.1:${port}`, streams: () => streams };
}

test.each([
  ['CANCEL', constants.NGHTTP2_CANCEL],
  ['INTERNAL_ERROR', constants.NGHTTP2_INTERNAL_ERROR],
  ['REFUSED_STREAM', constants.NGHTTP2_REFUSED_STREAM],
])('streams that are reset (%s), three in a row, give way to single calls that are answered', async (_, code) => {
  const warnings = warned();
  const { address, streams } = await resettingProxy(code);
  const { keyBalancer } = remote(address);
  const outcomes: unknown[] = [];
  while (outcomes.at(-1) !== 'single') outcomes.push(await leaseIdOf(keyBalancer.acquireKey({})));
  expect(outcomes).toEqual([...Array(3).fill('UNAVAILABLE'), 'single']);
  const opened = streams();
  await expect.poll(() => warnings).toHaveLength(1);
  expect(warnings[0]).toContain('its streams are cut, 3 in a row, while single calls are answered');
  expect(await leaseIdOf(keyBalancer.acquireKey({}))).toBe('single');
  expect(streams()).toBe(opened);
});

test('streams that end under their operations give way to single calls too', async () => {
  const { acquireKey } = singles();
  const desk = new SessionDesk();
  const { address } = await listen({
    acquireKey,
    session: (requests, call) => {
      const responses = desk.session(requests, call);
      desk.last.end();
      return responses;
    },
  });
  const { keyBalancer } = remote(address);
  const outcomes: unknown[] = [];
  for (let turn = 0; turn < 5; turn++) outcomes.push(await leaseIdOf(keyBalancer.acquireKey({})));
  expect(outcomes).toEqual([...Array(3).fill('UNAVAILABLE'), 'single', 'single']);
});

test('a server that fails at every stream is asked by single calls from then on', async () => {
  const { calls, acquireKey } = singles();
  let streams = 0;
  const { address } = await listen({
    acquireKey,
    // biome-ignore lint/correctness/useYield: it fails.
    session: async function* () {
      streams++;
      throw new Error('a bug');
    },
  });
  const { keyBalancer } = remote(address);
  for (let turn = 0; turn < 6; turn++) expect(await leaseIdOf(keyBalancer.acquireKey({}))).toBe('single');
  expect(streams).toBe(3);
  expect(calls).toHaveLength(6);
});

test('a server that is away is no reason to give up streams', async () => {
  const warnings = warned();
  const { acquireKey, calls } = singles();
  const first = await listen({ acquireKey }, { target: ownSocket() });
  first.server.forceShutdown();
  const { keyBalancer } = remote(first.address);
  for (let turn = 0; turn < 5; turn++) expect(await leaseIdOf(keyBalancer.acquireKey({}))).toBe('UNAVAILABLE');
  const desk = new SessionDesk();
  desk.obliging = true;
  await listen({ acquireKey, session: desk.session }, { target: first.address });
  await expect.poll(() => leaseIdOf(keyBalancer.acquireKey({ model: 'back' }))).toBe('lease-back');
  expect(calls).toEqual([]);
  expect(warnings).toEqual([]);
});

test('a stream that stays silent gives way to a single call', async () => {
  const { acquireKey } = singles();
  const { address } = await listen({
    acquireKey,
    // As a proxy that buffers does, it holds everything back.
    session: async function* (_, call) {
      await new Promise((resolve) => call.signal.addEventListener('abort', resolve));
    },
  });
  const { keyBalancer } = remote(address);
  expect(await leaseIdOf(keyBalancer.acquireKey({}))).toBe('single');
});

test('who is not let in is told so, and is not tried by single calls', async () => {
  const { acquireKey, calls } = singles();
  const { address } = await listen({
    acquireKey,
    // biome-ignore lint/correctness/useYield: it refuses.
    session: async function* () {
      throw new BalancerError('CREDENTIALS_INVALID', 'no such token');
    },
  });
  const call = remote(address).keyBalancer.acquireKey({});
  await expect(call).rejects.toMatchObject({ code: 'UNAUTHENTICATED', reason: 'CREDENTIALS_INVALID' });
  expect(calls).toEqual([]);
});
