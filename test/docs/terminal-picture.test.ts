import { expect, test } from 'vitest';
import { terminalPicture } from '../../scripts/terminal-picture.ts';

const ESC = '\u001b';
/** Each piece of a picture: where it stands, how it looks, what it says. */
const piecesOf = (svg: string) =>
  [...svg.matchAll(/<text x="([\d.]+)" y="(\d+)" textLength="([\d.]+)" .*? (fill=.*?)>(.*?)<\/text>/g)].map(
    ([, x, y, width, look, text]) => ({ x: Number(x), y: Number(y), width: Number(width), look, text }),
  );

test('a picture of a terminal has each piece of text in its place, its colour and its weight', () => {
  const screen = `${ESC}[1mPOOL${ESC}[0m  KEYS\ndefault ${ESC}[31mdown${ESC}[39m up\n`;
  expect(piecesOf(terminalPicture(screen, 'a title'))).toEqual([
    { x: 14, y: 28, width: 33.6, look: 'fill="#e6edf3" font-weight="600"', text: 'POOL' },
    { x: 64.4, y: 28, width: 33.6, look: 'fill="#e6edf3"', text: 'KEYS' },
    { x: 14, y: 46, width: 58.8, look: 'fill="#e6edf3"', text: 'default' },
    { x: 81.2, y: 46, width: 33.6, look: 'fill="#ff7b72"', text: 'down' },
    { x: 123.2, y: 46, width: 16.8, look: 'fill="#e6edf3"', text: 'up' },
  ]);
});

test('a look lasts over the ends of lines until another is set, as tmux writes it', () => {
  const looks = piecesOf(terminalPicture(`${ESC}[2mone\ntwo\n${ESC}[0mthree`, 'a title')).map(({ look }) => look);
  expect(looks).toEqual(['fill="#e6edf3" opacity="0.65"', 'fill="#e6edf3" opacity="0.65"', 'fill="#e6edf3"']);
});

test('what would be markup is none in a picture', () => {
  const svg = terminalPicture('<a> & b', 'keys < 3');
  expect(svg).toContain('>&lt;a&gt; &amp; b</text>');
  expect(svg).toContain('<title id="title">keys &lt; 3</title>');
});
