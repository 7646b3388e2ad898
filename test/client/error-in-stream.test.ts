import { expect, test } from 'vitest';
import { callOutcome } from '../../src/client/call-outcome.ts';
import { RequestWatch } from '../../src/client/request-watch.ts';
import { Outcome, TransportFailure } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';

const STREAM = 'http://127.0.0.1/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse';
const CHUNK = 'data: {"candidates":[{"content":{"parts":[{"text":"You said"}]}}]}\r\n\r\n';
const LAST = 'data: {"candidates":[{"finishReason":"STOP"}]}\r\n\r\n';
const ERROR =
  'data: [{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"The key AQ.test-key-000001 is spent."}}]\r\n\r\n';

/** Reads a stream that comes in these parts, as the SDK does, and judges a function that throws what it met, or says nothing of it. */
async function judged(parts: readonly string[], swallows = false) {
  const watch = new RequestWatch();
  let left = false;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const part of parts) controller.enqueue(Buffer.from(part));
    },
    pull: (controller) => controller.close(),
    cancel() {
      left = true;
    },
  });
  const respond = async (): Promise<Response> =>
    new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  const context = { apiKey: 'AQ.test-key-000001', signal: undefined };
  const response = await watch.fetch(respond, context)(STREAM, { method: 'POST' });
  const decoder = new TextDecoder();
  let text = '';
  let thrown: Error | undefined;
  try {
    for await (const bytes of response.body!) text += decoder.decode(bytes, { stream: true });
  } catch (error) {
    thrown = error as Error;
  }
  const ending = thrown === undefined || swallows ? { value: text } : { thrown };
  return { text, thrown, left, open: watch.figures.open, ...(await callOutcome(ending, watch, context)) };
}

test('an error within a stream ends it at its reader wherever the network cuts it, and shows no key', async () => {
  const text = CHUNK + ERROR;
  const expected = { outcome: Outcome.FAILURE, geminis: true, open: 0 };
  for (let at = 1; at < text.length; at++) {
    const seen = await judged([text.slice(0, at), text.slice(at)]);
    expect({ at, ...seen }).toMatchObject({ at, ...expected });
    // What the SDK was given of the event before it was known for an error is none to it.
    expect(seen.text.startsWith(CHUNK) && text.startsWith(seen.text), `cut at ${at}`).toBe(true);
    expect(seen.thrown, `cut at ${at}`).toMatchObject({ name: 'ApiError', status: 429 });
    expect(seen.thrown?.message, `cut at ${at}`).toMatch(
      /^got status: RESOURCE_EXHAUSTED\. .*The key \[redacted\] is spent/,
    );
    expect(seen.error?.message, `cut at ${at}`).toBe('The key [redacted] is spent.');
  }
  const bytes = await judged([...text]);
  expect(bytes).toMatchObject(expected);
  expect(bytes.error?.message).toBe('The key [redacted] is spent.');
});

test('what follows an error in a stream is not waited for', async () => {
  expect(await judged([CHUNK, ERROR, CHUNK])).toMatchObject({ text: CHUNK, left: true, open: 0 });
});

test('a stream that stops without saying why is broken', async () => {
  for (const parts of [[CHUNK], [CHUNK, CHUNK], [CHUNK + LAST.slice(0, 20)], []]) {
    const seen = await judged(parts);
    expect(seen).toMatchObject({ outcome: Outcome.FAILURE, geminis: true, open: 0 });
    expect(seen.thrown).toMatchObject({ name: 'TypeError', message: 'terminated' });
    expect(seen.error).toMatchObject({ transportFailure: TransportFailure.CUT });
  }
  expect(await judged([CHUNK, LAST])).toMatchObject({ thrown: undefined, outcome: Outcome.SUCCESS });
});

test('a function that swallows the failure of its stream is reported as failed, and is not run again', async () => {
  const refused = await judged([CHUNK, ERROR], true);
  expect(refused).toMatchObject({
    outcome: Outcome.FAILURE,
    geminis: false,
    error: { message: 'The key [redacted] is spent.' },
  });
  const cut = await judged([CHUNK], true);
  expect(cut).toMatchObject({
    outcome: Outcome.FAILURE,
    geminis: false,
    error: { transportFailure: TransportFailure.CUT },
  });
});

test('what a model says of errors is none', async () => {
  const calls = { functionCall: { name: 'log', args: { error: { code: 500, message: 'boom', status: 'INTERNAL' } } } };
  const words = { text: 'data: {"error":{"code":500}}' };
  for (const part of [calls, words]) {
    const chunk = `data: ${JSON.stringify({ candidates: [{ content: { parts: [part] }, finishReason: 'STOP' }] })}\r\n\r\n`;
    expect(await judged([CHUNK, chunk, CHUNK.repeat(1_000)])).toMatchObject({ outcome: Outcome.SUCCESS });
  }
});
