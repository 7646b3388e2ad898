import { createHmac } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pauseMs, retryAfterMs } from '../../../src/cli/bridge/backoff.ts';
import { Delivery, type DeliveryOptions } from '../../../src/cli/bridge/delivery.ts';
import type { BridgeEvent } from '../../../src/cli/bridge/event.ts';
import { Webhook } from '../../../src/cli/bridge/webhook.ts';
import { HealthEventKind, WatchHealthResponseSchema } from '../../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { eventsOf, type SinkAnswer, SinkServer } from '../../support/sink.ts';

function events(count: number): BridgeEvent[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `s-${index + 1}`,
    told: {
      health: create(WatchHealthResponseSchema, {
        event: { case: 'change', value: { kind: HealthEventKind.POOL_CHANGED, pool: `pool-${index + 1}` } },
      }),
    },
    resumeToken: `token-${index + 1}`,
    observedTime: 1,
  }));
}

/** A delivery to a sink of its own, and what it told. */
async function delivery({ secret, ...options }: Partial<DeliveryOptions> & { secret?: string } = {}) {
  const sink = await SinkServer.start();
  const told: string[] = [];
  const pauses: (number | undefined)[] = [];
  const made = new Delivery(
    new Webhook(new URL(`${sink.url}/hook?a=b`), { server: 'here', secret }),
    {
      headers: {},
      most: 100,
      timeoutMs: 20_000,
      pauseMs: (_, stated) => {
        pauses.push(stated);
        return 1;
      },
      ...options,
    },
    {
      delivered: (count) => told.push(`delivered ${count}`),
      refused: (count, why) => told.push(`refused ${count}: ${why}`),
      tooLarge: (count, most) => told.push(`too large ${count}, now ${most}`),
      failing: (why) => told.push(`failing: ${why}`),
      mended: (failures) => told.push(`mended after ${failures}`),
    },
  );
  const send = (sent: readonly BridgeEvent[], signal = new AbortController().signal) => made.send(sent, signal);
  return { sink, told, pauses, send };
}

/** Each answer in its turn, then 200. */
function inTurn(...answers: SinkAnswer[]): () => SinkAnswer {
  return () => answers.shift();
}

const drop = (response: ServerResponse): void => {
  response.socket?.destroy();
};

test('a batch is sent again, the same, until the sink answers 2xx, whatever it answered before', async () => {
  const { sink, told, send } = await delivery();
  const redirect = (response: ServerResponse) => response.writeHead(307, { location: `${sink.url}/else` }).end();
  sink.answer = inTurn(500, 401, 400, 403, 404, 503, redirect, drop, (response) => response.writeHead(204).end());
  await send(events(2));
  expect(sink.calls.map((call) => [call.path, eventsOf(call).map(({ id }) => id)])).toEqual(
    Array.from({ length: 9 }, () => ['/hook?a=b', ['s-1', 's-2']]),
  );
  expect(new Set(sink.calls.map(({ headers }) => headers['webhook-id']))).toEqual(new Set(['s-1.2']));
  expect(told).toEqual([
    'failing: it answers 500 Internal Server Error',
    'failing: it answers 401 Unauthorized; is a header missing, or out of date?',
    'failing: it answers 400 Bad Request; does it take this kind of request?',
    'failing: it answers 403 Forbidden; does the header give the right to write there?',
    'failing: it answers 404 Not Found; is the path right?',
    'failing: it answers 503 Service Unavailable',
    'failing: it answers 307 Temporary Redirect; redirects are not followed',
    expect.stringMatching(/^failing: .*UND_ERR_SOCKET|failing: .*ECONNRESET/),
    'mended after 8',
    'delivered 2',
  ]);
});

test('a sink that does not answer in time, or is not there, is asked again', async () => {
  const { sink, told, send } = await delivery({ timeoutMs: 500 });
  sink.answer = inTurn(
    () => {},
    // The beginning of an answer counts: the sink has the events.
    (response) => response.writeHead(200, { 'content-length': 10 }).write('begin'),
  );
  await send(events(1));
  expect(told[0]).toBe('failing: no answer within 0.5 s');
  expect(told.at(-1)).toBe('delivered 1');
  await sink.close();
  const again = send(events(1));
  await expect.poll(() => told.at(-1)).toMatch(/^failing: connect ECONNREFUSED 127\.0\.0\.1:\d+$/);
  await sink.open();
  await again;
  expect(told.at(-1)).toBe('delivered 1');
});

test('what is too large is sent in smaller batches, and none is as large again', async () => {
  const { sink, told, send } = await delivery({ most: 8 });
  sink.answer = (call) => (eventsOf(call).length > 3 ? 413 : undefined);
  await send(events(9));
  expect(sink.taken.map((call) => eventsOf(call).map(({ id }) => id))).toEqual([
    ['s-1', 's-2'],
    ['s-3', 's-4'],
    ['s-5', 's-6'],
    ['s-7', 's-8'],
    ['s-9'],
  ]);
  expect(told.slice(0, 3)).toEqual(['too large 8, now 4', 'too large 4, now 2', 'delivered 2']);
});

test('a single event that is too large is not skipped', async () => {
  const { sink, told, send } = await delivery();
  sink.answer = inTurn(413, 413);
  await send(events(1));
  expect(told[0]).toBe('failing: it answers 413 Payload Too Large; even a single event is too large for it');
  expect(told.at(-1)).toBe('delivered 1');
});

test('what the sink asks for in Retry-After is heard, in seconds and as a date', async () => {
  const { sink, pauses, send } = await delivery();
  const asked = (status: number, value: string) => (response: ServerResponse) =>
    response.writeHead(status, { 'retry-after': value }).end();
  sink.answer = inTurn(asked(429, '7'), asked(503, new Date(Date.now() + 3_600_000).toUTCString()), asked(429, 'soon'));
  await send(events(1));
  expect(pauses).toEqual([7_000, expect.closeTo(3_600_000, -5), undefined]);
});

test('pauses grow, are never the same for all, and keep what the sink asked for up to an hour', () => {
  expect([1, 2, 3, 8, 50].map((failures) => pauseMs(failures, undefined, 1))).toEqual([
    500, 1_000, 2_000, 60_000, 60_000,
  ]);
  expect(pauseMs(3, undefined, 0)).toBe(1_000);
  expect(pauseMs(1, 90_000, 0)).toBe(90_000);
  expect(pauseMs(1, 10 ** 9, 0)).toBe(3_600_000);
  expect(pauseMs(9, 1, 0)).toBe(30_000);
  const header = fc.oneof(
    fc.string(),
    fc.nat().map(String),
    fc.date({ noInvalidDate: true }).map((at) => at.toUTCString()),
  );
  fc.assert(
    fc.property(
      header,
      fc.integer({ min: 1 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (text, failures, random) => {
        const pause = pauseMs(failures, retryAfterMs(text, Date.now()), random);
        expect(pause).toBeGreaterThanOrEqual(250);
        expect(pause).toBeLessThanOrEqual(3_600_000);
      },
    ),
  );
});

test('given up in the middle, it ends, and what was not answered is not delivered', async () => {
  const { sink, told, send } = await delivery({ most: 1 });
  const giveUp = new AbortController();
  sink.answer = inTurn(undefined, () => giveUp.abort());
  await send(events(3), giveUp.signal);
  expect(told).toEqual(['delivered 1']);
});

test.each([
  ['a secret of any kind', 'of any kind', Buffer.from('of any kind')],
  [
    'one in base64, as Standard Webhooks writes it',
    `whsec_${Buffer.from('bytes').toString('base64')}`,
    Buffer.from('bytes'),
  ],
])('%s signs id, time and body', async (_, secret, key) => {
  const { sink, send } = await delivery({ secret, headers: { 'x-team': 'payments' } });
  await send(events(1));
  const { headers, body } = sink.calls[0]!;
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  expect(headers['webhook-signature']).toBe(`v1,${createHmac('sha256', key).update(signed).digest('base64')}`);
  expect(Math.abs(Number(headers['webhook-timestamp']) * 1000 - Date.now())).toBeLessThan(60_000);
  expect(headers).toMatchObject({ 'content-type': 'application/json', 'x-team': 'payments' });
  expect(headers['user-agent']).toMatch(/^keybalancer\/\d/);
  expect(JSON.parse(body.toString())).toMatchObject({
    source: 'keybalancer',
    server: 'here',
    sentAt: expect.stringMatching(/^\d{4}-.*Z$/),
    events: [{ id: 's-1', change: { kind: 'HEALTH_EVENT_KIND_POOL_CHANGED', pool: 'pool-1', merged: '0' } }],
  });
  expect(body.toString()).not.toContain('token-1');
});
