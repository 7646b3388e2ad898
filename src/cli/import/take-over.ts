import { emptySummary } from '../../client/import-summary.ts';
import { importEntries } from '../../client/key-file.ts';
import type { ImportCommandOptions } from '../commands/import.ts';
import { CliError, EXIT } from '../exit-code.ts';
import type { Output } from '../output.ts';
import { count } from '../words.ts';
import { withDatabaseCopy } from './database-copy.ts';
import { type Predecessor, predecessorEntries } from './easy-gemini-balance.ts';
import { type ImportSource, runImport } from './run-import.ts';

/** Takes over the keys of easy-gemini-balance. Of one that is here already nothing is taken: what is known here is newer. */
export async function takeOver(file: string, options: ImportCommandOptions, output: Output): Promise<void> {
  const { keepWeights = false, dryRun = false } = options;
  checkOptions(options);
  const predecessor: Predecessor = { keepWeights, met: { outOfUse: 0, imports: 0, secretSources: 0 } };
  const source: ImportSource = {
    name: file,
    place: 'row',
    read: async (importer, importing) => {
      const summary = emptySummary();
      await withDatabaseCopy(file, (database) =>
        importEntries(importer, predecessorEntries(database, file, predecessor), importing, summary),
      );
      return summary;
    },
  };
  await runImport([source], options, output, () => notesOf(predecessor, dryRun));
}

/** What its file says goes before what a flag could say of all keys. */
function checkOptions({ format, weight, onConflict }: ImportCommandOptions): void {
  const given = [format && '--format', weight && '--weight', onConflict === 'update' && '--on-conflict update'];
  const wrong = given.filter(Boolean);
  if (wrong.length === 0) return;
  throw new CliError(EXIT.usage, `${wrong.join(', ')} cannot be given with --from-easy-gemini-balance`);
}

function notesOf({ keepWeights, met: { outOfUse, imports, secretSources } }: Predecessor, dryRun: boolean): string[] {
  const notes = [
    keepWeights
      ? 'weights: as they were'
      : 'weights: 1 each; how far outcomes had lowered them is kept as health (--keep-weights takes them as they were)',
  ];
  if (outOfUse > 0) {
    notes.push(
      `${count(outOfUse, 'key')} out of use there: quarantined, if new here, until Gemini was asked; \`test-keys --apply\` asks at once`,
    );
  }
  if (secretSources > 0) notes.push(`${count(secretSources, 'source')} that looked like an API key: left out`);
  if (imports > 0) notes.push(`${count(imports, 'import')} in its history: not taken over`);
  return dryRun ? [] : notes;
}
