import { basename, extname } from 'node:path';
import { csvEntries } from './csv-entries.ts';
import { envEntries } from './env-entries.ts';
import { jsonEntries } from './json-entries.ts';
import type { KeyReader } from './key-entry.ts';
import { jsonLineEntries, textEntries } from './line-formats.ts';

/**
 * How a key file is written. text: a key a line, KEY or KEY:WEIGHT, with # comments. csv: its first line names the columns, key and
 * perhaps weight, project, models, labels, tier, source, pool, disabled, maxConcurrentLeases. json: a list of texts and objects with
 * such fields, or an object whose "keys" is one. jsonl: one of them a line. env: variables such as GEMINI_API_KEY, one key or a list.
 */
export type KeyFileFormat = 'text' | 'csv' | 'json' | 'jsonl' | 'env';

export const KEY_FILE_FORMATS: readonly KeyFileFormat[] = ['text', 'csv', 'json', 'jsonl', 'env'];

export const KEY_READERS: Readonly<Record<KeyFileFormat, KeyReader>> = {
  text: textEntries,
  csv: csvEntries,
  json: jsonEntries,
  jsonl: jsonLineEntries,
  env: envEntries,
};

const BY_EXTENSION: Readonly<Record<string, KeyFileFormat>> = {
  '.csv': 'csv',
  '.tsv': 'csv',
  '.json': 'json',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.env': 'env',
};

/** By the name of the file; text where that says nothing. */
export function formatOf(path: string): KeyFileFormat {
  const name = basename(path).toLowerCase();
  return name.startsWith('.env') ? 'env' : (BY_EXTENSION[extname(name)] ?? 'text');
}
