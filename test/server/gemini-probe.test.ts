import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { classify } from '../../src/gemini/classify.ts';
import { TransportFailure } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { createGeminiProbe } from '../../src/server/gemini-probe.ts';
import type { ProbeAnswer, ProbeOrder } from '../../src/store/probe.ts';
import { type FakeGemini, type KeyOptions, startFakeGemini } from '../fake-gemini/index.ts';
import { className, providerError } from '../gemini/provider-errors.ts';

const KEY = 'AQ.test-key-000001';

async function fakeWith(key: KeyOptions = {}): Promise<FakeGemini> {
  const fake = await startFakeGemini({ keys: { [KEY]: key } });
  onTestFinished(() => fake.close());
  return fake;
}

/** A server that is not Gemini, or not in a good way. */
async function serverWith(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function probe(baseUrl: string, order: Partial<ProbeOrder> = {}): Promise<ProbeAnswer> {
  return createGeminiProbe({ baseUrl })({ apiKey: KEY, model: '', modelsPageSize: 1, timeoutMs: 10_000, ...order });
}

function classOf({ error }: ProbeAnswer): string | undefined {
  return error && className(classify(providerError(error)).errorClass);
}

test('a key that Gemini takes lists models, or generates a token where a model is named', async () => {
  const fake = await fakeWith();
  const listed = await probe(fake.url);
  expect(listed.error).toBeUndefined();
  expect(listed.latencyMs).toBeGreaterThan(0);
  expect((await probe(fake.url, { model: 'gemini-2.5-flash' })).error).toBeUndefined();
  expect(fake.counts.log.map(({ apiKey, method, model }) => [apiKey, method, model])).toEqual([
    [KEY, 'models.list', undefined],
    [KEY, 'generateContent', 'gemini-2.5-flash'],
  ]);
});

test('as many models are listed as is asked for, and their list is read whole', async () => {
  const seen: unknown[] = [];
  const model = { name: 'models/gemini-2.5-flash', description: 'words '.repeat(300) };
  const baseUrl = await serverWith(({ url }, response) => {
    seen.push(url);
    response.end(JSON.stringify({ models: Array.from({ length: 100 }, () => model) }));
  });
  expect((await probe(baseUrl, { modelsPageSize: 100 })).error).toBeUndefined();
  expect(seen).toEqual(['/v1/models?pageSize=100']);
});

test('the key is in a header, never in the URL, and a base URL may have a path and end with a slash', async () => {
  const seen: Pick<IncomingMessage, 'method' | 'url' | 'headers'>[] = [];
  const baseUrl = await serverWith((request, response) => {
    seen.push(request);
    response.end(JSON.stringify(request.method === 'GET' ? { models: [] } : { candidates: [] }));
  });
  for (const model of ['', 'gemini-2.5-flash', 'tunedModels/mine']) {
    expect((await probe(`${baseUrl}/behind/a/proxy//`, { model })).error).toBeUndefined();
  }
  expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
    'GET /behind/a/proxy/v1/models?pageSize=1',
    'POST /behind/a/proxy/v1/models/gemini-2.5-flash:generateContent',
    'POST /behind/a/proxy/v1/tunedModels/mine:generateContent',
  ]);
  for (const { headers } of seen) expect(headers['x-goog-api-key']).toBe(KEY);
});

test('a model name with dots leads to no other part of the address', async () => {
  let asked = 0;
  const baseUrl = await serverWith((_request, response) => {
    asked++;
    response.end('{"candidates":[]}');
  });
  expect(classOf(await probe(`${baseUrl}/path`, { model: '../../other' }))).toBe('UNKNOWN');
  expect(asked).toBe(0);
});

test.each([
  ['key_invalid_json', 'KEY_INVALID', 400],
  ['consumer_suspended_2026', 'KEY_SUSPENDED', 403],
  ['internal_500', 'SERVER_ERROR', 500],
  ['bad_gateway_502_html', 'SERVER_ERROR', 502],
] as const)('%s is told with its status and body, and so judged %s', async (error, errorClass, httpStatus) => {
  const fake = await fakeWith({ behaviour: { error, on: ['models.list'] } });
  const answer = await probe(fake.url);
  expect(classOf(answer)).toBe(errorClass);
  expect(answer.error).toMatchObject({ httpStatus, body: expect.stringMatching(/./) });
});

test('a spent quota is an answer about the model, and a blocked prompt is one of success', async () => {
  const fake = await fakeWith({ behaviour: 'zeroQuota' });
  expect(classOf(await probe(fake.url, { model: 'gemini-2.5-flash' }))).toBe('QUOTA_ZERO');
  expect((await probe(fake.url)).error).toBeUndefined();
  const blocking = await serverWith((_request, response) =>
    response.end('{"promptFeedback":{"blockReason":"SAFETY"}}'),
  );
  expect((await probe(blocking, { model: 'm' })).error).toBeUndefined();
});

test.each([
  ['a page of HTML', 200, '<html><body>Log in to the network</body></html>'],
  ['a page of HTML with 403', 403, '<html><body>Blocked by policy</body></html>'],
  ['JSON of somebody else', 200, '{"status":"ok"}'],
  ['a list that is none', 200, '[]'],
  ['nothing', 204, ''],
] as const)('%s is no sign that the key lives, nor that it is dead', async (_name, status, body) => {
  const baseUrl = await serverWith((_request, response) => response.writeHead(status).end(body));
  for (const model of ['', 'gemini-2.5-flash']) {
    const answer = await probe(baseUrl, { model });
    expect(answer.error).toMatchObject({ httpStatus: status, body });
    expect(classOf(answer)).toBe('UNKNOWN');
  }
});

test('a redirect is not followed, so the key goes nowhere else', async () => {
  const elsewhere: string[] = [];
  const other = await serverWith((request, response) => {
    elsewhere.push(request.url ?? '');
    response.end('{"models":[{"name":"models/m"}]}');
  });
  const baseUrl = await serverWith((_request, response) =>
    response.writeHead(302, { location: `${other}/v1/models?key=${KEY}` }).end(),
  );
  const answer = await probe(baseUrl);
  expect(answer.error).toMatchObject({ httpStatus: 302, body: expect.stringContaining(`redirected to ${other}`) });
  expect(classOf(answer)).toBe('UNKNOWN');
  expect(elsewhere).toEqual([]);
  expect(JSON.stringify(answer)).not.toContain(KEY);
});

test('an answer that names the key is told without it', async () => {
  const error = {
    code: 400,
    message: `API key not valid. Please pass a valid API key. Was: ${KEY}`,
    status: 'INVALID_ARGUMENT',
    details: [{ reason: 'API_KEY_INVALID', domain: 'googleapis.com', metadata: { key: KEY } }],
  };
  const baseUrl = await serverWith((_request, response) => response.writeHead(400).end(JSON.stringify({ error })));
  const answer = await probe(baseUrl);
  expect(classOf(answer)).toBe('KEY_INVALID');
  expect(JSON.stringify(answer)).not.toContain(KEY);
});

test('of an endless answer only the beginning is read', async () => {
  let closed = (): void => {};
  const left = new Promise<void>((resolve) => {
    closed = resolve;
  });
  const baseUrl = await serverWith((_request, response) => {
    const more = (): void => {
      while (!response.destroyed && response.write('x'.repeat(16_384)));
    };
    response.on('drain', more).on('close', closed).writeHead(200);
    more();
  });
  const answer = await probe(baseUrl);
  expect(Buffer.byteLength(answer.error?.body ?? '')).toBe(16 * 1024);
  expect(classOf(answer)).toBe('UNKNOWN');
  await left;
});

test('no answer in time is a timeout, one that the caller gave up is cancelled', async () => {
  const fake = await fakeWith({ behaviour: { delayMs: Infinity } });
  const late = await probe(fake.url, { timeoutMs: 100 });
  expect(late.error).toMatchObject({ transportFailure: TransportFailure.TIMEOUT });
  const leaving = new AbortController();
  const given = probe(fake.url, { signal: leaving.signal });
  leaving.abort();
  expect((await given).error).toMatchObject({ transportFailure: TransportFailure.CANCELLED });
  expect((await probe(fake.url, { signal: leaving.signal })).error).toMatchObject({
    transportFailure: TransportFailure.CANCELLED,
  });
});

test('a server that is not there, or that breaks off, is a failure of the network', async () => {
  const closed = await startFakeGemini({});
  await closed.close();
  expect((await probe(closed.url)).error).toMatchObject({ transportFailure: TransportFailure.CONNECT });
  const fake = await fakeWith({ behaviour: { cut: 'beforeAnswer' } });
  expect((await probe(fake.url)).error).toMatchObject({ transportFailure: TransportFailure.RESET });
  const cutting = await serverWith((_request, response) => {
    response.writeHead(200, { 'content-length': '100' }).write('{"models":', () => response.destroy());
  });
  expect((await probe(cutting)).error).toMatchObject({ transportFailure: TransportFailure.CUT });
});

test('a key that cannot stand in a header is not said in the error', async () => {
  const fake = await fakeWith();
  const answer = await probe(fake.url, { apiKey: `${KEY}\n${KEY}` });
  expect(answer.error?.message).not.toBe('');
  expect(classOf(answer)).toBe('UNKNOWN');
  expect(JSON.stringify(answer)).not.toContain(KEY);
});
