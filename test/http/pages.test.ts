import { expect, test } from 'vitest';
import { curl, openDoor } from './door.ts';

test('/healthz says that the process lives, /readyz whether it can serve', async () => {
  let ready = false;
  const door = await openDoor({}, { ready: () => ready });
  const health = await fetch(`${door.url}/healthz`);
  expect([health.status, await health.json()]).toEqual([200, { status: 'ok' }]);
  const before = await fetch(`${door.url}/readyz`);
  expect([before.status, await before.json()]).toEqual([503, { status: 'not ready' }]);
  ready = true;
  const after = await fetch(`${door.url}/readyz`);
  expect([after.status, await after.json()]).toEqual([200, { status: 'ready' }]);
});

test('a probe may ask by HEAD and with a query', async () => {
  const door = await openDoor({});
  const answer = await curl(`${door.url}/healthz?probe=1`, '--head');
  expect([answer.status, answer.body]).toEqual([200, '']);
});

test('an unknown path is answered 404 in JSON that says what there is', async () => {
  const door = await openDoor({});
  for (const path of [
    '/',
    '/keybalancer.v1.KeyBalancerService/GiveKey',
    '/metrics/',
    '//healthz',
    '/__proto__',
    '/constructor',
  ]) {
    const answer = await curl(`${door.url}${path}`, '--path-as-is');
    expect(answer.status).toBe(404);
    expect(answer.headers['content-type']).toBe('application/json');
    const error = JSON.parse(answer.body);
    expect(error.code).toBe('unimplemented');
    expect(error.message).toContain(`nothing is at ${JSON.stringify(path)}; there are `);
  }
});

test('pages are read only', async () => {
  const door = await openDoor({});
  const answer = await fetch(`${door.url}/metrics`, { method: 'POST', body: 'x' });
  expect(answer.status).toBe(405);
  expect(answer.headers.get('allow')).toBe('GET, HEAD');
  expect(await answer.json()).toMatchObject({ message: '/metrics takes GET, not POST' });
});
