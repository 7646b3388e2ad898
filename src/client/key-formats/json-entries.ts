import { invalidOption } from '../errors.ts';
import { JsonItems, JsonShapeError } from './json-items.ts';
import type { KeyEntry, KeySource } from './key-entry.ts';
import { readValue } from './key-fields.ts';
import { jsonOf, LONGEST_RECORD } from './line-formats.ts';

/** A JSON document: a list of texts and objects, or an object whose "keys" is one. Problems say which item of the list it is. */
export async function* jsonEntries({ chunks, name, ignored }: KeySource): AsyncGenerator<KeyEntry[]> {
  const items = new JsonItems(LONGEST_RECORD);
  const decoder = new TextDecoder();
  let number = 0;
  try {
    for await (const chunk of chunks) {
      const entries: KeyEntry[] = [];
      for (const { line, text, cut } of items.push(decoder.decode(chunk, { stream: true }))) {
        number++;
        const entry = cut ? { problem: `it is longer than ${LONGEST_RECORD} characters` } : entryOf(text, ignored);
        if (entry === undefined) continue;
        entries.push('problem' in entry ? { line, problem: `item ${number}: ${entry.problem}` } : { line, ...entry });
      }
      yield entries;
    }
    items.end();
  } catch (error) {
    if (!(error instanceof JsonShapeError)) throw error;
    throw invalidOption(
      'file',
      `${name}, which ${error.message}`,
      'JSON: a list of keys, or an object whose "keys" is one',
    );
  }
}

function entryOf(text: string, ignored: (name: string) => void): ReturnType<typeof readValue> {
  const value = jsonOf(text);
  return value === undefined ? { problem: 'it is no JSON' } : readValue(value, ignored);
}
