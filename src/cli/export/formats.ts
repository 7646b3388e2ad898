import { extname } from 'node:path';

export type ExportFormat = 'csv' | 'json' | 'jsonl';

export const EXPORT_FORMATS: readonly ExportFormat[] = ['csv', 'json', 'jsonl'];

/** By the name of the file; CSV where that says nothing. */
export function formatOfOutput(file = ''): ExportFormat {
  const extension = extname(file).toLowerCase();
  return extension === '.json' ? 'json' : extension === '.jsonl' || extension === '.ndjson' ? 'jsonl' : 'csv';
}

/** How a format is written: what comes before all records, between two, and after all. */
export const FORMATS: Readonly<
  Record<
    ExportFormat,
    { before: (names: string[]) => string; record: (value: object) => string; between: string; after: string }
  >
> = {
  csv: {
    before: (names) => `${names.join(',')}\n`,
    record: (value) => Object.values(value).map(cell).join(','),
    between: '\n',
    after: '\n',
  },
  json: { before: () => '{"keys":[\n', record: (value) => JSON.stringify(value), between: ',\n', after: '\n]}\n' },
  jsonl: { before: () => '', record: (value) => JSON.stringify(value), between: '\n', after: '\n' },
};

/** Lists with spaces between, objects in JSON. A # that begins a line would begin a comment. */
function cell(value: unknown): string {
  if (value === undefined || value === null) return '';
  const text = Array.isArray(value) ? value.join(' ') : typeof value === 'object' ? labels(value) : String(value);
  return /[",;\t\r\n]|^[\s#]|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function labels(value: object): string {
  return Object.keys(value).length === 0 ? '' : JSON.stringify(value);
}
