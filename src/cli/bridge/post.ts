import type { SinkRequest } from './sink.ts';

/** An answer's body beyond this says nothing that the bridge needs. */
const MOST_BYTES = 64 * 1024;

export type PostResult =
  | { status: number; retryAfter: string | null; body: Uint8Array }
  /** No answer, and why, in words that hold nothing of the request. */
  | { failure: string };

/** Sends one request, within `timeoutMs` to the end of the answer. Never rejects. A redirect is an answer as any: it could lead headers to others. */
export async function post(
  url: URL,
  { headers, body }: SinkRequest,
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
): Promise<PostResult> {
  const late = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers,
      body,
      redirect: 'manual',
      signal: AbortSignal.any([late, signal]),
    });
    const { status } = response;
    return { status, retryAfter: response.headers.get('retry-after'), body: await beginningOf(response) };
  } catch (error) {
    if (late.aborted) return { failure: `no answer within ${timeoutMs / 1000} s` };
    return { failure: reasonOf(error) };
  }
}

/** What of a body can be had: a status counts without it. */
async function beginningOf({ body }: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of body ?? []) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > MOST_BYTES) break;
    }
  } catch {
    return new Uint8Array();
  }
  return Buffer.concat(chunks);
}

/** The system's word for it, such as ECONNREFUSED with the address. Other texts could repeat a header. */
function reasonOf(error: unknown): string {
  const { cause } = error as { cause?: { code?: string; message?: string } };
  const { code = '', message = '' } = cause ?? {};
  if (code === '') return 'it cannot be asked';
  return message.includes(code) ? message : code;
}
