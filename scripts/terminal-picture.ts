/** What a terminal shows, as tmux gives it (text with the colour codes of ECMA-48), as an SVG. */

const CHARACTER = { width: 8.4, height: 18 };
const MARGIN = 14;
const PAGE = '#0d1117';
const TEXT = '#e6edf3';
/** Black, red, green, yellow, blue, magenta, cyan, white; then the same, bright. */
const COLOURS = [
  ...['#484f58', '#ff7b72', '#3fb950', '#d29922', '#58a6ff', '#bc8cff', '#39c5cf', '#b1bac4'],
  ...['#6e7681', '#ffa198', '#56d364', '#e3b341', '#79c0ff', '#d2a8ff', '#56d4dd', '#ffffff'],
];

/** "Select graphic rendition", with its numbers. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is one that terminals are told by.
const CODE = /\x1b\[([\d;]*)m/;

interface Style {
  colour: string;
  bold: boolean;
  dim: boolean;
  inverse: boolean;
}

interface Run extends Style {
  column: number;
  text: string;
}

const PLAIN: Style = { colour: TEXT, bold: false, dim: false, inverse: false };

/** Title: what the picture shows, for those who cannot see it. */
export function terminalPicture(screen: string, title: string): string {
  const lines = runsOf(screen.trimEnd());
  const columns = Math.max(
    ...lines.map((runs) => Math.max(0, ...runs.map(({ column, text }) => column + text.length))),
  );
  const width = Math.ceil(columns * CHARACTER.width) + 2 * MARGIN;
  const height = lines.length * CHARACTER.height + 2 * MARGIN;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title" font-family="ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">`,
    `  <title id="title">${escaped(title)}</title>`,
    `  <rect width="${width}" height="${height}" rx="8" fill="${PAGE}"/>`,
    ...lines.flatMap((runs, row) => runs.map((run) => drawn(run, MARGIN + row * CHARACTER.height))),
    '</svg>',
    '',
  ].join('\n');
}

function drawn({ column, text, colour, bold, dim, inverse }: Run, top: number): string {
  const x = round(MARGIN + column * CHARACTER.width);
  const width = round(text.length * CHARACTER.width);
  const look = [
    `fill="${inverse ? PAGE : colour}"`,
    ...(bold ? ['font-weight="600"'] : []),
    ...(dim ? ['opacity="0.65"'] : []),
  ];
  const ground = inverse
    ? `  <rect x="${x}" y="${top}" width="${width}" height="${CHARACTER.height}" fill="${colour}"/>\n`
    : '';
  // As wide as in the terminal, whatever font there is.
  const place = `x="${x}" y="${top + 14}" textLength="${width}" lengthAdjust="spacingAndGlyphs" xml:space="preserve"`;
  return `${ground}  <text ${place} ${look.join(' ')}>${escaped(text)}</text>`;
}

/** Of each line the pieces that look the same, without the blanks around them. A look lasts until another is set, over the ends of lines. */
function runsOf(screen: string): Run[][] {
  let style = PLAIN;
  return screen.split('\n').map((line) => {
    const runs: Run[] = [];
    let column = 0;
    for (const [index, piece] of line.split(CODE).entries()) {
      if (index % 2 === 1) {
        style = styled(style, piece);
        continue;
      }
      const text = style.inverse ? piece : piece.trim();
      if (text !== '') runs.push({ ...style, column: column + piece.indexOf(text), text });
      column += piece.length;
    }
    return runs;
  });
}

function styled(style: Style, codes: string): Style {
  const next = { ...style };
  for (const code of (codes === '' ? '0' : codes).split(';').map(Number)) {
    if (code === 0) Object.assign(next, PLAIN);
    else if (code === 1) next.bold = true;
    else if (code === 2) next.dim = true;
    else if (code === 7) next.inverse = true;
    else if (code === 22) Object.assign(next, { bold: false, dim: false });
    else if (code === 27) next.inverse = false;
    else if (code === 39) next.colour = TEXT;
    else if (code >= 30 && code <= 37) next.colour = COLOURS[code - 30]!;
    else if (code >= 90 && code <= 97) next.colour = COLOURS[code - 82]!;
  }
  return next;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
