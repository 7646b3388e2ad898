import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { ImportConflict, type ImportKeyResult, ImportStatus } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Balancer } from './balancer.ts';
import { invalidOption, type KeyBalancerError } from './errors.ts';
import { emptySummary, type ImportResult, type ImportSummary, ignore, reject } from './import-summary.ts';
import { formatOf, KEY_READERS, type KeyFileFormat } from './key-formats/formats.ts';
import type { KeyEntry, KeyOfFile } from './key-formats/key-entry.ts';
import { refuseOtherFiles } from './key-formats/refuse-other-files.ts';
import { SeenKeys } from './seen-keys.ts';

/** As much of a Balancer as an import needs. */
export interface KeyImporter {
  readonly keyBalancer: Pick<Balancer['keyBalancer'], 'importKeys'>;
}

/** How keys are imported. Of a key's settings the file's own come first. */
export interface ImportOptions {
  /** Default: "default". */
  pool?: string | undefined;
  /** Where the keys came from; kept with them. */
  source?: string | undefined;
  /** How the file is written. Default: by the end of its name, such as .csv; text where that says nothing. */
  format?: KeyFileFormat | undefined;
  /** Share of the calls beside other keys, 0.001 to 1000. Default: 1. */
  weight?: number | undefined;
  /** Google Cloud project, whose quota its keys share. Default: not known. */
  project?: string | undefined;
  /** Models that the keys may serve. Default: all. */
  models?: readonly string[] | undefined;
  /** Labels of the keys, beside the file's own. */
  labels?: Readonly<Record<string, string>> | undefined;
  /**
   * keep (default): a key that is there already stays as it is. update: its weight, project, source and labels become
   * what the import says, and what it does not say is 1, "", "" and none. Of a key that comes twice the first place counts.
   */
  onConflict?: 'keep' | 'update' | undefined;
  /** Check only, change nothing. */
  validateOnly?: boolean | undefined;
  /** Ends the import: it rejects with code CANCELLED, and what was imported stays. */
  signal?: AbortSignal | undefined;
  /** Told what came of the import so far, after each call of ImportKeys. */
  onProgress?: ((summary: Readonly<ImportSummary>) => void) | undefined;
}

/** What the command line asks beside. */
export interface EntryOptions extends ImportOptions {
  /** Told what became of keys, line by line, but for those that were rejected. The import waits for it. */
  onResults?: (results: readonly { line: number; result: ImportResult }[]) => Promise<void>;
  /** Of several files: keys of those before. */
  seen?: SeenKeys;
}

/** Keys to a call of ImportKeys: with the longest texts still below the message limit of 4 MiB. */
const BATCH = 2_000;
/** About as many bytes of keys to a call; records may be long. */
const BATCH_BYTES = 2 * 1024 * 1024;

/** Imports the keys of a file, of whatever format. */
export async function importKeyFile(
  balancer: KeyImporter,
  path: string,
  options: ImportOptions = {},
): Promise<ImportSummary> {
  await checkFile(path);
  const chunks = createReadStream(path, { highWaterMark: 256 * 1024 });
  return importKeyStream(balancer, chunks, { ...options, format: options.format ?? formatOf(path) }, path);
}

/** The same from any stream, such as process.stdin; as text if nothing is said. `name` is what errors call it. */
export async function importKeyStream(
  balancer: KeyImporter,
  chunks: AsyncIterable<Uint8Array | string>,
  options: EntryOptions = {},
  name = 'the input',
): Promise<ImportSummary> {
  const summary = emptySummary();
  const source = {
    chunks: refuseOtherFiles(chunks, name),
    name,
    ignored: (field: string) => ignore(summary, field),
  };
  await importEntries(balancer, KEY_READERS[options.format ?? 'text'](source), options, summary);
  return summary;
}

/** Imports what a reader found, and counts it in the summary. */
export async function importEntries(
  balancer: KeyImporter,
  parts: AsyncIterable<readonly KeyEntry[]>,
  options: EntryOptions,
  summary: ImportSummary,
): Promise<void> {
  const batches = new Map<string, Batch>();
  const missingPools = new Map<string, string>();
  // The balancer tells a key that comes twice in one call; in two it would check it twice, or update it twice.
  const mustTell = options.validateOnly || options.onConflict === 'update';
  const taken = mustTell ? (options.seen ?? new SeenKeys()) : undefined;
  const flush = async (pool: string, { keys }: Batch): Promise<void> => {
    batches.delete(pool);
    await importBatch(balancer, pool, keys, options, summary, taken).catch((error) => {
      // A pool that the file names is a matter of the lines that name it.
      if (options.pool || error.reason !== 'POOL_NOT_FOUND') throw error;
      const reason = missingPool(error);
      missingPools.set(pool, reason);
      for (const { line } of keys) reject(summary, line, reason);
    });
    options.onProgress?.(summary);
  };
  for await (const entries of parts) {
    for (const entry of entries) {
      if ('problem' in entry) {
        reject(summary, entry.line, entry.problem);
        continue;
      }
      const { line, key } = entry;
      const pool = options.pool || key.pool || '';
      const missing = missingPools.get(pool);
      if (missing !== undefined) {
        reject(summary, line, missing);
        continue;
      }
      const batch = batches.get(pool) ?? { keys: [], bytes: 0 };
      batches.set(pool, batch);
      batch.keys.push({ line, key: withDefaults(key, options) });
      batch.bytes += sizeOf(key);
      if (batch.keys.length === BATCH || batch.bytes >= BATCH_BYTES) await flush(pool, batch);
    }
  }
  for (const [pool, batch] of batches) await flush(pool, batch);
  // Batches are answered after the lines that never reached one.
  summary.rejections.sort((a, b) => a.line - b.line);
}

/** What can never be a pool's name has no name in the error either. */
function missingPool({ message, metadata: { pool } }: KeyBalancerError): string {
  return pool === undefined ? message : `${message}; \`keybalancer pool create ${pool}\` makes it`;
}

interface Batch {
  keys: { line: number; key: KeyOfFile }[];
  bytes: number;
}

function withDefaults({ pool: _, ...key }: KeyOfFile, { weight, project, models, labels }: ImportOptions): KeyOfFile {
  return {
    ...(weight !== undefined && { weight }),
    ...(project !== undefined && { project }),
    ...(models !== undefined && { models: [...models] }),
    ...key,
    ...(labels !== undefined && { labels: { ...labels, ...key.labels } }),
  };
}

/** About, and rather more. */
function sizeOf({ apiKey, models, labels, project, source }: KeyOfFile): number {
  if (models === undefined && labels === undefined)
    return 3 * (apiKey.length + (project?.length ?? 0) + (source?.length ?? 0));
  return 3 * JSON.stringify({ apiKey, models, labels, project, source }).length;
}

async function importBatch(
  balancer: KeyImporter,
  pool: string,
  entries: Batch['keys'],
  { source = '', onConflict = 'keep', validateOnly = false, signal, onResults }: EntryOptions,
  summary: ImportSummary,
  taken: SeenKeys | undefined,
): Promise<void> {
  const repeated = new Set(entries.filter(({ key }) => taken?.has(key.apiKey)));
  const keys = entries.filter((entry) => !repeated.has(entry)).map(({ key }) => key);
  const conflict = onConflict === 'update' ? ImportConflict.UPDATE : ImportConflict.KEEP;
  const request = { pool, source, keys, onConflict: conflict, validateOnly };
  const answers = keys.length === 0 ? [] : (await balancer.keyBalancer.importKeys(request, { signal })).results;
  const results: { line: number; result: ImportResult }[] = [];
  let answered = 0;
  for (const entry of entries) {
    const { line, key } = entry;
    const answer = repeated.has(entry) ? undefined : answers[answered++];
    const result = answer === undefined ? 'skipped' : resultOf(answer);
    if (result === undefined) {
      // The index in the request means nothing to whoever reads line numbers.
      reject(summary, line, (answer?.error?.message ?? 'refused').replace(/\bkeys\[\d+\]\.?/g, ''));
      continue;
    }
    taken?.add(key.apiKey);
    summary[result]++;
    results.push({ line, result });
  }
  await onResults?.(results);
}

function resultOf({ status }: ImportKeyResult): ImportResult | undefined {
  switch (status) {
    case ImportStatus.CREATED:
      return 'new';
    case ImportStatus.UPDATED:
      return 'updated';
    case ImportStatus.UNCHANGED:
    case ImportStatus.DUPLICATE_IN_REQUEST:
      return 'skipped';
    default:
      return undefined;
  }
}

async function checkFile(path: string): Promise<void> {
  const allowed = 'a readable text file with keys';
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    const why = error.code === 'ENOENT' ? 'which does not exist' : `which cannot be read: ${error.code}`;
    throw invalidOption('file', `${path}, ${why}`, allowed);
  });
  if (info.isDirectory()) throw invalidOption('file', `${path}, which is a directory`, allowed);
}
