import type { Command } from 'commander';
import { allKeys } from '../all-keys.ts';
import type { CommandContext } from '../command-context.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { EXPORT_FORMATS, type ExportFormat, formatOfOutput } from '../export/formats.ts';
import { keyRecord, settingsRecord } from '../export/records.ts';
import { writeRecords } from '../export/write-records.ts';
import { addClientOptions, addHelpExamples, type ClientOptions, wordOption } from '../options.ts';
import type { Output } from '../output.ts';
import { withBalancer } from '../with-balancer.ts';
import { withMaintenance } from '../with-operator.ts';
import { count } from '../words.ts';

interface ExportOptions extends ClientOptions {
  format?: ExportFormat;
  output?: string;
  pool?: string;
  withKeys?: true;
}

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .option(
      '--format <csv|json|jsonl>',
      'how to write it (default: by the end of the name of --output, else csv)',
      wordOption('--format', EXPORT_FORMATS),
    )
    .option('--output <FILE>', 'file to write, which must not be there yet (default: standard output)')
    .option('--pool <NAME>', 'only keys of this pool (default: all)')
    .option('--with-keys', 'the keys themselves, in plain text, with their settings, as `import` reads them')
    .action((options: ExportOptions) => exportKeys(options, output));
  addHelpExamples(
    command,
    'export --output keys.csv',
    'export --format jsonl --pool default',
    'export --with-keys --output keys.json',
  ).addHelpText(
    'after',
    [
      '',
      'Without --with-keys no key is in it: key ids, masked keys, settings, states and counts, from any server. With it, keys in plain',
      'text and their settings, by the data dir or the socket in it alone: to a file that only you may read, or to a pipe. What became',
      'of the keys (health, cooldowns, quotas) is not in it; `backup` and `restore` keep all.',
      '--json is --format json.',
    ].join('\n'),
  );
}

async function exportKeys(options: ExportOptions, output: Output): Promise<void> {
  const { pool = '', withKeys = false, output: file } = options;
  const format = options.format ?? (options.json ? 'json' : formatOfOutput(file));
  if (withKeys && file === undefined && output.terminal) {
    throw new CliError(EXIT.usage, 'keys are not shown on a terminal; name a file with --output, or use a pipe');
  }
  const write = withKeys ? writePlain : writeSettings;
  const written = await write({ ...options, pool, format }, output);
  if (file !== undefined)
    await output.line(`wrote ${file}: ${count(written, 'key')}${withKeys ? ' in plain text' : ''}`);
}

interface Order extends ExportOptions {
  pool: string;
  format: ExportFormat;
}

function writePlain(order: Order, output: Output): Promise<number> {
  return withMaintenance('export --with-keys', order, output, (maintenance) => {
    const parts = async function* () {
      for await (const keys of maintenance.exportKeys(order.pool)) yield keys.map(keyRecord);
    };
    return writeRecords(parts(), order, output);
  });
}

async function writeSettings(order: Order, output: Output): Promise<number> {
  let written = 0;
  await withBalancer(order, output, async (balancer, signal) => {
    const parts = async function* () {
      for await (const { keys } of allKeys(balancer, { pool: order.pool }, signal)) yield keys.map(settingsRecord);
    };
    written = await writeRecords(parts(), order, output);
  });
  return written;
}
