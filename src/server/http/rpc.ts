import type { IncomingMessage, ServerResponse } from 'node:http';
import type { UniversalHandler, UniversalServerRequest, UniversalServerResponse } from '@connectrpc/connect/protocol';
import { universalRequestFromNodeRequest } from '@connectrpc/connect-node';
import { dropFarDeadline } from './far-deadline.ts';
import { type Refusal, sendRefusal } from './json-reply.ts';
import { withoutQuotedInput } from './malformed-request.ts';

/**
 * Serves one RPC. In place of connectNodeAdapter, whose refusals have no body, which writes faults to the console,
 * and which waits for ever for a reader that went away while the answer was held up.
 */
export async function serveRpc(
  handler: UniversalHandler,
  request: IncomingMessage,
  response: ServerResponse,
  onFault: (error: unknown) => void,
): Promise<void> {
  const refusal = unfit(handler, request);
  if (refusal !== undefined) {
    sendRefusal(response, refusal);
    return;
  }
  try {
    const answer = await handler(universalRequest(request, response));
    await write(await withoutQuotedInput(handler, answer), response);
  } catch (error) {
    // Nobody is left to answer when the response was cut off; all else is a fault.
    if (!response.closed) {
      onFault(error);
      response.destroy();
    }
  } finally {
    // What is left of a request that was too large: its sender gets to the answer, and the connection to the next request.
    request.resume();
  }
}

/** What Connect cannot serve, or would refuse without a word. */
function unfit(handler: UniversalHandler, { method, headers }: IncomingMessage): Refusal | undefined {
  const name = handler.method.name;
  if (method !== 'POST') {
    return {
      status: 405,
      code: 'unimplemented',
      message: `${name} takes POST, not ${method}`,
      headers: { allow: 'POST' },
    };
  }
  if (handler.method.methodKind === 'bidi_streaming') {
    return {
      status: 505,
      code: 'unimplemented',
      message: `${name} streams both ways at once, which HTTP/1.1 cannot; call it on the gRPC port`,
      headers: { connection: 'close' },
    };
  }
  if (!URL.canParse(`http://${headers.host}`)) {
    return { status: 400, code: 'invalid_argument', message: 'the Host header is missing or no host' };
  }
  const type = headers['content-type'] ?? '';
  // JSON within gRPC-Web is left out: nobody asks for it, and its errors would repeat what was sent.
  if (!handler.supportedContentType(type) || /^application\/grpc-web\+json/i.test(type)) {
    const prefix = handler.method.methodKind === 'unary' ? 'application/' : 'application/connect+';
    return {
      status: 415,
      code: 'invalid_argument',
      message:
        `the Content-Type header is ${type === '' ? 'missing' : JSON.stringify(type.slice(0, 80))}; ` +
        `allowed: ${prefix}json, ${prefix}proto, application/grpc-web+proto`,
    };
  }
  return undefined;
}

function universalRequest(request: IncomingMessage, response: ServerResponse): UniversalServerRequest {
  const universal = universalRequestFromNodeRequest(request, response, undefined, undefined);
  dropFarDeadline(universal.header);
  return {
    ...universal,
    // Whoever stops reading, because the message is too large, leaves the rest to be skipped.
    body: request.iterator({ destroyOnReturn: false }),
  };
}

/** Writes an answer no faster than it is read. However it ends, the function behind it is told. */
async function write(
  { status, header, body, trailer }: UniversalServerResponse,
  response: ServerResponse,
): Promise<void> {
  const chunks = body?.[Symbol.asyncIterator]();
  try {
    // The head goes with the first chunk, until when the function may add to it.
    let chunk = await chunks?.next();
    if (header !== undefined) response.setHeaders(header);
    response.writeHead(status);
    while (chunk !== undefined && chunk.done !== true) {
      if (!response.write(chunk.value)) await drainedOrClosed(response);
      if (response.closed) return;
      chunk = await chunks?.next();
    }
    if (trailer !== undefined) response.addTrailers([...trailer]);
    response.end();
  } finally {
    await chunks?.return?.();
  }
}

function drainedOrClosed(response: ServerResponse): Promise<void> {
  if (response.closed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}
