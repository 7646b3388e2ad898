import { pipeline, Readable } from 'node:stream';
import { invalidOption } from '../errors.ts';
import type { KeyEntry, KeySource } from './key-entry.ts';
import { isKeyField, KEY_FIELDS, namesKey, readFields } from './key-fields.ts';
import { LONGEST_RECORD } from './line-formats.ts';

/** A spreadsheet writes what its language has for a list. */
const DELIMITERS = [',', ';', '\t'];
const ENTRIES_AT_ONCE = 256;

/** CSV whose first line names the columns; separated by commas, semicolons or tabs. */
export async function* csvEntries({ chunks, name, ignored }: KeySource): AsyncGenerator<KeyEntry[]> {
  const { parse } = await import('csv-parse');
  const { beginning, all } = await withBeginning(chunks);
  const parser = parse({
    bom: true,
    comment: '#',
    comment_no_infix: true,
    delimiter: delimiterOf(beginning),
    info: true,
    max_record_size: LONGEST_RECORD,
    relax_column_count: true,
    relax_quotes: true,
    skip_empty_lines: true,
    // An error would end the stream before the records that came well ahead of it.
    skip_records_with_error: true,
    ltrim: true,
  });
  let isBroken = false;
  parser.on('skip', () => {
    isBroken = true;
  });
  // Its errors are the parser's, who is read here.
  pipeline(Readable.from(all), parser, () => {});
  let columns: readonly string[] | undefined;
  let entries: KeyEntry[] = [];
  let last = 1;
  for await (const { info, record } of parser as AsyncIterable<{ info: { lines: number }; record: string[] }>) {
    if (columns === undefined) columns = columnsOf(record, name, ignored);
    else entries.push(entryOf(columns, record, info.lines));
    last = info.lines;
    if (entries.length < ENTRIES_AT_ONCE) continue;
    yield entries;
    entries = [];
  }
  yield entries;
  // A quote that does not end takes all that follows with it.
  if (!isBroken) return;
  const why = `which has quotes behind line ${last} that do not end within ${LONGEST_RECORD} characters`;
  throw invalidOption('file', `${name}, ${why}`, 'CSV');
}

function columnsOf(header: readonly string[], name: string, ignored: (name: string) => void): readonly string[] {
  if (!header.some(namesKey)) {
    throw invalidOption(
      'file',
      `${name}, whose first line names no column "key"`,
      `CSV with a line of names before all others, of these: ${KEY_FIELDS}`,
    );
  }
  for (const column of header) if (column !== '' && !isKeyField(column)) ignored(column);
  return header;
}

function entryOf(columns: readonly string[], record: readonly string[], line: number): KeyEntry {
  if (record.length > columns.length && record.slice(columns.length).some((value) => value !== '')) {
    return { line, problem: `it has ${record.length} fields, where the first line names ${columns.length}` };
  }
  // Quotes that are no whole field's are left as they are; no key has any.
  if (columns.some((column, index) => namesKey(column) && record[index]?.includes('"'))) {
    return { line, problem: 'it is no CSV: look at its quotes' };
  }
  return { line, ...readFields(columns.map((column, index) => [column, record[index]?.trimEnd()] as const)) };
}

function delimiterOf(beginning: string): string {
  const header = /^[^\r\n]*/.exec(beginning)?.[0] ?? '';
  const counted = DELIMITERS.map((delimiter) => ({ delimiter, count: header.split(delimiter).length }));
  return counted.reduce((best, each) => (each.count > best.count ? each : best)).delimiter;
}

/** What comes before the first line ends, and everything. */
async function withBeginning(
  chunks: AsyncIterable<Uint8Array>,
): Promise<{ beginning: string; all: AsyncIterable<Uint8Array> }> {
  const iterator = chunks[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let beginning = '';
  while (!/[^\s][^\n]*\n/.test(beginning) && beginning.length <= LONGEST_RECORD) {
    const next = await iterator.next();
    if (next.done) break;
    first.push(next.value);
    beginning = withoutComments(Buffer.concat(first).toString('utf8'));
  }
  const all = async function* () {
    try {
      yield* first;
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
    } finally {
      await iterator.return?.();
    }
  };
  return { beginning, all: all() };
}

function withoutComments(text: string): string {
  return text.replace(/^\ufeff/, '').replace(/^(\s*#[^\n]*(\n|$)|\s*\n)+/, '');
}
