export interface BodyEvents {
  /** It broke off. */
  failed(error: unknown): void;
  /** It holds an error in Gemini's words, as a stream does that fails after it began. */
  saidError(): void;
  /**
   * Nothing more will come of it: read to its end, broken off, or left. `said`: the first line that may hold an error, and what
   * followed it, as far as it was read; "": there is none.
   */
  ended(said: string): void;
}

/** The name of the property; in the words of a model its quotes would be escaped. */
const ERROR = Buffer.from('"error"');
/** How a line of a stream begins; the error stands so near to it. */
const LINE = 'data:';
const LINE_BEGINS_WITHIN = 256;
/** As much as is looked at of any error. */
const LONGEST_SAID = 16 * 1024;

/** The response, its body watched while it is read and not read before. */
export function watchedBody(response: Response, events: BodyEvents): Response {
  const { body } = response;
  if (body === null) {
    events.ended('');
    return response;
  }
  let said: Buffer | undefined;
  const ended = (): void => events.ended(said?.toString() ?? '');
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
            ended();
            controller.close();
            return;
          }
          const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
          const edge = Buffer.concat([tail, bytes.subarray(0, ERROR.length)]);
          const isSaid = bytes.includes(ERROR) || edge.includes(ERROR);
          if (isSaid) events.saidError();
          if (said !== undefined) said = beginningOf(said, bytes);
          else if (isSaid) said = fromErrorOn(Buffer.concat([tail, bytes]));
          tail = Buffer.concat([tail, bytes.subarray(-LINE_BEGINS_WITHIN)]).subarray(-LINE_BEGINS_WITHIN);
          controller.enqueue(value);
        } catch (error) {
          events.failed(error);
          ended();
          controller.error(error);
        }
      },
      cancel(reason) {
        ended();
        return reader === undefined ? body.cancel(reason) : reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
  const { status, statusText, headers, url } = response;
  return Object.defineProperty(new Response(watched, { status, statusText, headers }), 'url', { value: url });
}

/** From the line on that names an error first. */
function fromErrorOn(bytes: Buffer): Buffer {
  const line = bytes.lastIndexOf(LINE, bytes.indexOf(ERROR));
  return beginningOf(Buffer.alloc(0), bytes.subarray(Math.max(0, line)));
}

function beginningOf(said: Buffer, more: Buffer): Buffer {
  return Buffer.concat([said, more.subarray(0, Math.max(0, LONGEST_SAID - said.length))]);
}
