/** A line of a text, without its end. `cut`: it was longer than allowed, and only its beginning is here. */
export interface TextLine {
  number: number;
  text: string;
  cut: boolean;
}

const LF = 0x0a;

/**
 * The lines of a UTF-8 text that comes in chunks, several at a time; ended by LF or CRLF, the last by nothing too; a byte
 * order mark is dropped. Memory is bounded by a chunk and maxLength bytes, however long a line is.
 */
export async function* textLines(
  chunks: AsyncIterable<Uint8Array | string>,
  maxLength: number,
): AsyncGenerator<TextLine[]> {
  const begun = new BegunLine(maxLength);
  let number = 0;
  for await (const chunk of chunks) {
    const bytes = asBuffer(chunk);
    const first = bytes.indexOf(LF);
    if (first === -1) {
      begun.add(bytes);
      continue;
    }
    begun.add(bytes.subarray(0, first));
    const lines = [lineOf(++number, begun.take(), maxLength)];
    const last = bytes.lastIndexOf(LF);
    if (last > first) {
      const whole = bytes.toString('utf8', first + 1, last).split('\n');
      for (const text of whole) lines.push(lineOf(++number, text, maxLength));
    }
    begun.add(bytes.subarray(last + 1));
    yield lines;
  }
  if (begun.length > 0) yield [lineOf(++number, begun.take(), maxLength)];
}

/** The beginning of a line whose end has not come yet: one byte more than allowed at most, which tells that it is too long. */
class BegunLine {
  length = 0;
  readonly #most: number;
  #parts: Buffer[] = [];

  constructor(maxLength: number) {
    this.#most = maxLength + 1;
  }

  add(bytes: Buffer): void {
    const kept = bytes.subarray(0, this.#most - this.length);
    if (kept.length === 0) return;
    this.#parts.push(Buffer.from(kept));
    this.length += kept.length;
  }

  take(): string {
    const text = Buffer.concat(this.#parts).toString('utf8');
    this.#parts = [];
    this.length = 0;
    return text;
  }
}

function lineOf(number: number, text: string, maxLength: number): TextLine {
  const start = number === 1 && text.startsWith('\ufeff') ? 1 : 0;
  // No character of a string has more than 3 bytes in UTF-8.
  const cut = text.length * 3 > maxLength && Buffer.byteLength(text) > maxLength;
  const end = cut ? maxLength : text.endsWith('\r') ? text.length - 1 : text.length;
  return { number, text: text.slice(start, end), cut };
}

function asBuffer(chunk: Uint8Array | string): Buffer {
  return typeof chunk === 'string' ? Buffer.from(chunk) : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}
