import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { GoogleGenAI } from '@google/genai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  describeThrown,
  MAX_BODY_BYTES,
  MAX_MESSAGE_BYTES,
  type ThrownContext,
} from '../../src/gemini/describe-thrown.ts';
import { TransportFailure } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { SAMPLES, textOf } from './error-samples.ts';
import { className, judged, restBody } from './provider-errors.ts';

const KEY = 'AQ.test-key-000001';

let server: Server;
let baseUrl: string;
let answer: (request: IncomingMessage, response: ServerResponse) => void;

beforeAll(async () => {
  server = createServer((request, response) => answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

function client(): GoogleGenAI {
  return new GoogleGenAI({ apiKey: KEY, vertexai: false, httpOptions: { baseUrl } });
}

const REQUEST = { model: 'gemini-2.5-flash', contents: 'hello' };

async function thrownBy(call: () => Promise<unknown>): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

const generate = (): Promise<unknown> => thrownBy(() => client().models.generateContent(REQUEST));

function stream(): Promise<unknown> {
  return thrownBy(async () => {
    for await (const _ of await client().models.generateContentStream(REQUEST));
  });
}

function interact(): Promise<unknown> {
  const call = { model: 'gemini-2.5-flash', input: 'hello' } as const;
  return thrownBy(() => Promise.resolve(client().interactions.create(call, { retries: { strategy: 'none' } })));
}

function answerWith(status: number, contentType: string, body: string): void {
  answer = (_, response) => response.writeHead(status, { 'content-type': contentType }).end(body);
}

/** How a thrown error is judged after it was described; undefined: as none of Gemini's. */
function judgedThrown(thrown: unknown, context?: ThrownContext): string | undefined {
  const description = describeThrown(thrown, context);
  return description === undefined ? undefined : judged(description);
}

describe('what the SDK throws for a recorded failure', () => {
  for (const sample of SAMPLES) {
    if (sample.httpStatus < 400) continue;
    test(`${sample.name} is known in each of its calls`, async () => {
      const expected = `${className(sample.errorClass)} ${sample.scope}`;
      const isJson = typeof sample.body === 'object';
      for (const contentType of [isJson ? 'application/json' : 'text/html', 'text/event-stream', 'text/plain']) {
        answerWith(sample.httpStatus, contentType, textOf(sample));
        expect([contentType, judgedThrown(await generate())]).toEqual([contentType, expected]);
        expect([contentType, judgedThrown(await stream())]).toEqual([contentType, expected]);
      }
      if (!isJson) return;
      answerWith(sample.httpStatus, 'application/json', textOf(sample));
      expect(judgedThrown(await interact())).toBe(expected);
      answerWith(sample.httpStatus, 'application/json', `[${textOf(sample)}]`);
      expect(judgedThrown(await generate())).toBe(expected);
      expect(judgedThrown(await interact())).toBe(expected);
    });
  }
});

describe('what the SDK throws without an answer', () => {
  test('an error in the middle of a stream is known by what it says', async () => {
    answerWith(200, 'text/event-stream', restBody(503, 'UNAVAILABLE', 'Overloaded.'));
    expect(judgedThrown(await stream())).toBe('OVERLOADED none');
  });

  test('a stream that is cut', async () => {
    answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: {"candidates":[{"content":', () => response.destroy());
    };
    expect(describeThrown(await stream())).toMatchObject({ transportFailure: TransportFailure.CUT });
  });

  test('a connection that is reset', async () => {
    answer = (_, response) => response.destroy();
    const description = describeThrown(await generate());
    expect(description).toMatchObject({ transportFailure: TransportFailure.RESET, body: '' });
    expect(description?.message).toMatch(/^TypeError: fetch failed: /);
    expect(describeThrown(await interact())).toMatchObject({ transportFailure: TransportFailure.RESET });
  });

  test('a connection that is refused', async () => {
    const nobody = createServer();
    await new Promise<void>((resolve) => nobody.listen(0, '127.0.0.1', resolve));
    const { port } = nobody.address() as AddressInfo;
    await new Promise((resolve) => nobody.close(resolve));
    const ai = new GoogleGenAI({ apiKey: KEY, vertexai: false, httpOptions: { baseUrl: `http://127.0.0.1:${port}` } });
    const thrown = await thrownBy(() => ai.models.generateContent(REQUEST));
    expect(describeThrown(thrown)).toMatchObject({ transportFailure: TransportFailure.CONNECT });
  });

  test('a time limit, and an abort by the caller, which only the caller can tell apart', async () => {
    answer = () => {};
    const thrown = await thrownBy(() =>
      client().models.generateContent({ ...REQUEST, config: { httpOptions: { timeout: 50 } } }),
    );
    expect(describeThrown(thrown)).toMatchObject({ transportFailure: TransportFailure.TIMEOUT });
    expect(judgedThrown(thrown)).toBe('TIMEOUT none');
    expect(judgedThrown(thrown, { cancelled: true })).toBe('CANCELLED none');
    expect(judgedThrown(thrown, { cancelled: false })).toBe('TIMEOUT none');
  });

  test.each(['', '{"candidates": [', 'not json'])('an answer with broken JSON: "%s"', async (body) => {
    for (const status of [200, 500]) {
      answerWith(status, 'application/json', body);
      expect(judgedThrown(await generate())).toBe('SERVER_ERROR none');
    }
  });

  test.each([
    ['application/json', 429, 'RATE_LIMITED_MINUTE project-model'],
    ['text/plain', 429, 'RATE_LIMITED_MINUTE project-model'],
    ['application/json', 401, 'KEY_INVALID key'],
    ['text/html', 503, 'OVERLOADED none'],
    ['text/html', 200, 'SERVER_ERROR none'],
    ['text/plain', 302, 'SERVER_ERROR none'],
  ])('an interaction whose answer is empty, of %s and %i', async (contentType, status, expected) => {
    answerWith(status, contentType, '');
    const thrown = await interact();
    expect(judgedThrown(thrown)).toBe(expected);
    expect(describeThrown(thrown)?.message ?? '').not.toContain('httpMeta');
  });

  test('an interaction whose answer is a page', async () => {
    answerWith(200, 'text/html', '<html>Welcome to the hotel</html>');
    expect(judgedThrown(await interact())).toBe('SERVER_ERROR none');
    answerWith(502, 'text/html', '<html>Bad gateway</html>');
    expect(judgedThrown(await interact())).toBe('SERVER_ERROR none');
  });

  test('a time limit of an interaction', async () => {
    answer = () => {};
    const call = { model: 'gemini-2.5-flash', input: 'hello' } as const;
    const options = { retries: { strategy: 'none' }, timeout: 50 } as const;
    const thrown = await thrownBy(() => Promise.resolve(client().interactions.create(call, options)));
    expect(judgedThrown(thrown)).toBe('TIMEOUT none');
  });

  test('an upload whose answers are not as they should be', async () => {
    const upload = (): Promise<unknown> =>
      thrownBy(() => client().files.upload({ file: new Blob(['x']), config: { mimeType: 'text/plain' } }));
    answerWith(200, 'application/json', '{}');
    expect(judgedThrown(await upload())).toBe('SERVER_ERROR none');
    answer = (_, response) => {
      const headers = { 'x-goog-upload-url': `${baseUrl}/upload`, 'x-goog-upload-status': 'active' };
      response.writeHead(200, { 'content-type': 'application/json', ...headers }).end('{}');
    };
    expect(judgedThrown(await upload())).toBe('SERVER_ERROR none');
    answerWith(403, 'application/json', restBody(403, 'PERMISSION_DENIED', 'Your API key was reported as leaked.'));
    expect(judgedThrown(await upload())).toBe('KEY_SUSPENDED key');
  });

  test('a download that is refused', async () => {
    const message = 'You do not have permission to access the File x or it may not exist.';
    answerWith(403, 'text/plain', restBody(403, 'PERMISSION_DENIED', message));
    const thrown = await thrownBy(() => client().files.download({ file: 'files/x', downloadPath: '/dev/null' }));
    expect(judgedThrown(thrown)).toBe('RESOURCE_MISMATCH none');
  });

  test('a file that was only written in part, and a session that is not open', () => {
    const premature = Object.assign(new Error('Premature close'), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
    expect(describeThrown(premature)).toMatchObject({ transportFailure: TransportFailure.CUT });
    expect(judgedThrown(new Error('WebSocket is not connected'))).toBe('NETWORK none');
  });

  test('a live session that ended, and one that was refused', () => {
    const ended = new Error(
      'Live connection closed before setup completed (code 1008): API key not valid. Please pass a valid API key.',
    );
    expect(describeThrown(ended)).toMatchObject({
      closeCode: 1008,
      message: 'API key not valid. Please pass a valid API key.',
    });
    expect(judgedThrown(ended)).toBe('KEY_INVALID key');
    const refused = new Error('Live connection failed before setup completed: Unexpected server response: 503');
    expect(judgedThrown(refused)).toBe('OVERLOADED none');
    expect(judgedThrown(new Error('Unexpected server response: 503'))).toBe('OVERLOADED none');
    expect(judgedThrown(new Error('Live connection failed before setup completed: WebSocket error'))).toBe(
      'NETWORK none',
    );
    expect(judgedThrown({ code: 1011, reason: 'Your prepayment credits are depleted.', wasClean: true })).toBe(
      'BILLING project',
    );
  });
});

describe('what a function throws by itself', () => {
  const parsed = (text: string): Promise<unknown> => thrownBy(async () => JSON.parse(text));

  test('is none of Gemini’s', async () => {
    const mistakes: unknown[] = [
      new TypeError("Cannot read properties of undefined (reading 'text')"),
      new RangeError('Invalid array length'),
      new Error('the summary is too short'),
      new Error('{"code":"too_small","message":"Required"}'),
      Object.assign(new Error('[{"code":"invalid_type","message":"Required","path":["a"]}]'), { name: 'ZodError' }),
      Object.assign(new Error('relation "x" does not exist'), { code: '42P01' }),
      Object.assign(new Error('Not Found'), { status: 404 }),
      // Another provider's SDK, whose classes are called like those of the interactions.
      Object.assign(new Error('429 Rate limited'), { name: 'RateLimitError', status: 429, error: {}, headers: {} }),
      await parsed('what the model wrote'),
      await parsed('{"a":\nnode:internal/deps/undici @google/genai'),
      'a string',
      42,
      null,
      undefined,
      Symbol('x'),
      { error: { message: 'x' } },
      { error: 'x' },
      () => {},
    ];
    for (const mistake of mistakes) expect([mistake, describeThrown(mistake)]).toEqual([mistake, undefined]);
  });

  test('is Gemini’s when one of its errors is the cause', async () => {
    answerWith(429, 'application/json', restBody(429, 'RESOURCE_EXHAUSTED', 'Quota.'));
    const cause = await generate();
    expect(judgedThrown(new Error('no summary', { cause: new Error('no answer', { cause }) }))).toBe(
      'RATE_LIMITED_MINUTE project-model',
    );
    expect(judgedThrown(new Error((cause as Error).message))).toBe('RATE_LIMITED_MINUTE project-model');
  });

  test('never makes it throw, even if reading it does', () => {
    const hostile = new Proxy(
      {},
      {
        get: () => {
          throw new Error('no');
        },
      },
    );
    const circular: { error: object; cause?: unknown } = { error: { message: 'x', code: 8 } };
    circular.cause = circular;
    Object.assign(circular.error, { circular });
    expect(describeThrown(hostile)).toBeUndefined();
    expect(describeThrown(circular)).toBeUndefined();
  });
});

describe('the description', () => {
  test('never holds the key, in whatever the SDK throws', async () => {
    for (const contentType of ['application/json', 'text/plain']) {
      answer = (request, response) => {
        const url = `https://x/v1?key=${KEY}`;
        const message = `Permission denied: Consumer 'api_key:${request.headers['x-goog-api-key']}' has been suspended. ${url}`;
        response.writeHead(403, { 'content-type': contentType }).end(restBody(403, 'PERMISSION_DENIED', message));
      };
      for (const thrown of [await generate(), await stream(), await interact()]) {
        const description = describeThrown(thrown, { apiKey: KEY })!;
        expect(JSON.stringify(description)).not.toContain('test-key');
        expect(judged(description)).toBe('KEY_SUSPENDED key');
      }
    }
  });

  test('is within the limits of a report, in bytes, and says Gemini’s own words', async () => {
    answerWith(400, 'text/plain', restBody(400, 'INVALID_ARGUMENT', `Bad. ${'é€😀'.repeat(100_000)}`));
    const description = describeThrown(await generate(), { apiKey: KEY })!;
    const bytes = (text: string | undefined): number => Buffer.byteLength(text ?? '');
    expect(bytes(description.body)).toBeLessThanOrEqual(MAX_BODY_BYTES);
    expect(bytes(description.body)).toBeGreaterThan(MAX_BODY_BYTES - 4);
    expect(bytes(description.message)).toBeLessThanOrEqual(MAX_MESSAGE_BYTES);
    expect(description.message).toMatch(/^Bad\. é/);
    expect(description.httpStatus).toBe(400);
    expect(judged(description)).toBe('BAD_REQUEST none');
  });
});
