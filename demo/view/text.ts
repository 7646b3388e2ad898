/** A piece of a line, in one style. */
export interface Span {
  text: string;
  style: Style;
}

export type Style = 'plain' | 'good' | 'some' | 'rest' | 'bad' | 'dim' | 'strong';
export type Line = readonly (string | Span)[];

const CODES: Record<Exclude<Style, 'plain'>, string> = {
  good: '32',
  some: '33',
  rest: '35',
  bad: '31',
  dim: '2',
  strong: '1',
};

export function span(style: Style, text: string): Span {
  return { text, style };
}

/** The line as text of at most `width` columns. Every character of the demo takes one. */
export function render(line: Line, width: number, colours: boolean): string {
  let left = width;
  let out = '';
  for (const piece of line) {
    const { text, style } = typeof piece === 'string' ? span('plain', piece) : piece;
    const cut = text.length <= left ? text : text.slice(0, left);
    left -= cut.length;
    out += !colours || style === 'plain' || cut === '' ? cut : `\x1b[${CODES[style]}m${cut}\x1b[0m`;
    if (left === 0) break;
  }
  return out;
}

/** A bar of `share` (0 to 1) of `width` columns, with eighths of a column. */
export function bar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8);
  const part = eighths % 8;
  return '█'.repeat(Math.floor(eighths / 8)) + (part === 0 ? '' : ' ▏▎▍▌▋▊▉'[part]);
}

/** A small curve of the last `width` values. */
export function curve(values: readonly number[], width: number): string {
  const shown = values.slice(-width);
  const most = Math.max(1, ...shown);
  return shown.map((value) => '▁▂▃▄▅▆▇█'[Math.min(7, Math.floor((value / most) * 8))]).join('');
}

/** Whether a stream is to be coloured: https://no-color.org. */
export function wantsColours(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}
