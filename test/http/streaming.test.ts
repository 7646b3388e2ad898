import { connect } from 'node:net';
import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { BalancerError } from '../../src/engine/errors.ts';
import { type WatchHealthResponse, WatchHealthResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import type { CallContext } from '../../src/server/service/service-functions.ts';
import { curl, openDoor, WATCH } from './door.ts';

/** Frames of a stream: a byte of flags, four of length, then the message. */
function frame(message: unknown): Buffer<ArrayBuffer> {
  const body = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

function frames(bytes: Buffer): { flags: number; message: unknown }[] {
  const found: { flags: number; message: unknown }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    found.push({ flags: bytes[at]!, message: JSON.parse(bytes.subarray(at + 5, end).toString()) });
    at = end;
  }
  return found;
}

function watch(url: string, signal: AbortSignal | null = null): Promise<Response> {
  return fetch(`${url}${WATCH}`, {
    method: 'POST',
    headers: { 'content-type': 'application/connect+json' },
    body: frame({ pools: ['default'] }),
    signal,
  });
}

function event(resumeToken: string): WatchHealthResponse {
  return create(WatchHealthResponseSchema, { resumeToken });
}

test('each message of a stream arrives when it is given, not at the end', async () => {
  let next: (() => void) | undefined;
  const door = await openDoor({
    keyBalancer: {
      async *watchHealth({ pools }) {
        yield event(`first of ${pools}`);
        await new Promise<void>((resolve) => {
          next = resolve;
        });
        yield event('second');
      },
    },
  });
  const answer = await watch(door.url);
  expect(answer.headers.get('content-type')).toBe('application/connect+json');
  const reader = answer.body!.getReader();
  const first = await reader.read();
  expect(frames(Buffer.from(first.value!))).toEqual([{ flags: 0, message: { resumeToken: 'first of default' } }]);
  next?.();
  const rest: Uint8Array[] = [];
  for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) rest.push(chunk.value);
  expect(frames(Buffer.concat(rest))).toEqual([
    { flags: 0, message: { resumeToken: 'second' } },
    { flags: 2, message: {} },
  ]);
});

test('a refusal in a stream comes at its end, with its details', async () => {
  const door = await openDoor({
    keyBalancer: {
      // biome-ignore lint/correctness/useYield: a stream that is refused at once
      async *watchHealth() {
        throw new BalancerError('POOL_NOT_FOUND', 'pool "default" does not exist');
      },
    },
  });
  const answer = await watch(door.url);
  expect(answer.status).toBe(200);
  expect(frames(Buffer.from(await answer.arrayBuffer()))).toMatchObject([
    { flags: 2, message: { error: { code: 'not_found', details: [{ debug: { reason: 'POOL_NOT_FOUND' } }] } } },
  ]);
});

/** A stream that gives without end, and says when it was let go of. */
function endless(message: string) {
  const seen = { given: 0, ended: false, call: undefined as CallContext | undefined };
  const keyBalancer = {
    async *watchHealth(_request: unknown, call: CallContext) {
      seen.call = call;
      try {
        for (;;) {
          seen.given++;
          yield event(message);
        }
      } finally {
        seen.ended = true;
      }
    },
  };
  return { seen, keyBalancer };
}

test('a reader that goes away ends the function behind its stream', async () => {
  const { seen, keyBalancer } = endless('x');
  const door = await openDoor({ keyBalancer });
  const gone = new AbortController();
  const answer = await watch(door.url, gone.signal);
  await answer.body!.getReader().read();
  gone.abort();
  await expect.poll(() => seen.ended).toBe(true);
  expect(seen.call?.signal.aborted).toBe(true);
  expect(door.faults).toEqual([]);
});

test('a reader that never reads holds the function up, and ends it when it goes away', async () => {
  const { seen, keyBalancer } = endless('x'.repeat(64 * 1024));
  const door = await openDoor({ keyBalancer });
  const socket = connect(Number(door.address.split(':')[1]), '127.0.0.1');
  socket.pause();
  const body = frame({});
  socket.write(
    `POST ${WATCH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/connect+json\r\nContent-Length: ${body.length}\r\n\r\n`,
  );
  socket.write(body);
  // Held up: as many as the buffers of both ends take, then no more while other requests are served.
  let before = 0;
  let still = 0;
  await expect
    .poll(
      () => {
        still = seen.given > 0 && seen.given === before ? still + 1 : 0;
        before = seen.given;
        return still;
      },
      { interval: 200 },
    )
    .toBe(3);
  expect((await curl(`${door.url}/healthz`)).status).toBe(200);
  expect(seen.given).toBe(before);
  expect(seen.ended).toBe(false);
  socket.destroy();
  await expect.poll(() => seen.ended).toBe(true);
  expect(door.faults).toEqual([]);
});
