import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type TextLine, textLines } from '../../src/client/key-formats/text-lines.ts';

async function* inChunks(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let from = 0;
  for (let index = 0; from < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? 1;
    yield bytes.subarray(from, from + size);
    from += size;
  }
}

async function linesOf(chunks: AsyncIterable<Uint8Array | string>, maxLength = 1_000): Promise<TextLine[]> {
  const lines: TextLine[] = [];
  for await (const several of textLines(chunks, maxLength)) lines.push(...several);
  return lines;
}

test('the lines are those of the whole text, however it is cut into chunks', async () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'é', '漢', '🔑', '\n', '\r\n', ':', ' ', '\ufeff') });
  await fc.assert(
    fc.asyncProperty(text, fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }), async (whole, sizes) => {
      const expected = whole.replace(/^\ufeff/, '').split(/\r?\n/);
      // What follows the last end of line is a line only if there is something.
      if (whole === '' || whole.endsWith('\n')) expected.pop();
      const lines = await linesOf(inChunks(Buffer.from(whole), sizes));
      expect(lines.map((line) => line.text)).toEqual(expected);
      expect(lines.map((line) => line.number)).toEqual(expected.map((_, index) => index + 1));
      expect(lines.some((line) => line.cut)).toBe(false);
    }),
    { numRuns: 300 },
  );
});

test('a line that never ends takes no more memory than is allowed, and the next one is read', async () => {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    const chunk = Buffer.alloc(1 << 20, 'x');
    for (let index = 0; index < 64; index++) yield chunk;
    yield Buffer.from('\nnext');
  }
  const lines = await linesOf(chunks(), 100);
  expect(lines).toEqual([
    { number: 1, text: 'x'.repeat(100), cut: true },
    { number: 2, text: 'next', cut: false },
  ]);
});
