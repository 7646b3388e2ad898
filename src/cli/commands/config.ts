import type { Command } from 'commander';
import { effectiveConfig } from '../../server/config/config.ts';
import { FIELDS, type Flags, SETTINGS, type Setting } from '../../server/config/settings.ts';
import type { CommandContext } from '../command-context.ts';
import { prettyJson } from '../json.ts';
import { addHelpExamples, settingOption } from '../options.ts';
import type { Output } from '../output.ts';
import { Table } from '../table.ts';

export function define(command: Command, { output }: CommandContext): void {
  const print = command
    .helpCommand(false)
    .command('print')
    .description(
      'Shows each setting as it counts here, and where it came from: a flag, the environment, a file, or the default.',
    )
    .helpOption('--help', 'explain')
    .addOption(settingOption('config'));
  for (const name of FIELDS) {
    if ('flag' in SETTINGS[name]) print.addOption(settingOption(name));
  }
  print
    .option('--json', 'print JSON, in a stable form')
    .action((options: Flags & { json?: true }) => printConfig(options, output));
  addHelpExamples(print, 'config print', 'config print --config keybalancer.yaml --json').addHelpText(
    'after',
    [
      '',
      'A flag wins over the environment, the environment over the config file, the file over the default.',
      'Nothing is asked of a server. Secrets are not shown.',
      '--json prints file (null: none) and settings: field (null: never in a file), variable, flag, value (null: not set, or',
      'a secret), origin (flag, environment, file or default), secret, live (whether a running server takes it over).',
    ].join('\n'),
  );
}

async function printConfig({ json, ...flags }: Flags & { json?: true }, output: Output): Promise<void> {
  const { file, settings } = effectiveConfig(flags);
  const rows = settings.map((setting) => ({ ...setting, ...(SETTINGS[setting.name] as Setting) }));
  if (json) {
    return output.line(
      prettyJson({
        file: file ?? null,
        settings: rows.map(({ field = null, variable, flag = null, value, origin, secret = false, live = false }) => ({
          field,
          variable,
          flag,
          value,
          origin,
          secret,
          live,
        })),
      }),
    );
  }
  const table = new Table<(typeof rows)[number]>(output, [
    { title: 'SETTING', value: ({ field, variable }) => field ?? variable },
    { title: 'VALUE', value: ({ value, secret, origin, fallback }) => value ?? shownAs(secret, origin, fallback) },
    { title: 'ORIGIN', value: ({ origin, by }) => (origin === 'default' ? 'default' : by) },
  ]);
  await table.rows(rows);
  if (output.terminal) {
    await output.line(output.style('dim', file === undefined ? 'no config file' : `config file ${file}`));
  }
}

/** Of a setting without a value to show. */
function shownAs(secret: boolean | undefined, origin: string, fallback: string): string {
  return secret && origin !== 'default' ? '(secret)' : `(${fallback})`;
}
