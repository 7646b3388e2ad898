import { emptySummary, type ImportSummary, keysRead } from '../../client/import-summary.ts';
import type { EntryOptions, KeyImporter } from '../../client/key-file.ts';
import { SeenKeys } from '../../client/seen-keys.ts';
import { redact } from '../../gemini/redact.ts';
import type { ImportCommandOptions } from '../commands/import.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { explainFailure } from '../explain-failure.ts';
import type { Output } from '../output.ts';
import { withReach } from '../with-balancer.ts';
import { count } from '../words.ts';
import { type ImportTold, tellImport } from './tell-import.ts';

/** Where keys come from. */
export interface ImportSource {
  name: string;
  /** What its places are called. */
  place: 'line' | 'row';
  /** Rejects with a CliError, or a KeyBalancerError of the field "file", where it cannot be read. */
  read: (importer: KeyImporter, importing: EntryOptions, signal: AbortSignal) => Promise<ImportSummary>;
}

/**
 * Imports from one source after the other. One that cannot be read keeps none of the others back. `notes`: what there is to
 * say when all is read.
 */
export async function runImport(
  sources: readonly ImportSource[],
  options: ImportCommandOptions,
  output: Output,
  notes: () => string[] = () => [],
): Promise<void> {
  const { source, dryRun = false, json = false } = options;
  await withReach({ ...options, mayCreate: true }, output, async (reach, signal) => {
    // A data dir is made, or a server asked, only when there is a key to import.
    const importer: KeyImporter = {
      keyBalancer: { importKeys: async (...call) => (await reach()).keyBalancer.importKeys(...call) },
    };
    const told: ImportTold = {
      pool: options.pool ?? '',
      source,
      dryRun,
      complete: true,
      files: [],
      failures: [],
      notes: [],
    };
    const failures: unknown[] = [];
    const seen = new SeenKeys();
    for (const { name, place, read } of sources) {
      const done = { name, place: sources.length > 1 ? `${name} ${place}` : place, summary: emptySummary() };
      told.files.push(done);
      try {
        done.summary = await read(importer, { ...importingOf(options, told, output, signal), seen }, signal);
      } catch (error) {
        // What came before is counted as it was told last.
        failures.push(error);
        const reason = signal.aborted ? 'interrupted' : (explainFailure(error).message ?? '');
        told.failures.push({ file: redact(name), reason });
        if (signal.aborted || !isOfFile(error)) break;
      }
    }
    told.complete = failures.length === 0;
    told.notes = notes();
    await tellImport(told, json, output);
    judge(told, failures, signal);
  });
}

/** How keys of the source that was begun last are imported. */
function importingOf(
  { weight, project, model, label, pool = '', source, onConflict, dryRun = false, json = false }: ImportCommandOptions,
  { files }: ImportTold,
  output: Output,
  signal: AbortSignal,
): EntryOptions {
  const done = files.at(-1)!;
  const before = files.slice(0, -1).reduce((sum, { summary }) => sum + keysRead(summary), 0);
  return {
    pool,
    source,
    ...(weight !== undefined && { weight }),
    ...(project !== undefined && { project }),
    ...(model !== undefined && { models: model }),
    ...(label !== undefined && { labels: label }),
    onConflict,
    validateOnly: dryRun,
    signal,
    onProgress: (sofar) => {
      done.summary = sofar;
      output.progress(`${dryRun ? 'checked' : 'imported'} ${(before + keysRead(sofar)).toLocaleString('en')} keys`);
    },
    ...(dryRun &&
      !json && {
        onResults: (results) =>
          output.write(results.map(({ line, result }) => `${done.place} ${line}: ${WOULD_BE[result]}\n`).join('')),
      }),
  };
}

const WOULD_BE = { new: 'new', updated: 'would be updated', skipped: 'there already, or repeated' };

/** Whether the next file may do better. */
function isOfFile(error: unknown): boolean {
  if (error instanceof CliError) return true;
  const { name, metadata } = error as { name?: string; metadata?: { field?: string } };
  return name === 'KeyBalancerError' && metadata?.field === 'file';
}

/** What the exit code says of an import. */
function judge(told: ImportTold, failures: readonly unknown[], signal: AbortSignal): void {
  const { files, dryRun } = told;
  const sum = (of: (summary: ImportSummary) => number): number =>
    files.reduce((total, { summary }) => total + of(summary), 0);
  const read = sum(keysRead);
  const rejected = sum((summary) => summary.rejected);
  if (failures.length > 0) {
    const last = failures.at(-1);
    if (signal.aborted || (failures.length === 1 && rejected === read)) throw last;
    const reasons = told.failures.map(({ reason }) => reason).join('\n');
    // Only the last can be another than that a file cannot be read.
    if (rejected === read) throw new CliError(explainFailure(last).exitCode, reasons);
    const advice = dryRun ? '' : '; repeat the command to go on, keys that are there are skipped';
    throw new CliError(EXIT.partly, `stopped after ${count(read - rejected, 'key')}: ${reasons}${advice}`);
  }
  if (read === 0) throw new CliError(EXIT.failed, `no key in ${files.map(({ name }) => name).join(', ')}`);
  if (rejected > 0) {
    throw new CliError(rejected < read ? EXIT.partly : EXIT.failed, `${count(rejected, 'line')} rejected`);
  }
}
