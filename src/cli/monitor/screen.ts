import type { Output } from '../output.ts';
import type { Line } from './frame.ts';

const ESC = '\u001b[';
/** The other screen, and no cursor. */
const ENTER = `${ESC}?1049h${ESC}?25l`;
const LEAVE = `${ESC}?25h${ESC}?1049l`;
/** At most so many frames a second. */
const FRAME_MS = 100;

/** A terminal that is drawn over, and gets back what was on it. */
export class Screen {
  readonly #output: Output;
  readonly #out: NodeJS.WriteStream;
  readonly #in: NodeJS.ReadStream;
  readonly #draw: (size: { rows: number; columns: number }) => readonly Line[];
  readonly #quit: () => void;
  #pending: NodeJS.Timeout | undefined;
  #ticking: NodeJS.Timeout | undefined;

  constructor(output: Output, draw: (size: { rows: number; columns: number }) => readonly Line[], quit: () => void) {
    this.#output = output;
    this.#out = process.stdout;
    this.#in = process.stdin;
    this.#draw = draw;
    this.#quit = quit;
  }

  open(): void {
    this.#out.write(ENTER);
    // However the process ends, the terminal is given back.
    process.once('exit', this.#leave);
    this.#out.on('resize', this.#redraw);
    if (this.#in.isTTY) {
      this.#in.setRawMode(true);
      this.#in.on('data', this.#typed);
    }
    this.#ticking = setInterval(this.#redraw, 1_000);
    this.#redraw();
  }

  /** Something to be seen has changed. */
  changed(): void {
    this.#pending ??= setTimeout(this.#redraw, FRAME_MS);
  }

  close(): void {
    clearInterval(this.#ticking);
    clearTimeout(this.#pending);
    this.#out.off('resize', this.#redraw);
    if (this.#in.isTTY) {
      this.#in.off('data', this.#typed);
      this.#in.setRawMode(false);
      this.#in.pause();
    }
    process.off('exit', this.#leave);
    this.#leave();
  }

  readonly #leave = (): void => {
    this.#out.write(LEAVE);
  };

  readonly #typed = (typed: Buffer): void => {
    // In raw mode Ctrl-C is a character.
    if (['q', 'Q', '\u0003', '\u0004', '\u001b'].includes(typed.toString())) this.#quit();
  };

  readonly #redraw = (): void => {
    clearTimeout(this.#pending);
    this.#pending = undefined;
    const size = { rows: this.#out.rows || 24, columns: this.#out.columns || 80 };
    const styled = this.#draw(size).map(({ text, style }) => {
      const shown = this.#output.shown(text).slice(0, size.columns);
      return style === undefined ? shown : this.#output.style(style, shown);
    });
    // Over what is there, line by line, so that nothing flickers.
    this.#out.write(`${ESC}H${styled.map((line) => `${line}${ESC}K`).join('\r\n')}${ESC}J`);
  };
}
