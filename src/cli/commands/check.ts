import type { Command } from 'commander';
import { readClientConfig } from '../../server/config/config.ts';
import type { Examination } from '../../store/open-store.ts';
import type { CommandContext } from '../command-context.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { prettyJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions, flagsOf } from '../options.ts';
import type { Output } from '../output.ts';
import { withMaintenance } from '../with-operator.ts';
import { bytes, count } from '../words.ts';

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .argument('[FILE]', 'a backup to check (default: the database of the data dir)')
    .action((file: string | undefined, options: ClientOptions) => check(file, options, output));
  addHelpExamples(command, 'check', 'check keys-2026-11-25.db').addHelpText(
    'after',
    [
      '',
      'Reads all of the database, and opens every sealed key with the master key. While the data dir is in use a copy is made for',
      'that, and needs the disk space of one. The exit code is 1 when something is wrong.',
      '--json prints keys, schemaVersion, sizeBytes and problems.',
    ].join('\n'),
  );
}

async function check(file: string | undefined, options: ClientOptions, output: Output): Promise<void> {
  output.progress('checking');
  const result =
    file === undefined
      ? await withMaintenance('check', options, output, (maintenance) => maintenance.check())
      : await checkBackup(file, options);
  if (options.json) await output.line(prettyJson(result));
  if (result.problems.length > 0) throw new CliError(EXIT.failed, result.problems.join('\n'));
  if (options.json) return;
  const { keys, schemaVersion, sizeBytes } = result;
  await output.line(
    `in order: ${count(keys, 'key')}, ${bytes(BigInt(sizeBytes))}, schema version ${schemaVersion}; every sealed key opens`,
  );
}

async function checkBackup(file: string, options: ClientOptions): Promise<Examination> {
  const { dataDir, masterKey } = readClientConfig(flagsOf(options));
  const { examineBackup } = await import('../../store/restore-backup.ts');
  return examineBackup(file, dataDir, masterKey);
}
