import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ApiError } from '@google/genai';
import { createKeyBalancer, KeyBalancerError } from 'keybalancer';

// One for the process, for all requests.
const balancer = createKeyBalancer();

const server = createServer(async (request, response) => {
  const question = new URL(request.url ?? '/', 'http://localhost').searchParams.get('q') ?? '';
  // Whoever hangs up ends the call to Gemini and its lease.
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  try {
    const stream = await balancer.genai().models.generateContentStream({
      model: 'gemini-2.5-flash',
      contents: question,
      config: { abortSignal: gone.signal },
    });
    for await (const chunk of stream) response.write(chunk.text ?? '');
    response.end();
  } catch (error) {
    if (response.headersSent) {
      // Too late to say anything: the reader sees that it is cut.
      response.destroy();
    } else if (error instanceof KeyBalancerError) {
      const seconds = Math.ceil((error.retryAfterMs ?? 1000) / 1000);
      response.writeHead(503, { 'retry-after': String(seconds) }).end(`no key is free: ${error.reason}\n`);
    } else {
      response.writeHead(error instanceof ApiError && error.status === 400 ? 400 : 502).end('Gemini did not answer\n');
    }
  }
});

async function stop(): Promise<void> {
  await new Promise((resolve) => server.close(resolve));
  await balancer.close();
}
process.once('SIGTERM', stop);

// So much for the server. One request to it, and its end.
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const { port } = server.address() as AddressInfo;
const answer = await fetch(`http://127.0.0.1:${port}/?q=Why+is+the+sky+blue%3F`);
console.log(answer.status, await answer.text());
await stop();
