type Fetch = typeof globalThis.fetch;

/** Gemini takes 20 MB in a message; a longer body that flows is sent as it comes, and cannot be sent twice. */
const MOST_REPLAYED = 32 * 1024 * 1024;
/** Who pays is the lease's matter. Environment variables may put such a header in. */
const KEY_HEADERS = ['x-goog-api-key', 'x-goog-user-project'];

/** A request as the SDK makes it, to be sent with whatever key. */
export interface Outgoing {
  /** Without a key. */
  url: string;
  method: string;
  headers: Headers;
  signal: AbortSignal | undefined;
  /** The body, if it is a text. */
  text: string | undefined;
  /** Whether it can be sent again: its body does not flow. */
  replayable: boolean;
  send(inner: Fetch, apiKey: string): Promise<Response>;
}

/** The SDK gives most requests as URL and init, those of interactions and the like as a Request, whose body always flows. */
export async function outgoing(input: Parameters<Fetch>[0], init: RequestInit = {}): Promise<Outgoing> {
  const request = typeof input === 'object' && 'url' in input ? input : undefined;
  const headers = new Headers(init.headers ?? request?.headers);
  for (const name of KEY_HEADERS) headers.delete(name);
  const url = withoutKey(request?.url ?? String(input));
  const method = init.method ?? request?.method ?? 'GET';
  const signal = init.signal ?? request?.signal ?? undefined;
  const given = init.body ?? request?.body ?? undefined;
  const body = init.body === undefined && request?.body ? await collected(request.body) : given;
  const flows = body !== undefined && body !== null && isFlowing(body);
  return {
    url,
    method,
    headers,
    signal,
    text: textOf(body),
    replayable: !flows,
    send(inner, apiKey) {
      const withKey = new Headers(headers);
      withKey.set('x-goog-api-key', apiKey);
      return inner(url, {
        ...init,
        method,
        headers: withKey,
        ...(body === undefined ? {} : { body }),
        ...(signal === undefined ? {} : { signal }),
        ...(flows ? { duplex: 'half' } : {}),
      } as RequestInit);
    },
  };
}

function withoutKey(url: string): string {
  return url.includes('key=') ? url.replace(/([?&])key=[^&#]*&?/g, '$1').replace(/[?&](?=$|#)/, '') : url;
}

function isFlowing(body: object | string): boolean {
  return typeof body === 'object' && (body instanceof ReadableStream || Symbol.asyncIterator in body);
}

function textOf(body: unknown): string | undefined {
  if (typeof body === 'string') return body;
  return Buffer.isBuffer(body) ? body.toString('utf8') : undefined;
}

/** The whole body, or, where it is too long, a stream of it. */
async function collected(body: ReadableStream<Uint8Array>): Promise<Buffer | ReadableStream<Uint8Array>> {
  const reader = body.getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(parts, length);
    parts.push(value);
    length += value.length;
    if (length > MOST_REPLAYED) break;
  }
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const part = parts.shift();
        if (part !== undefined) return controller.enqueue(part);
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}
