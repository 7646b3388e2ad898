import { emptySummary, type ImportSummary, keysRead } from '../../client/import-summary.ts';
import { type EntryOptions, importKeyStream, type KeyImporter } from '../../client/key-file.ts';
import { formatOf } from '../../client/key-formats/formats.ts';
import type { ImportCommandOptions } from '../commands/import.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { openKeySource } from '../key-source.ts';
import type { Output } from '../output.ts';
import { withReach } from '../with-balancer.ts';
import { count } from '../words.ts';
import { type ImportTold, tellImport } from './tell-import.ts';

/** Imports one file after the other. A file that cannot be read keeps none of the others back. */
export async function importFiles(
  files: readonly string[],
  options: ImportCommandOptions,
  output: Output,
): Promise<void> {
  const { source, dryRun = false, json = false } = options;
  await withReach({ ...options, mayCreate: true }, output, async (reach, signal) => {
    // A data dir is made, or a server asked, only when there is a key to import.
    const importer: KeyImporter = {
      keyBalancer: { importKeys: async (...call) => (await reach()).keyBalancer.importKeys(...call) },
    };
    const told: ImportTold = { pool: options.pool ?? '', source, dryRun, complete: true, files: [] };
    const failures: unknown[] = [];
    for (const file of files) {
      const name = file === '-' ? 'standard input' : file;
      const done = { name, summary: emptySummary() };
      told.files.push(done);
      try {
        done.summary = await importFile(file, name, importer, { options, signal, told, output });
      } catch (error) {
        // What came before is counted as it was told last.
        failures.push(error);
        if (signal.aborted || !isOfFile(error)) break;
      }
    }
    told.complete = failures.length === 0;
    await tellImport(told, json, output);
    judge(told, failures, signal);
  });
}

interface FileImport {
  options: ImportCommandOptions;
  signal: AbortSignal;
  told: ImportTold;
  output: Output;
}

async function importFile(
  file: string,
  name: string,
  importer: KeyImporter,
  { options, signal, told, output }: FileImport,
): Promise<ImportSummary> {
  const { weight, project, model, label, pool = '', source, onConflict, dryRun = false, json = false } = options;
  if (file === '-' && process.stdin.isTTY) output.complain('reading keys from the terminal; Ctrl-D ends them');
  const before = told.files.slice(0, -1).reduce((sum, { summary }) => sum + keysRead(summary), 0);
  const place = told.files.length > 1 ? `${name} line` : 'line';
  const importing: EntryOptions = {
    pool,
    source,
    format: options.format ?? formatOf(file),
    ...(weight !== undefined && { weight }),
    ...(project !== undefined && { project }),
    ...(model !== undefined && { models: model }),
    ...(label !== undefined && { labels: label }),
    onConflict,
    validateOnly: dryRun,
    signal,
    onProgress: (sofar) => {
      told.files.at(-1)!.summary = sofar;
      const read = before + keysRead(sofar);
      output.progress(`${dryRun ? 'checked' : 'imported'} ${read.toLocaleString('en')} keys`);
    },
    ...(dryRun &&
      !json && {
        onResults: (results) =>
          output.write(results.map(({ line, result }) => `${place} ${line}: ${WOULD_BE[result]}\n`).join('')),
      }),
  };
  return importKeyStream(importer, openKeySource(file, signal), importing, name);
}

const WOULD_BE = { new: 'new', updated: 'would be updated', skipped: 'there already, or repeated' };

/** Whether the next file may do better. */
function isOfFile(error: unknown): boolean {
  if (error instanceof CliError) return true;
  const { name, metadata } = error as { name?: string; metadata?: { field?: string } };
  return name === 'KeyBalancerError' && metadata?.field === 'file';
}

/** What the exit code says of an import. */
function judge({ files, dryRun }: ImportTold, failures: readonly unknown[], signal: AbortSignal): void {
  const sum = (of: (summary: ImportSummary) => number): number =>
    files.reduce((total, { summary }) => total + of(summary), 0);
  const imported = sum((summary) => summary.new + summary.updated);
  if (failures.length > 0) {
    if (signal.aborted || dryRun || imported === 0) throw failures[0];
    const messages = failures.map((failure) => (failure instanceof Error ? failure.message : String(failure)));
    throw new CliError(
      EXIT.partly,
      `stopped after ${count(imported, 'key')}: ${messages.join('\n')}; repeat the command to go on, keys that are there are skipped`,
    );
  }
  const read = sum(keysRead);
  const rejected = sum((summary) => summary.rejected);
  if (read === 0) throw new CliError(EXIT.failed, `no key in ${files.map(({ name }) => name).join(', ')}`);
  if (rejected > 0) {
    throw new CliError(rejected < read ? EXIT.partly : EXIT.failed, `${count(rejected, 'line')} rejected`);
  }
}
