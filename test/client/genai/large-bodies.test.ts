import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { apiKeys } from '../../support/orders.ts';
import { bench, MODEL } from './bench.ts';

const [ONE, TWO] = apiKeys(2) as [string, string];
const TOTAL = 100 * 1024 * 1024;
/** What may be on its way: buffers of the system's sockets, of the runtime, and ours. */
const ON_ITS_WAY = 16 * 1024 * 1024;

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>): Promise<string> {
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function write(response: ServerResponse, bytes: Buffer | string): Promise<void> {
  if (response.write(bytes) || response.destroyed) return;
  const over = new AbortController();
  const { signal } = over;
  await Promise.race([once(response, 'drain', { signal }), once(response, 'close', { signal })]);
  over.abort();
}

function client(baseUrl: string) {
  return bench({ [ONE]: {}, [TWO]: {} }, { genai: { httpOptions: { baseUrl } } });
}

test('a stream of 100 MB passes as its reader takes it, and its tokens are read from its end', async () => {
  const text = 'x'.repeat(256 * 1024);
  const chunk = `data: ${JSON.stringify({ candidates: [{ content: { parts: [{ text }] } }] })}\r\n\r\n`;
  let sent = 0;
  const made = await client(
    await serve(async (request, response) => {
      request.resume();
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (; sent < TOTAL; sent += chunk.length) await write(response, chunk);
      const last = {
        candidates: [{ finishReason: 'STOP' }],
        usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 4 },
      };
      response.end(`data: ${JSON.stringify(last)}\r\n\r\n`);
    }),
  );
  let read = 0;
  let most = 0;
  for await (const { text: part } of await made.ai.models.generateContentStream({ model: MODEL, contents: 'much' })) {
    read += part?.length ?? 0;
    most = Math.max(most, sent - read);
  }
  expect(read).toBeGreaterThanOrEqual(TOTAL * 0.99);
  expect(most).toBeLessThan(ON_ITS_WAY);
  expect(await made.endings()).toEqual({ acquired: 1, succeeded: 1 });
  expect(made.events.at(-1)).toMatchObject({ inputTokens: 3, outputTokens: 4 });
});

test('bytes that nobody takes are not taken from Gemini either', async () => {
  let sent = 0;
  let left = false;
  const part = Buffer.alloc(64 * 1024);
  const made = await client(
    await serve(async (request, response) => {
      request.resume();
      response.once('close', () => {
        left = true;
      });
      response.writeHead(200, { 'content-type': 'application/octet-stream' });
      for (; sent < TOTAL && !left; sent += part.length) await write(response, part);
      response.end();
    }),
  );
  const { fetch: leased } = (made.ai as unknown as { httpOptions: { fetch: typeof fetch; baseUrl: string } })
    .httpOptions;
  const baseUrl = (made.ai as unknown as { httpOptions: { baseUrl: string } }).httpOptions.baseUrl;
  const response = await leased(`${baseUrl}/v1/files/abc:download?alt=media`);
  const reader = response.body!.getReader();
  await reader.read();
  // It has come to a stop when nothing more is sent.
  let before = -1;
  await expect
    .poll(() => {
      const stopped = sent === before;
      before = sent;
      return stopped;
    })
    .toBe(true);
  expect(sent).toBeLessThan(ON_ITS_WAY);
  await reader.cancel();
  await expect.poll(() => left).toBe(true);
  expect(await made.endings()).toEqual({ acquired: 1, succeeded: 1 });
});

test('a message of 100 MB is handed on as it comes, and its tokens are read from its end', async () => {
  const piece = 'y'.repeat(1024 * 1024);
  const isHandedOn = Promise.withResolvers<void>();
  const made = await client(
    await serve(async (request, response) => {
      request.resume();
      response.writeHead(200, { 'content-type': 'application/json' });
      await write(response, '{"candidates":[{"content":{"parts":[{"text":"');
      for (let at = 0; at < 100; at++) {
        // No more comes before the caller has what is there.
        if (at === 50) await isHandedOn.promise;
        await write(response, piece);
      }
      response.end('"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}}');
    }),
  );
  const { fetch: leased, baseUrl } = (made.ai as unknown as { httpOptions: { fetch: typeof fetch; baseUrl: string } })
    .httpOptions;
  const response = await leased(`${baseUrl}/v1/models/${MODEL}:generateContent`, { method: 'POST', body: '{}' });
  isHandedOn.resolve();
  expect((await response.text()).length).toBeGreaterThan(100 * piece.length);
  expect(await made.endings()).toEqual({ acquired: 1, succeeded: 1 });
  expect(made.events.at(-1)).toMatchObject({ outputTokens: 2 });
});

test('a request of 40 MB is sent again whole where its body does not flow', async () => {
  const seen: string[] = [];
  const made = await client(
    await serve(async (request, response) => {
      const hash = createHash('sha256');
      for await (const part of request) hash.update(part as Buffer);
      seen.push(hash.digest('hex'));
      response.writeHead(seen.length === 1 ? 503 : 200, { 'content-type': 'application/json' });
      response.end(
        seen.length === 1 ? '{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}' : '{"candidates":[]}',
      );
    }),
  );
  const data = 'A'.repeat(40 * 1024 * 1024);
  await made.ai.models.generateContent({
    model: MODEL,
    contents: [{ inlineData: { mimeType: 'video/mp4', data } }, 'What is it?'],
  });
  expect(seen).toHaveLength(2);
  expect(seen[0]).toBe(seen[1]);
});
