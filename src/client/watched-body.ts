export interface BodyEvents {
  /** It broke off. */
  failed(error: unknown): void;
  /** It holds an error in Gemini's words, as a stream does that fails after it began. */
  saidError(): void;
  /** Nothing more will come of it: read to its end, broken off, or left. */
  ended(): void;
}

/** The name of the property; in the words of a model its quotes would be escaped. */
const ERROR = Buffer.from('"error"');

/** The response, its body watched while it is read and not read before. */
export function watchedBody(response: Response, events: BodyEvents): Response {
  const { body } = response;
  if (body === null) {
    events.ended();
    return response;
  }
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  let tail = Buffer.alloc(0);
  const watched = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          // Only now: a body that nobody reads stays unlocked, and the runtime can let go of its connection.
          reader ??= body.getReader();
          const { done, value } = await reader.read();
          if (done) {
            events.ended();
            controller.close();
            return;
          }
          const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
          const edge = Buffer.concat([tail, bytes.subarray(0, ERROR.length)]);
          if (bytes.includes(ERROR) || edge.includes(ERROR)) events.saidError();
          tail = Buffer.from(
            bytes.length < ERROR.length ? edge.subarray(1 - ERROR.length) : bytes.subarray(1 - ERROR.length),
          );
          controller.enqueue(value);
        } catch (error) {
          events.failed(error);
          events.ended();
          controller.error(error);
        }
      },
      cancel(reason) {
        events.ended();
        return reader === undefined ? body.cancel(reason) : reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
  const { status, statusText, headers, url } = response;
  return Object.defineProperty(new Response(watched, { status, statusText, headers }), 'url', { value: url });
}
