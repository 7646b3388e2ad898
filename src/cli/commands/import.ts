import type { Command } from 'commander';
import { type ImportOptions, type ImportSummary, importKeyLines, type KeyImporter } from '../../client/key-file.ts';
import type { CommandContext } from '../command-context.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { inCommandWords } from '../field-words.ts';
import { prettyJson } from '../json.ts';
import { openKeySource } from '../key-source.ts';
import { addClientOptions, addHelpExamples, type ClientOptions, wordOption } from '../options.ts';
import type { Output } from '../output.ts';
import { withReach } from '../with-balancer.ts';
import { count } from '../words.ts';

interface ImportCommandOptions extends ClientOptions {
  pool?: string;
  source: string;
  onConflict: 'keep' | 'update';
  dryRun?: true;
}

/** Rejections told to a person one by one; `--json` has more. */
const MOST_COMPLAINTS = 20;

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .argument('<FILE>', 'lines of KEY or KEY:WEIGHT, with # comments; - is standard input')
    .option('--pool <NAME>', 'pool to add them to (default: default)')
    .option('--source <NAME>', 'where they come from, kept with them', 'imported')
    .option(
      '--on-conflict <keep|update>',
      'what becomes of the settings of a key that is there already',
      wordOption('--on-conflict', ['keep', 'update']),
      'keep',
    )
    .option('--dry-run', 'only check, change nothing')
    .action((file: string, options: ImportCommandOptions) => importKeys(file, options, output));
  addHelpExamples(command, 'import keys.txt', 'import - --pool batch --dry-run < keys.txt').addHelpText(
    'after',
    [
      '',
      'Lines that cannot be used are named on standard error by number and reason, never the key; the rest is imported',
      '(exit code 4). To repeat an import is safe: keys that are there are skipped.',
      '--json prints pool, source, dryRun, complete, new, updated, skipped, rejected and rejectedLines (line, reason; the first 1,000).',
    ].join('\n'),
  );
}

async function importKeys(file: string, options: ImportCommandOptions, output: Output): Promise<void> {
  const { pool = 'default', source, onConflict, dryRun = false } = options;
  let summary: Readonly<ImportSummary> = { new: 0, updated: 0, skipped: 0, rejected: 0, rejections: [] };
  const name = file === '-' ? 'standard input' : file;
  await withReach({ ...options, mayCreate: true }, output, async (reach, signal) => {
    if (file === '-' && process.stdin.isTTY)
      output.complain('reading keys from the terminal, one a line; Ctrl-D ends them');
    const chunks = openKeySource(file, signal);
    // A data dir is made, or a server asked, only when there is a key to import.
    const importer: KeyImporter = {
      keyBalancer: { importKeys: async (...call) => (await reach()).keyBalancer.importKeys(...call) },
    };
    const importing: ImportOptions = {
      pool,
      source,
      onConflict,
      validateOnly: dryRun,
      signal,
      onProgress: (sofar) => {
        summary = sofar;
        output.progress(`${dryRun ? 'checked' : 'imported'} ${keysRead(sofar).toLocaleString('en')} keys`);
      },
    };
    let failure: unknown;
    try {
      summary = await importKeyLines(importer, chunks, importing, name);
    } catch (error) {
      failure = error;
    }
    const complete = failure === undefined;
    if (options.json) {
      const { rejections: rejectedLines, ...counts } = summary;
      await output.line(prettyJson({ pool, source, dryRun, complete, ...counts, rejectedLines }));
    } else if (keysRead(summary) > 0) {
      await printSummary(summary, { pool, dryRun }, output);
    }
    if (!complete) throw stopped(failure, summary, { dryRun, signal });
    judge(summary, name);
  });
}

function keysRead(summary: ImportSummary): number {
  return summary.new + summary.updated + summary.skipped + summary.rejected;
}

async function printSummary(
  summary: ImportSummary,
  { pool, dryRun }: { pool: string; dryRun: boolean },
  output: Output,
): Promise<void> {
  const { rejections } = summary;
  for (const { line, reason } of rejections.slice(0, MOST_COMPLAINTS))
    output.complain(`line ${line}: ${inCommandWords(reason)}`);
  if (summary.rejected > MOST_COMPLAINTS) output.complain(`and ${summary.rejected - MOST_COMPLAINTS} more lines`);
  const figures = `${summary.new} new, ${summary.updated} updated, ${summary.skipped} there already or repeated, ${summary.rejected} rejected`;
  const deed = dryRun ? `checked for pool ${pool}, nothing changed` : `imported into pool ${pool}`;
  await output.line(`${deed}: ${figures}`);
}

/** What the exit code says of an import that went to the end. */
function judge(summary: ImportSummary, name: string): void {
  if (keysRead(summary) === 0) throw new CliError(EXIT.failed, `no key in ${name}`);
  if (summary.rejected === 0) return;
  const some = summary.rejected < keysRead(summary);
  throw new CliError(some ? EXIT.partly : EXIT.failed, `${count(summary.rejected, 'line')} rejected`);
}

function stopped(
  failure: unknown,
  summary: ImportSummary,
  { dryRun, signal }: { dryRun: boolean; signal: AbortSignal },
): unknown {
  const imported = summary.new + summary.updated;
  if (signal.aborted || dryRun || imported === 0) return failure;
  const message = failure instanceof Error ? failure.message : String(failure);
  return new CliError(
    EXIT.partly,
    `stopped after ${count(imported, 'key')}: ${message}; repeat the command to go on, keys that are there are skipped`,
  );
}
