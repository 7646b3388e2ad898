/** What came of an import. new + updated + skipped + rejected = the keys read. */
export interface ImportSummary {
  /** Keys that were not there before. */
  new: number;
  /** Keys that were there and were changed. */
  updated: number;
  /** There already, or twice in the import. */
  skipped: number;
  /** What is no key, or has settings that cannot be. */
  rejected: number;
  /** Why, by line number, and in a list of JSON by item too; the first 1,000. Never the key. */
  rejections: { line: number; reason: string }[];
  /** Columns, fields and variables that were left out, since their names mean nothing here; the first 20. */
  ignored: string[];
}

/** What became of one key. */
export type ImportResult = 'new' | 'updated' | 'skipped';

const MOST_REJECTIONS = 1_000;
const MOST_IGNORED = 20;
/** A name that a person gave a column. Anything else may be a key in the wrong place. */
const PLAIN_NAME = /^[A-Za-z][A-Za-z _.-]{0,39}\d{0,3}$/;

export function emptySummary(): ImportSummary {
  return { new: 0, updated: 0, skipped: 0, rejected: 0, rejections: [], ignored: [] };
}

/** Keys that an import has read. */
export function keysRead(summary: Omit<ImportSummary, 'rejections' | 'ignored'>): number {
  return summary.new + summary.updated + summary.skipped + summary.rejected;
}

export function reject(summary: ImportSummary, line: number, reason: string): void {
  summary.rejected++;
  if (summary.rejections.length < MOST_REJECTIONS) summary.rejections.push({ line, reason });
}

export function ignore(summary: ImportSummary, name: string): void {
  const shown = PLAIN_NAME.test(name) ? name : 'one whose name is not shown';
  if (summary.ignored.length < MOST_IGNORED && !summary.ignored.includes(shown)) summary.ignored.push(shown);
}
