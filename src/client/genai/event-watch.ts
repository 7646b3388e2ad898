const LF = 10;
const CR = 13;
const FINISHED = [Buffer.from('"finishReason"'), Buffer.from('"promptFeedback"')];
const LONGEST_MARK = 16;
/** An error is small; more of an event is not kept. */
const MOST_KEPT = 64 * 1024;
/** What tells how an event begins. */
const HEAD = 64;
/** An error, also in an array of one, and as interactions write it. */
const ERROR_HEAD = /^\s*\[?\s*\{\s*(?:"error"|"event_type"\s*:\s*"error")/;

/**
 * Watches the bytes of server-sent events as they pass. Knows whether any event was whole, whether a model said why it ended,
 * and an event that is an error in whatever wrapping: the SDK takes no notice of some. Keeps no more than the event at hand, and
 * of it only what may be an error.
 *
 * An error ends the watch: `take` gives how many of the bytes came before its event.
 */
export class EventWatch {
  /** Events with data that were whole. */
  events = 0;
  /** Whether a chunk said why the model ended, or why it did not begin. */
  finished = false;
  /** The data of the event that is an error. */
  error: string | undefined;
  #kept: Buffer[] = [];
  #keptLength = 0;
  #mayBeError: boolean | undefined;
  #lineLength = 0;
  #afterCr = false;
  #hasData = false;
  #edge = Buffer.alloc(0);

  /** How many of the bytes may be passed on: all, or those before an event that is an error. */
  take(bytes: Buffer): number {
    if (!this.finished) this.#lookForFinish(bytes);
    let eventStart = 0;
    let lineStart = 0;
    let lf = bytes.indexOf(LF);
    let cr = bytes.indexOf(CR);
    for (;;) {
      const end = lf === -1 ? cr : cr === -1 ? lf : Math.min(lf, cr);
      if (end === -1) break;
      const isLf = end === lf;
      if (isLf) lf = bytes.indexOf(LF, end + 1);
      else cr = bytes.indexOf(CR, end + 1);
      const secondOfPair = isLf && this.#afterCr && end === lineStart && this.#lineLength === 0;
      this.#afterCr = !isLf;
      // The blank line before it is whole only with this.
      if (secondOfPair && end === eventStart) eventStart = end + 1;
      if (!secondOfPair) {
        this.#part(bytes, lineStart, end);
        if (this.#lineLength === 0) {
          if (this.#eventEnded()) return eventStart;
          eventStart = end + 1;
        }
        this.#lineLength = 0;
      }
      lineStart = end + 1;
    }
    if (lineStart < bytes.length) this.#afterCr = false;
    this.#part(bytes, lineStart, bytes.length);
    return bytes.length;
  }

  /** To be told that nothing follows. Servers may leave the blank line after the last event out. */
  end(): void {
    if (this.#hasData) this.#eventEnded();
  }

  #part(bytes: Buffer, from: number, to: number): void {
    if (to === from) return;
    this.#lineLength += to - from;
    this.#hasData = true;
    if (this.#mayBeError === false) return;
    const room = MOST_KEPT - this.#keptLength;
    // A copy: what passes on may be changed by whoever gets it.
    const part = Buffer.from(bytes.subarray(from, Math.min(to, from + room)));
    this.#kept.push(part);
    this.#keptLength += part.length;
    if (this.#mayBeError !== undefined || this.#keptLength < HEAD) return;
    const data = dataOf(Buffer.concat(this.#kept).toString('utf8'));
    if (data.length < HEAD && this.#keptLength < MOST_KEPT) return;
    this.#mayBeError = ERROR_HEAD.test(data);
    if (!this.#mayBeError) this.#kept = [];
  }

  /** Whether the event was an error. */
  #eventEnded(): boolean {
    if (!this.#hasData) return false;
    const text = this.#mayBeError === false ? '' : dataOf(Buffer.concat(this.#kept).toString('utf8'));
    const isError = this.#mayBeError ?? ERROR_HEAD.test(text);
    // A comment, or an event's name alone, gives the caller nothing.
    if (this.#mayBeError === false || text.trim() !== '') this.events++;
    this.#kept = [];
    this.#keptLength = 0;
    this.#mayBeError = undefined;
    this.#hasData = false;
    if (isError) this.error = text.trim();
    return isError;
  }

  #lookForFinish(bytes: Buffer): void {
    const edge = Buffer.concat([this.#edge, bytes.subarray(0, LONGEST_MARK)]);
    this.finished = FINISHED.some((mark) => bytes.includes(mark) || edge.includes(mark));
    this.#edge =
      bytes.length >= LONGEST_MARK
        ? Buffer.from(bytes.subarray(1 - LONGEST_MARK))
        : Buffer.from(edge.subarray(1 - LONGEST_MARK));
  }
}

/**
 * The data of an event whose lines were joined without their ends: what follows "data:", the fields before it left out. Data in
 * several lines does not come from Gemini, and would only not be known as an error.
 */
function dataOf(event: string): string {
  const at = event.indexOf('data:');
  return at === -1 ? (event.startsWith(':') || /^(?:event|id|retry):/.test(event) ? '' : event) : event.slice(at + 5);
}
