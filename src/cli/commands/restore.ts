import type { Command } from 'commander';
import { readClientConfig } from '../../server/config/config.ts';
import type { CommandContext } from '../command-context.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { prettyJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions, flagsOf } from '../options.ts';
import type { Output } from '../output.ts';
import { bytes, count } from '../words.ts';

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .argument('<FILE>', 'a file that `backup` wrote')
    .option('--confirm', 'do it; without it the backup is checked, and nothing changes')
    .action((file: string, options: ClientOptions & { confirm?: true }) => restore(file, options, output));
  addHelpExamples(
    command,
    'restore keys-2026-11-25.db',
    'restore keys-2026-11-25.db --data-dir ./data --confirm',
  ).addHelpText(
    'after',
    [
      '',
      'Puts the backup in the place of the database, which is kept beside it under a name that ends in .before-restore-TIME.',
      'The data dir must not be in use. The master key that sealed the backup must be in the data dir, or be given.',
      'Root may restore into the data dir of another user, to whom the files then belong.',
      'What was counted and learned since the backup is lost; reports of leases given since then are still taken.',
      '--json prints file, restored, replaced (null: there was no database), keys, schemaVersion and sizeBytes.',
    ].join('\n'),
  );
}

async function restore(file: string, options: ClientOptions & { confirm?: true }, output: Output): Promise<void> {
  const { address, dataDir, masterKey } = readClientConfig(flagsOf(options));
  if (address !== undefined) {
    throw new CliError(
      EXIT.usage,
      '`restore` acts on a data dir that is not in use, and on no server: give --data-dir DIR',
    );
  }
  const { examineBackup, restoreBackup } = await import('../../store/restore-backup.ts');
  output.progress('checking');
  const found = await examineBackup(file, dataDir, masterKey);
  if (found.problems.length > 0) {
    throw new CliError(
      EXIT.failed,
      ['the backup is not in order, and was not restored:', ...found.problems].join('\n'),
    );
  }
  const replaced = options.confirm ? restoreBackup(file, dataDir) : undefined;
  const { problems: _, ...figures } = found;
  if (options.json) {
    return output.line(
      prettyJson({ file, restored: options.confirm === true, replaced: replaced ?? null, ...figures }),
    );
  }
  const what = `${count(found.keys, 'key')}, ${bytes(BigInt(found.sizeBytes))}`;
  if (!options.confirm) return output.line(`would restore ${what} to ${dataDir}; repeat with --confirm to do it`);
  await output.line(`restored ${what} to ${dataDir}${replaced === undefined ? '' : `; what was there is ${replaced}`}`);
}
