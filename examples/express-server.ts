import type { AddressInfo } from 'node:net';
import { ApiError } from '@google/genai';
import express, { type ErrorRequestHandler } from 'express';
import { createKeyBalancer, KeyBalancerError } from 'keybalancer';

// One for the process, for all requests.
const balancer = createKeyBalancer();
const app = express();

app.get('/', async (request, response) => {
  // Whoever hangs up ends the call to Gemini and its lease.
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const stream = await balancer.genai().models.generateContentStream({
    model: 'gemini-2.5-flash',
    contents: String(request.query.q ?? ''),
    config: { abortSignal: gone.signal },
  });
  for await (const chunk of stream) response.write(chunk.text ?? '');
  response.end();
});

// What a handler rejects with comes here.
const refuse: ErrorRequestHandler = (error, _request, response, _next) => {
  if (response.headersSent) {
    // Too late to say anything: the reader sees that it is cut.
    response.destroy();
  } else if (error instanceof KeyBalancerError) {
    const seconds = Math.ceil((error.retryAfterMs ?? 1000) / 1000);
    response.status(503).set('retry-after', String(seconds)).send(`no key is free: ${error.reason}\n`);
  } else {
    response.status(error instanceof ApiError && error.status === 400 ? 400 : 502).send('Gemini did not answer\n');
  }
};
app.use(refuse);

const server = app.listen(0, '127.0.0.1');

async function stop(): Promise<void> {
  await new Promise((resolve) => server.close(resolve));
  await balancer.close();
}
process.once('SIGTERM', stop);

// So much for the server. One request to it, and its end.
await new Promise((resolve) => server.once('listening', resolve));
const { port } = server.address() as AddressInfo;
const answer = await fetch(`http://127.0.0.1:${port}/?q=Why+is+the+sky+blue%3F`);
console.log(answer.status, await answer.text());
await stop();
