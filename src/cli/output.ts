import { styleText } from 'node:util';
import { redact } from '../gemini/redact.ts';

type Style = Parameters<typeof styleText>[0];

/** Standard output and error of a command: colours and width on a terminal, plain text in a pipe. */
export class Output {
  /** Standard output is a terminal. */
  readonly terminal: boolean;
  /** Standard error is a terminal, so that progress may be drawn there. */
  readonly progressive: boolean;
  readonly #out: NodeJS.WriteStream;
  readonly #err: NodeJS.WriteStream;
  readonly #colours: boolean;
  readonly #ascii: boolean;
  #closed = false;
  #failed = false;
  #progressDrawn = false;

  constructor(out: NodeJS.WriteStream, err: NodeJS.WriteStream, env: NodeJS.ProcessEnv = process.env) {
    this.#out = out;
    this.#err = err;
    this.terminal = out.isTTY === true;
    this.progressive = err.isTTY === true;
    // hasColors knows NO_COLOR and terminals that have none.
    this.#ascii = !takesUtf8(env);
    this.#colours = this.terminal && out.hasColors();
    // Standard output may end before the command does, which is not the end of an import.
    out.on('error', (error: NodeJS.ErrnoException) => {
      this.#closed = true;
      // `| head` closes the pipe when it has seen enough: that is no failure. A full disk is.
      if (error.code === 'EPIPE' || this.#failed) return;
      this.#failed = true;
      this.complain(`standard output cannot be written: ${error.message}`);
    });
    err.on('error', () => {});
  }

  /** Whoever read standard output is gone: what would only be written may be left undone. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Whether everything could be written, once it is: a reader who left early had what he wanted. */
  async complete(): Promise<boolean> {
    if (!this.#out.destroyed) await new Promise<void>((resolve) => this.#out.write('', () => resolve()));
    // The stream tells of its error after its callbacks.
    await new Promise<void>((resolve) => setImmediate(resolve));
    return !this.#failed;
  }

  /** Resolves when there is room for more, so that a slow reader costs no memory. */
  async write(text: string): Promise<void> {
    this.clearProgress();
    if (this.#closed) return;
    const shown = this.terminal ? this.shown(text) : text;
    await new Promise<void>((resolve) => this.#out.write(shown, () => resolve()));
  }

  async line(text = ''): Promise<void> {
    await this.write(`${text}\n`);
  }

  /** Text as a terminal can show it: without what only UTF-8 has, where its locale is another. */
  shown(text: string): string {
    return this.#ascii ? text.replaceAll('…', '...').replace(/[^\0-\u007f]/gu, '?') : text;
  }

  style(style: Style, text: string): string {
    return this.#colours ? styleText(style, text, { validateStream: false }) : text;
  }

  /** A line on standard error that names the program, as its neighbours in a pipeline do. What looks like a key is masked: it may stand anywhere in what was typed. */
  complain(message: string): void {
    this.clearProgress();
    for (const line of message.split('\n')) {
      const said = `keybalancer: ${printable(redact(line))}\n`;
      this.#err.write(this.progressive ? this.shown(said) : said);
    }
  }

  /** Draws over the last progress. Nothing where standard error is no terminal. */
  progress(text: string): void {
    if (!this.progressive) return;
    this.#progressDrawn = true;
    this.#err.write(`\r\u001b[2K${text.slice(0, (this.#err.columns || 80) - 1)}`);
  }

  clearProgress(): void {
    if (!this.#progressDrawn) return;
    this.#progressDrawn = false;
    this.#err.write('\r\u001b[2K');
  }
}

/** By the locale, as POSIX has it. Where none is set, as in many containers, terminals of today are taken to have UTF-8. */
function takesUtf8({ LC_ALL, LC_CTYPE, LANG }: NodeJS.ProcessEnv): boolean {
  const locale = LC_ALL || LC_CTYPE || LANG;
  return !locale || /utf-?8/i.test(locale);
}

/** Text of others without the control characters that could steer a terminal or break a line. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it takes out
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, '\ufffd');
}
