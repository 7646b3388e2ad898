import { connect } from 'node:net';
import { create, fromBinary } from '@bufbuild/protobuf';
import { expect, onTestFinished, test } from 'vitest';
import { BalancerError } from '../../src/engine/errors.ts';
import { BadRequestSchema, ErrorInfoSchema } from '../../src/gen/google/rpc/error_details_pb.ts';
import { type AcquireKeyRequest, AcquireKeyResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { createServices } from '../../src/server/service/services.ts';
import { createKeyOrder } from '../support/orders.ts';
import { ACQUIRE, curl, IMPORT, openDoor, post, SESSION, serviceContext } from './door.ts';

const DETAILS = 'google.rpc.';

interface ErrorBody {
  code: string;
  message: string;
  details?: { type: string; value: string; debug: Record<string, unknown> }[];
}

test('curl acquires a key and reports its result in Connect JSON', async () => {
  const context = await serviceContext();
  await context.store.createKey(createKeyOrder('AQ.test-key-000001'));
  const door = await openDoor(createServices(context), { context });

  const json = ['-H', 'content-type: application/json', '--data'];
  const acquired = await curl(
    `${door.url}${ACQUIRE}`,
    ...json,
    '{"model": "models/gemini-2.5-flash", "leaseTtl": "30s"}',
  );
  expect(acquired.status).toBe(200);
  expect(acquired.headers['content-type']).toBe('application/json');
  const { lease } = JSON.parse(acquired.body);
  expect(lease).toMatchObject({ apiKey: 'AQ.test-key-000001', pool: 'default', model: 'gemini-2.5-flash' });

  const report = JSON.stringify({ leaseId: lease.leaseId, outcome: 'OUTCOME_SUCCESS' });
  const reported = await curl(`${door.url}/keybalancer.v1.KeyBalancerService/ReportResult`, ...json, report);
  expect(reported.status).toBe(200);
  expect(JSON.parse(reported.body).keyHealth.keyId).toBe(lease.keyId);
});

test('a refusal says its code, reason, fields and delay', async () => {
  const refusals: Record<string, BalancerError> = {
    busy: new BalancerError('NO_KEY_AVAILABLE', 'no key is free', {
      metadata: { pool: 'busy', cause: 'rate_limited' },
      retryDelayMs: 2500,
    }),
    wrong: new BalancerError('INVALID_FIELD', 'pool is "wrong"; allowed: "right"', {
      violations: [{ field: 'pool', description: 'is wrong' }],
    }),
  };
  const door = await openDoor({ keyBalancer: { acquireKey: async ({ pool }) => Promise.reject(refusals[pool]) } });

  const busy = await post(`${door.url}${ACQUIRE}`, { pool: 'busy' });
  expect(busy.status).toBe(429);
  expect(busy.headers.get('retry-after')).toBe('3');
  const busyBody = (await busy.json()) as ErrorBody;
  expect(busyBody).toMatchObject({ code: 'resource_exhausted', message: 'no key is free' });
  expect(busyBody.details?.map(({ type, debug }) => [type, debug])).toEqual([
    [
      `${DETAILS}ErrorInfo`,
      { domain: 'keybalancer.v1', reason: 'NO_KEY_AVAILABLE', metadata: { pool: 'busy', cause: 'rate_limited' } },
    ],
    [`${DETAILS}RetryInfo`, { retryDelay: '2.500s' }],
  ]);

  const wrong = await post(`${door.url}${ACQUIRE}`, { pool: 'wrong' });
  expect(wrong.status).toBe(400);
  const wrongBody = (await wrong.json()) as ErrorBody;
  expect(wrongBody).toMatchObject({ code: 'invalid_argument', message: 'pool is "wrong"; allowed: "right"' });
  const [info, badRequest] = (wrongBody.details ?? []).map(({ value }) => Buffer.from(value, 'base64'));
  expect(fromBinary(ErrorInfoSchema, info!)).toMatchObject({ domain: 'keybalancer.v1', reason: 'INVALID_FIELD' });
  expect(fromBinary(BadRequestSchema, badRequest!).fieldViolations).toMatchObject([
    { field: 'pool', description: 'is wrong' },
  ]);
  expect(door.faults).toEqual([]);
});

test('a fault inside is told to the log, and to the caller only that it happened', async () => {
  const fault = new Error('inner text about /var/lib');
  const door = await openDoor({ keyBalancer: { acquireKey: async () => Promise.reject(fault) } });
  const answer = await post(`${door.url}${ACQUIRE}`, {});
  expect(answer.status).toBe(500);
  expect(await answer.json()).toEqual({ code: 'internal', message: 'internal error; the server log says more' });
  expect(door.faults).toEqual([fault]);
});

test('a method without a function is unimplemented', async () => {
  const door = await openDoor({});
  const answer = await post(`${door.url}${ACQUIRE}`, {});
  expect(answer.status).toBe(501);
  expect(await answer.json()).toMatchObject({ code: 'unimplemented' });
});

test('Session says that it needs the gRPC port', async () => {
  const door = await openDoor({});
  const answer = await post(`${door.url}${SESSION}`, '', { 'content-type': 'application/connect+json' });
  expect(answer.status).toBe(505);
  expect(await answer.json()).toEqual({
    code: 'unimplemented',
    message: 'Session streams both ways at once, which HTTP/1.1 cannot; call it on the gRPC port',
  });
});

test('a message over 4 MiB is refused before it reaches a function, one below is taken', async () => {
  const seen: AcquireKeyRequest[] = [];
  const door = await openDoor({
    keyBalancer: {
      acquireKey: async (request) => {
        seen.push(request);
        return create(AcquireKeyResponseSchema);
      },
    },
  });
  const sized = (bytes: number): string => JSON.stringify({ pool: 'x'.repeat(bytes - '{"pool":""}'.length) });
  const limit = 4 * 1024 * 1024;
  expect((await post(`${door.url}${ACQUIRE}`, sized(limit))).status).toBe(200);
  expect(seen).toHaveLength(1);

  const answer = await post(`${door.url}${ACQUIRE}`, sized(limit + 1));
  expect(answer.status).toBe(429);
  expect(await answer.json()).toMatchObject({ code: 'resource_exhausted' });
  expect(seen).toHaveLength(1);
});

test.for(['Content-Length', 'Transfer-Encoding'])(
  'after a message that is too large, by %s, its connection goes on',
  async (by) => {
    const door = await openDoor({});
    const socket = connect(Number(door.address.split(':')[1]), '127.0.0.1');
    onTestFinished(() => {
      socket.destroy();
    });
    let received = '';
    socket.on('data', (data) => {
      received += data;
    });
    const chunk = 'x'.repeat(5 * 1024 * 1024);
    const chunked = by === 'Transfer-Encoding';
    socket.write(`POST ${ACQUIRE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`);
    socket.write(chunked ? 'Transfer-Encoding: chunked\r\n\r\n' : `Content-Length: ${3 * chunk.length}\r\n\r\n`);
    for (let i = 0; i < 3; i++) {
      socket.write(chunked ? `${chunk.length.toString(16)}\r\n${chunk}\r\n` : chunk);
    }
    if (chunked) socket.write('0\r\n\r\n');
    socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await expect.poll(() => received.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 429', 'HTTP/1.1 200']);
    expect(received).toContain('"code":"resource_exhausted"');
  },
);

test('a request that cannot be read is refused without quoting what may be a key', async () => {
  const door = await openDoor({ keyBalancer: { importKeys: async () => Promise.reject(new Error('reached')) } });
  const key = 'AQ.test-key-000001';
  const bodies = [
    `{"keys": ["${key}"]}`,
    `{"keys": {"${key}": 2}}`,
    `{"keys": [{"${key}": 2}]}`,
    `{"keys": [{"apiKey": "${key}", "weight": "${key}"}]}`,
    `{"onConflict": "${key}"}`,
    `{"keys": [{"apiKey": ${key}}]}`,
    `{"keys": [{"apiKey": "${key}"`,
    `{"keys": [{"labels": {"${key}": 1}}]}`,
    `{"keys": [], "${key}": 1, "${key}": 2}`,
    `${key}`,
    '',
  ];
  for (const body of bodies) {
    const answer = await post(`${door.url}${IMPORT}`, body);
    expect(answer.status, body).toBe(400);
    const error = (await answer.json()) as ErrorBody;
    expect(error.code).toBe('invalid_argument');
    expect(error.message).toContain('cannot decode');
    expect(error.message).not.toContain('test-key');
    expect(error.message).not.toContain('AQ.');
  }
  expect(door.faults).toEqual([]);
});

test('a misspelt field is named, not ignored', async () => {
  const door = await openDoor({});
  const answer = await post(`${door.url}${ACQUIRE}`, { leaseTTL: '30s' });
  expect(answer.status).toBe(400);
  expect(((await answer.json()) as ErrorBody).message).toContain('"leaseTTL" is unknown');
});

test('RPCs are taken by POST alone', async () => {
  const door = await openDoor({});
  for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS']) {
    const answer = await fetch(`${door.url}${ACQUIRE}?encoding=json&message=%7B%7D`, { method });
    expect(answer.status).toBe(405);
    expect(answer.headers.get('allow')).toBe('POST');
    expect(await answer.json()).toMatchObject({ message: `AcquireKey takes POST, not ${method}` });
  }
});
