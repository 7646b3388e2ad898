import type { KeyEntry, KeyOfFile, KeySource } from './key-entry.ts';
import { readValue } from './key-fields.ts';
import { readKeyLine } from './key-line.ts';
import { textLines } from './text-lines.ts';

/** In bytes. */
const LONGEST_TEXT = 1_024;
/** A record has 64 models and 16 labels at most. */
export const LONGEST_RECORD = 64 * 1_024;

type Read = { key: KeyOfFile } | { problem: string } | undefined;

/** A key a line, KEY or KEY:WEIGHT; blank lines and those that begin with # say nothing. */
export function textEntries({ chunks }: KeySource): AsyncIterable<KeyEntry[]> {
  return lineEntries(chunks, LONGEST_TEXT, readKeyLine);
}

/** JSON Lines: a text or an object a line. */
export function jsonLineEntries({ chunks, ignored }: KeySource): AsyncIterable<KeyEntry[]> {
  return lineEntries(chunks, LONGEST_RECORD, (line) => {
    if (line.trim() === '' || line.trimStart().startsWith('#')) return undefined;
    const value = jsonOf(line);
    return value === undefined ? { problem: 'it is no JSON' } : readValue(value, ignored);
  });
}

/** undefined: it is no JSON, as which no text is undefined. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function* lineEntries(
  chunks: KeySource['chunks'],
  longest: number,
  read: (line: string) => Read,
): AsyncGenerator<KeyEntry[]> {
  for await (const lines of textLines(chunks, longest)) {
    const entries: KeyEntry[] = [];
    for (const { number, text, cut } of lines) {
      // A comment may be as long as it likes.
      const isTooLong = cut && !text.trimStart().startsWith('#');
      const entry = isTooLong ? { problem: `the line is longer than ${longest} bytes` } : read(text);
      if (entry !== undefined) entries.push({ ...entry, line: number });
    }
    yield entries;
  }
}
