import { emptySummary } from '../../client/import-summary.ts';
import { type EntryOptions, importEntries } from '../../client/key-file.ts';
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
  const predecessor: Predecessor = { keepWeights, met: { outOfUse: new Set(), imports: 0, secretSources: 0 } };
  let suspected = 0;
  const source: ImportSource = {
    name: file,
    place: 'row',
    read: async (importer, importing) => {
      const summary = emptySummary();
      const onResults: EntryOptions['onResults'] = async (results) => {
        for (const { line, result } of results) if (result === 'new' && predecessor.met.outOfUse.has(line)) suspected++;
        await importing.onResults?.(results);
      };
      await withDatabaseCopy(file, (database) => {
        const rows = predecessorEntries(database, file, predecessor);
        return importEntries(importer, rows, { ...importing, onResults }, summary);
      });
      return summary;
    },
  };
  await runImport([source], options, output, () => (dryRun ? [] : notesOf(predecessor, suspected)));
}

/** What its file says goes before what a flag could say of all keys. */
function checkOptions({ format, weight, onConflict }: ImportCommandOptions): void {
  const given = [format && '--format', weight && '--weight', onConflict === 'update' && '--on-conflict update'];
  const wrong = given.filter(Boolean);
  if (wrong.length === 0) return;
  throw new CliError(EXIT.usage, `${wrong.join(', ')} cannot be given with --from-easy-gemini-balance`);
}

/** `suspected`: keys that were out of use there and are new here. */
function notesOf({ keepWeights, met: { imports, secretSources } }: Predecessor, suspected: number): string[] {
  const notes = [
    keepWeights
      ? 'weights: as they were'
      : 'weights: 1 each; how far outcomes had lowered them is kept as health (--keep-weights takes them as they were)',
  ];
  if (suspected > 0) {
    notes.push(
      `${count(suspected, 'key')} out of use there: quarantined until Gemini was asked (\`test-keys --apply\` asks at once); with --verify off disabled until \`reset KEY_ID --confirm\``,
    );
  }
  if (secretSources > 0) notes.push(`${count(secretSources, 'source')} that looked like an API key: left out`);
  if (imports > 0) notes.push(`${count(imports, 'import')} in its history: not taken over`);
  return notes;
}
