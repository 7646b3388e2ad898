/** A line of a text, without its end. `cut`: it was longer than allowed, and only its beginning is here. */
export interface TextLine {
  number: number;
  text: string;
  cut: boolean;
}

const LF = 0x0a;

/**
 * The lines of a UTF-8 text that comes in chunks, ended by LF or CRLF, the last by nothing too; a byte order mark is
 * dropped. Memory is bounded by a chunk and maxLength bytes, however long a line is.
 */
export async function* textLines(
  chunks: AsyncIterable<Uint8Array | string>,
  maxLength: number,
): AsyncGenerator<TextLine> {
  let number = 0;
  let held: Buffer[] = [];
  let heldLength = 0;
  let cut = false;

  const hold = (bytes: Buffer): void => {
    const room = maxLength - heldLength;
    if (bytes.length > room) cut = true;
    if (room <= 0 || bytes.length === 0) return;
    const kept = bytes.subarray(0, room);
    held.push(kept);
    heldLength += kept.length;
  };
  const take = (): TextLine => {
    number++;
    const bytes = Buffer.concat(held);
    const text = bytes.toString('utf8');
    const line = { number, text: clean(text, number), cut };
    held = [];
    heldLength = 0;
    cut = false;
    return line;
  };

  for await (const chunk of chunks) {
    const bytes =
      typeof chunk === 'string' ? Buffer.from(chunk) : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let from = 0;
    for (let end = bytes.indexOf(LF); end !== -1; end = bytes.indexOf(LF, from)) {
      hold(bytes.subarray(from, end));
      yield take();
      from = end + 1;
    }
    hold(bytes.subarray(from));
  }
  if (heldLength > 0 || cut) yield take();
}

function clean(text: string, number: number): string {
  const start = number === 1 && text.startsWith('\ufeff') ? 1 : 0;
  return text.slice(start, text.endsWith('\r') ? -1 : undefined);
}
