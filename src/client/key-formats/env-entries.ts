import { invalidOption } from '../errors.ts';
import type { KeyEntry, KeySource } from './key-entry.ts';
import { readValue } from './key-fields.ts';
import { jsonOf } from './line-formats.ts';

/** Of a whole file: more than any such file has. */
const MOST_BYTES = 4 * 1024 * 1024;

/** GEMINI_API_KEY, GEMINI_API_KEYS, GEMINI_KEY_3, GOOGLE_API_KEY, GOOGLE_GENERATIVE_AI_API_KEY, API_KEYS and their like. */
const OF_GEMINI =
  /GEMINI.*KEY|^(?:[A-Z]+_)?GOOGLE_(?:(?:GENERATIVE_AI|GENAI|AI|AI_STUDIO)_)?(?:API_)?KEYS?(?:_?\d+)?$|^API_KEYS?(?:_?\d+)?$/;
const OF_SOMEBODY = /KEY/;

/**
 * Variables of an .env file whose name says that they are keys of Gemini, one or a list of them. Those of other services are
 * left out: no one else's key is to be sent to Google.
 */
export async function* envEntries({ chunks, name, ignored }: KeySource): AsyncGenerator<KeyEntry[]> {
  const { parse } = await import('dotenv');
  const text = await wholeText(chunks, name);
  const entries: KeyEntry[] = [];
  for (const [variable, value] of Object.entries(parse(text))) {
    if (!OF_GEMINI.test(variable.toUpperCase())) {
      if (OF_SOMEBODY.test(variable.toUpperCase())) ignored(variable);
      continue;
    }
    const line = lineOf(text, variable);
    for (const each of valuesOf(value)) {
      const entry = readValue(each, ignored);
      if (entry !== undefined) entries.push({ line, ...entry });
    }
  }
  yield entries;
}

/** A list in JSON, or what is between commas, semicolons and spaces. */
function valuesOf(value: string): unknown[] {
  if (value.trim().startsWith('[')) {
    const list = jsonOf(value);
    if (Array.isArray(list)) return list;
  }
  return value.split(/[\s,;]+/);
}

/** Of the variable's last setting, which is the one that counts. */
function lineOf(text: string, variable: string): number {
  const setting = new RegExp(`^\\s*(?:export\\s+)?${variable.replace(/[.-]/g, '\\$&')}\\s*[=:]`);
  return text.split('\n').findLastIndex((line) => setting.test(line)) + 1;
}

async function wholeText(chunks: AsyncIterable<Uint8Array>, name: string): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > MOST_BYTES) {
      throw invalidOption('file', `${name}, which is longer than ${MOST_BYTES / 1024 / 1024} MiB`, 'an .env file');
    }
    parts.push(chunk);
  }
  return Buffer.concat(parts)
    .toString('utf8')
    .replace(/^\ufeff/, '');
}
