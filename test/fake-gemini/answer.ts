import type { ServerResponse } from 'node:http';
import type { Ending } from './counts.ts';
import type { ErrorTemplate, Wrapping } from './errors.ts';
import type { Plan } from './plan.ts';

/** What a route answers; how it gets to the client is the plan's. */
export type Answer =
  | { kind: 'error'; error: ErrorTemplate }
  | { kind: 'json'; body: unknown; headers?: Record<string, string> }
  | { kind: 'bytes'; bytes: Buffer; contentType: string }
  | { kind: 'stream'; format: 'sse' | 'array'; chunks: readonly unknown[] };

/** Called once, just before the client can see the end, so that counts are there when it looks. */
type Ended = (status: number, ending: Ending) => void;

interface Whole {
  status: number;
  contentType: string;
  body: string | Buffer;
  headers?: Record<string, string>;
}

const JSON_TYPE = 'application/json; charset=UTF-8';
/** setTimeout takes no more; beyond it the fake waits for good. */
const LONGEST_MS = 2 ** 31 - 1;

/** Sends the answer as the plan says. `gone` aborts when the client leaves. */
export async function send(
  response: ServerResponse,
  answer: Answer,
  plan: Plan,
  gone: AbortSignal,
  ended: Ended,
): Promise<void> {
  if (!(await waited(plan.delayMs, gone))) return ended(0, 'clientGone');
  if (plan.cut === 'beforeAnswer') {
    ended(0, 'cut');
    response.socket?.destroy();
    return;
  }
  if (answer.kind === 'stream') return sendStream(response, answer.chunks, answer.format, plan, gone, ended);
  const { status, contentType, body, headers } = wholeOf(answer, plan.wrapping);
  const bytes = Buffer.from(body);
  response.writeHead(status, { 'content-type': contentType, 'content-length': bytes.length, ...headers });
  if (plan.cut === 'midStream') {
    await written(response, bytes.subarray(0, Math.floor(bytes.length / 2)));
    ended(status, 'cut');
    response.socket?.destroy();
    return;
  }
  ended(status, 'whole');
  response.end(bytes);
}

async function sendStream(
  response: ServerResponse,
  chunks: readonly unknown[],
  format: 'sse' | 'array',
  plan: Plan,
  gone: AbortSignal,
  ended: Ended,
): Promise<void> {
  const sse = format === 'sse';
  const before = (at: number): string => (sse ? 'data: ' : at === 0 ? '[' : ',\r\n');
  const after = sse ? '\r\n\r\n' : '';
  response.writeHead(200, { 'content-type': sse ? 'text/event-stream' : JSON_TYPE });
  for (const [at, chunk] of chunks.entries()) {
    if (at > 0 && !(await waited(plan.chunkDelayMs, gone))) return ended(200, 'clientGone');
    const last = at === chunks.length - 1;
    if (at > 0 && plan.errorMidStream !== undefined) {
      const { body } = plan.errorMidStream;
      ended(200, 'errorMidStream');
      response.end(
        `${before(at)}${JSON.stringify(plan.wrapping === 'array' ? [body] : body)}${after}${sse ? '' : ']'}`,
      );
      return;
    }
    if (last && plan.cut === 'quietly') {
      ended(200, 'cut');
      response.end(sse ? '' : ']');
      return;
    }
    const text = `${before(at)}${JSON.stringify(chunk)}${after}`;
    if (last) {
      ended(200, 'whole');
      response.end(sse ? text : `${text}]`);
      return;
    }
    await written(response, text);
    if (plan.cut === 'midStream') {
      ended(200, 'cut');
      response.socket?.destroy();
      return;
    }
  }
}

function wholeOf(answer: Exclude<Answer, { kind: 'stream' }>, wrapping: Wrapping): Whole {
  switch (answer.kind) {
    case 'json':
      return {
        status: 200,
        contentType: JSON_TYPE,
        body: pretty(answer.body),
        ...(answer.headers && { headers: answer.headers }),
      };
    case 'bytes':
      return { status: 200, contentType: answer.contentType, body: answer.bytes };
    case 'error':
      return wholeError(answer.error, wrapping);
  }
}

function wholeError({ status, body, wire }: ErrorTemplate, wrapping: Wrapping): Whole {
  if (wire === 'html') return { status, contentType: 'text/html; charset=UTF-8', body: String(body) };
  if (wire === 'text') return { status, contentType: 'text/plain; charset=UTF-8', body: String(body) };
  if (wire === 'brokenJson') return { status, contentType: JSON_TYPE, body: '' };
  switch (wrapping) {
    case 'json':
      return { status, contentType: JSON_TYPE, body: pretty(body) };
    case 'array':
      return { status, contentType: JSON_TYPE, body: pretty([body]) };
    case 'text':
      return { status, contentType: 'text/plain; charset=UTF-8', body: pretty(body) };
    case 'sse':
      return { status, contentType: 'text/event-stream', body: pretty(body) };
  }
}

/** As Google writes JSON. */
function pretty(body: unknown): string {
  return `${JSON.stringify(body, null, 2)}\n`;
}

/** false when the client left meanwhile. */
function waited(ms: number, gone: AbortSignal): Promise<boolean> {
  if (gone.aborted) return Promise.resolve(false);
  if (ms <= 0) return Promise.resolve(true);
  return new Promise((resolve) => {
    const leave = (): void => {
      clearTimeout(timer);
      resolve(false);
    };
    const timer =
      ms > LONGEST_MS
        ? undefined
        : setTimeout(() => {
            gone.removeEventListener('abort', leave);
            resolve(true);
          }, ms);
    gone.addEventListener('abort', leave, { once: true });
  });
}

/** Resolves when the text is with the operating system, or cannot be sent any more. */
function written(response: ServerResponse, text: string | Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    if (response.destroyed) return resolve();
    response.write(text, () => resolve());
  });
}
