import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { prettyJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { withMaintenance } from '../with-operator.ts';
import { bytes, count } from '../words.ts';

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .argument('<FILE>', 'file to write; it must not be there yet')
    .action((file: string, options: ClientOptions) => backUp(file, options, output));
  addHelpExamples(command, 'backup keys-2026-11-25.db', 'backup /var/backups/keybalancer.db --json').addHelpText(
    'after',
    [
      '',
      'Copies the database of the data dir, also while a server or an application uses it, and checks the copy. API keys in it',
      'are sealed: keep the master key in another place, for without it nobody can use the copy. `restore` takes it back.',
      'A server writes the file itself, as its user: in a directory where that may write.',
      '--json prints file, keys, schemaVersion, sizeBytes and problems.',
    ].join('\n'),
  );
}

async function backUp(file: string, options: ClientOptions, output: Output): Promise<void> {
  const path = resolve(file);
  const result = await withMaintenance('backup', options, output, (maintenance) =>
    maintenance.backUp(path, ({ copiedBytes, totalBytes }) => {
      output.progress(`copied ${bytes(BigInt(copiedBytes))} of ${bytes(BigInt(totalBytes))}`);
    }),
  );
  if (options.json) await output.line(prettyJson({ file: path, ...result }));
  if (result.problems.length > 0) {
    throw new CliError(EXIT.failed, ['the copy is not in order, and was not kept:', ...result.problems].join('\n'));
  }
  if (options.json) return;
  await output.line(`wrote ${path}: ${count(result.keys, 'key')}, ${bytes(BigInt(result.sizeBytes))}, checked`);
}
