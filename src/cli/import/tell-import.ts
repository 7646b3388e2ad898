import { type ImportSummary, keysRead } from '../../client/import-summary.ts';
import { inFileWords } from '../field-words.ts';
import { prettyJson } from '../json.ts';
import type { Output } from '../output.ts';

/** What came of an import, file by file. */
export interface ImportTold {
  /** "": the files', else default. */
  pool: string;
  source: string;
  dryRun: boolean;
  complete: boolean;
  /** `place`: what their lines are called. */
  files: { name: string; place: string; summary: Readonly<ImportSummary> }[];
  /** What could not be read to its end, and why. */
  failures: { file: string; reason: string }[];
  /** Sentences about what was done beside. */
  notes: readonly string[];
}

/** Rejections told to a person one by one; `--json` has more. */
const MOST_COMPLAINTS = 20;
const COUNTS = ['new', 'updated', 'skipped', 'rejected'] as const;

/** Tells nothing, but in JSON, where there was no key. */
export async function tellImport(told: ImportTold, json: boolean, output: Output): Promise<void> {
  const { files, pool, source, dryRun, complete, failures, notes } = told;
  const counts = { new: 0, updated: 0, skipped: 0, rejected: 0 };
  for (const { summary } of files) for (const name of COUNTS) counts[name] += summary[name];
  const ignored = [...new Set(files.flatMap(({ summary }) => summary.ignored))];
  if (json) {
    const rejectedLines = files.flatMap(({ name, summary }) =>
      summary.rejections.map((rejection) => ({ file: name, ...rejection })),
    );
    await output.line(
      prettyJson({
        pool: pool || 'default',
        source,
        dryRun,
        complete,
        ...counts,
        rejectedLines,
        ignored,
        failures,
        notes,
      }),
    );
    return;
  }
  if (ignored.length > 0) output.complain(`left out, for these names mean nothing here: ${ignored.join(', ')}`);
  if (keysRead(counts) === 0) return;
  const complaints = files.flatMap(({ place, summary }) =>
    summary.rejections.map(({ line, reason }) => `${place} ${line}: ${inFileWords(reason)}`),
  );
  for (const complaint of complaints.slice(0, MOST_COMPLAINTS)) output.complain(complaint);
  if (counts.rejected > MOST_COMPLAINTS) output.complain(`and ${counts.rejected - MOST_COMPLAINTS} more lines`);
  const where = pool === '' ? 'default' : pool;
  const deed = dryRun ? `checked for pool ${where}, nothing changed` : `imported into pool ${where}`;
  const { new: fresh, updated, skipped, rejected } = counts;
  await output.line(
    `${deed}: ${fresh} new, ${updated} updated, ${skipped} there already or repeated, ${rejected} rejected`,
  );
  for (const note of notes) await output.line(note);
}
