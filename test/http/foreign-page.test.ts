import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { AcquireKeyResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { ACQUIRE, type CurlAnswer, curl, openDoor } from './door.ts';

/** A door whose function counts how often it was reached. */
async function countingDoor(host?: string) {
  const reached = { times: 0 };
  const keyBalancer = {
    acquireKey: async () => {
      reached.times++;
      return create(AcquireKeyResponseSchema);
    },
  };
  const door = await openDoor({ keyBalancer }, host === undefined ? {} : { host });
  const port = door.address.split(':').at(-1);
  const base = `http://127.0.0.1:${port}`;
  const acquire = (...headers: string[]): Promise<CurlAnswer> =>
    curl(
      `${base}${ACQUIRE}`,
      ...['content-type: application/json', ...headers].flatMap((each) => ['-H', each]),
      '--data',
      '{}',
    );
  return { reached, port, base, acquire };
}

function expectRefused(answer: CurlAnswer, header: string, value: string): void {
  expect(answer.status).toBe(403);
  const error = JSON.parse(answer.body);
  expect(error.code).toBe('permission_denied');
  expect(error.message).toContain(`the ${header} header is ${JSON.stringify(value)}; allowed: `);
}

test('on loopback a name that is not loopback is refused, whatever is asked for', async () => {
  const { acquire, reached, base } = await countingDoor();
  const names = [
    'evil.example',
    'evil.example:8051',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'localhost@evil.example',
    '10.0.0.1',
    '128.0.0.1',
    '[::2]',
    '0.0.0.0',
    'localhost:8051:evil.example',
  ];
  for (const name of names) expectRefused(await acquire(`Host: ${name}`), 'Host', name);
  expect(reached.times).toBe(0);
  for (const path of ['/healthz', '/readyz', '/metrics', '/unknown']) {
    expectRefused(await curl(`${base}${path}`, '-H', 'Host: evil.example'), 'Host', 'evil.example');
  }
});

test('on loopback every name of loopback is served, with any port', async () => {
  const { acquire, reached } = await countingDoor();
  const names = ['localhost', 'LOCALHOST:1', '127.0.0.1', '127.8.9.1:65535', '[::1]', '[::1]:8051'];
  for (const name of names) expect((await acquire(`Host: ${name}`)).status, name).toBe(200);
  expect(reached.times).toBe(names.length);
});

test('an origin other than the door itself is refused', async () => {
  const { acquire, reached, port } = await countingDoor();
  const origins = [
    'http://evil.example',
    `http://evil.example:${port}`,
    'http://127.0.0.1',
    `http://localhost:${port}`,
    'http://127.0.0.1:1',
    `http://127.0.0.1:${port}.evil.example`,
    `http://127.0.0.1:${port}@evil.example`,
    `ftp://127.0.0.1:${port}`,
    'null',
    'file://',
  ];
  for (const origin of origins) expectRefused(await acquire(`Origin: ${origin}`), 'Origin', origin);
  expect(reached.times).toBe(0);
  expect((await acquire(`Origin: http://127.0.0.1:${port}`)).status).toBe(200);
  expect((await acquire('Host: localhost', 'Origin: http://localhost:80')).status).toBe(200);
  expect((await acquire('Host: localhost:443', 'Origin: https://localhost')).status).toBe(200);
});

test('beyond loopback any host is served, but no page of another host', async () => {
  const { acquire, reached } = await countingDoor('0.0.0.0');
  expect((await acquire('Host: keys.example')).status).toBe(200);
  expect((await acquire('Host: keys.example', 'Origin: https://keys.example')).status).toBe(200);
  const foreign = await acquire('Host: keys.example', 'Origin: https://evil.example');
  expectRefused(foreign, 'Origin', 'https://evil.example');
  expect(reached.times).toBe(2);
  expect((await acquire('Host: a b')).status).toBe(400);
});

test('what a page may send across sites without asking does not reach a function', async () => {
  const { base, reached } = await countingDoor();
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', '']) {
    const answer = await curl(`${base}${ACQUIRE}`, '-H', `content-type: ${type}`, '--data', '{}');
    expect(answer.status).toBe(415);
    expect(JSON.parse(answer.body).message).toContain('allowed: application/json');
  }
  expect(reached.times).toBe(0);
});

test('no answer carries a CORS header, and none may be cached', async () => {
  const { base, acquire, port } = await countingDoor();
  const preflight = ['-X', 'OPTIONS', '-H', 'Access-Control-Request-Method: POST'];
  const own = `Origin: http://127.0.0.1:${port}`;
  const answers = [
    await acquire(),
    await acquire(own),
    await acquire('Origin: http://evil.example'),
    await curl(`${base}${ACQUIRE}`, '-H', 'content-type: text/plain', '-H', own, '--data', '{}'),
    await curl(`${base}${ACQUIRE}`, ...preflight, '-H', own),
    await curl(`${base}${ACQUIRE}`, ...preflight, '-H', 'Origin: http://evil.example'),
    await curl(`${base}/metrics`, '-H', own),
    await curl(`${base}/healthz`, ...preflight, '-H', own),
    await curl(`${base}/nothing`, '-H', own),
  ];
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 403, 415, 405, 403, 200, 405, 404]);
  for (const { headers } of answers) {
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control-'))).toEqual([]);
    expect(headers['cache-control']).toBe('no-store');
    expect(headers['x-content-type-options']).toBe('nosniff');
  }
});
