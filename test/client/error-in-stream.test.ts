import { expect, test } from 'vitest';
import { callOutcome } from '../../src/client/call-outcome.ts';
import { RequestWatch } from '../../src/client/request-watch.ts';
import { Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';

const CHUNK = 'data: {"candidates":[{"content":{"parts":[{"text":"You said"}]}}]}\r\n\r\n';
const ERROR =
  'data: [{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"The key AQ.test-key-000001 is spent."}}]\r\n\r\n';

/** Reads a stream that comes in these parts, as the SDK does, and judges the call. */
async function judged(parts: readonly string[]) {
  const watch = new RequestWatch();
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const part of parts) controller.enqueue(Buffer.from(part));
      controller.close();
    },
  });
  const respond = async (): Promise<Response> =>
    new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  const response = await watch.fetch(respond, undefined)('http://127.0.0.1/');
  const value = await response.text();
  expect(value).toBe(parts.join(''));
  return callOutcome({ value }, watch, { apiKey: 'AQ.test-key-000001', signal: undefined });
}

test('an error within a stream is reported wherever the network cuts it, and shows no key', async () => {
  const text = CHUNK + ERROR;
  for (let at = 1; at < text.length; at++) {
    const { outcome, error, geminis } = await judged([text.slice(0, at), text.slice(at)]);
    expect({ at, outcome, geminis }).toEqual({ at, outcome: Outcome.FAILURE, geminis: false });
    expect(error?.message, `cut at ${at}`).toBe('The key [redacted] is spent.');
  }
  const bytes = await judged([...text]);
  expect(bytes.error?.message).toBe('The key [redacted] is spent.');
});

test('what a model says of errors is none', async () => {
  const calls = { functionCall: { name: 'log', args: { error: { code: 500, message: 'boom', status: 'INTERNAL' } } } };
  const words = { text: 'data: {"error":{"code":500}}' };
  for (const part of [calls, words]) {
    const chunk = `data: ${JSON.stringify({ candidates: [{ content: { parts: [part] }, finishReason: 'STOP' }] })}\r\n\r\n`;
    expect(await judged([CHUNK, chunk, CHUNK.repeat(1_000)])).toMatchObject({ outcome: Outcome.SUCCESS });
  }
});
