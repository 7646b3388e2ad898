import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { ImportConflict, type ImportKeyResult, ImportStatus } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Balancer } from './balancer.ts';
import { invalidOption } from './errors.ts';
import { readKeyLine } from './key-line.ts';
import { type TextLine, textLines } from './text-lines.ts';

/** As much of a Balancer as an import needs. */
export interface KeyImporter {
  readonly keyBalancer: Pick<Balancer['keyBalancer'], 'importKeys'>;
}

/** How keys are imported. */
export interface ImportOptions {
  /** Default: "default". */
  pool?: string;
  /** Where the keys came from; kept with them. */
  source?: string;
  /**
   * keep (default): a key that is there already stays as it is. update: its weight, project, source and labels become
   * what the import says, and a file of lines says no project and no labels.
   */
  onConflict?: 'keep' | 'update';
  /** Check only, change nothing. */
  validateOnly?: boolean;
  /** Ends the import: it rejects with code CANCELLED, and what was imported stays. */
  signal?: AbortSignal;
  /** Told what came of the import so far, after each call of ImportKeys. */
  onProgress?: (summary: Readonly<ImportSummary>) => void;
}

/** What came of an import. new + updated + skipped + rejected = the keys read. */
export interface ImportSummary {
  /** Keys that were not there before. */
  new: number;
  /** Keys that were there and were changed. */
  updated: number;
  /** There already, or twice in the import. */
  skipped: number;
  /** Lines that are no key, or have no weight that can be. */
  rejected: number;
  /** Why, by line number; the first 1,000. Never the key. */
  rejections: { line: number; reason: string }[];
}

/** Keys to a call of ImportKeys: with the longest lines still below the message limit of 4 MiB. */
const BATCH = 2_000;
const LONGEST_LINE = 1_024;
const MOST_REJECTIONS = 1_000;
/** Text has no NUL; so much of the beginning is looked at before anything is imported. */
const SNIFFED = 8_192;

/** Imports the keys of a file, line by line: KEY or KEY:WEIGHT; blank lines and those that begin with # are skipped. */
export async function importKeyFile(
  balancer: KeyImporter,
  path: string,
  options: ImportOptions = {},
): Promise<ImportSummary> {
  await checkFile(path);
  return importKeyLines(balancer, createReadStream(path, { highWaterMark: 256 * 1024 }), options, path);
}

/** The same from any stream, such as process.stdin. `name` is what errors call it. */
export async function importKeyLines(
  balancer: KeyImporter,
  chunks: AsyncIterable<Uint8Array | string>,
  options: ImportOptions = {},
  name = 'the input',
): Promise<ImportSummary> {
  const summary: ImportSummary = { new: 0, updated: 0, skipped: 0, rejected: 0, rejections: [] };
  const reject = (line: number, reason: string): void => {
    summary.rejected++;
    if (summary.rejections.length < MOST_REJECTIONS) summary.rejections.push({ line, reason });
  };
  let batch: KeyOfLine[] = [];
  const flush = async (): Promise<void> => {
    if (batch.length === 0) return;
    const sent = batch;
    batch = [];
    const results = await importBatch(balancer, sent, options);
    for (const [index, result] of results.entries()) count(summary, result, sent[index]?.line ?? 0, reject);
    options.onProgress?.(summary);
  };

  for await (const lines of textLines(refuseBinary(chunks, name), LONGEST_LINE)) {
    for (const line of lines) {
      const key = keyOf(line);
      if (key === undefined) continue;
      if ('problem' in key) reject(line.number, key.problem);
      else if (batch.push({ ...key, line: line.number }) === BATCH) await flush();
    }
  }
  await flush();
  // Batches are answered after the lines that never reached one.
  summary.rejections.sort((a, b) => a.line - b.line);
  return summary;
}

interface KeyOfLine {
  apiKey: string;
  weight: number | undefined;
  line: number;
}

function keyOf({ text, cut }: TextLine): ReturnType<typeof readKeyLine> {
  // A comment may be as long as it likes.
  if (cut && !text.trimStart().startsWith('#')) return { problem: `the line is longer than ${LONGEST_LINE} bytes` };
  return readKeyLine(text);
}

async function importBatch(
  balancer: KeyImporter,
  keys: readonly KeyOfLine[],
  { pool = '', source = '', onConflict = 'keep', validateOnly = false, signal }: ImportOptions,
): Promise<readonly ImportKeyResult[]> {
  const response = await balancer.keyBalancer.importKeys(
    {
      pool,
      source,
      keys: keys.map(({ apiKey, weight }) => (weight === undefined ? { apiKey } : { apiKey, weight })),
      onConflict: onConflict === 'update' ? ImportConflict.UPDATE : ImportConflict.KEEP,
      validateOnly,
    },
    { signal },
  );
  return response.results;
}

function count(
  summary: ImportSummary,
  { status, error }: ImportKeyResult,
  line: number,
  reject: (line: number, reason: string) => void,
): void {
  switch (status) {
    case ImportStatus.CREATED:
      summary.new++;
      return;
    case ImportStatus.UPDATED:
      summary.updated++;
      return;
    case ImportStatus.UNCHANGED:
    case ImportStatus.DUPLICATE_IN_REQUEST:
      summary.skipped++;
      return;
    default:
      // The index in the request means nothing to whoever reads line numbers.
      reject(line, (error?.message ?? 'refused').replace(/\bkeys\[\d+\]\.?/g, ''));
  }
}

/** Refuses a text whose beginning has a NUL before any key of it is imported. */
async function* refuseBinary(chunks: AsyncIterable<Uint8Array | string>, name: string): AsyncGenerator<Uint8Array> {
  let sniffed = 0;
  for await (const chunk of chunks) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    if (sniffed < SNIFFED) {
      if (bytes.subarray(0, SNIFFED - sniffed).includes(0)) {
        throw invalidOption(
          'file',
          `${name}, which has NUL bytes`,
          'a UTF-8 text, one key a line (not binary, not UTF-16)',
        );
      }
      sniffed += bytes.length;
    }
    yield bytes;
  }
}

async function checkFile(path: string): Promise<void> {
  const allowed = 'a readable text file, one key a line';
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    const why = error.code === 'ENOENT' ? 'which does not exist' : `which cannot be read: ${error.code}`;
    throw invalidOption('file', `${path}, ${why}`, allowed);
  });
  if (info.isDirectory()) throw invalidOption('file', `${path}, which is a directory`, allowed);
}
