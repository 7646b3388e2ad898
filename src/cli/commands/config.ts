import type { Command } from 'commander';
import { effectiveConfig } from '../../server/config/config.ts';
import { FIELDS, type Flags, SETTINGS, type Setting } from '../../server/config/settings.ts';
import type { CommandContext } from '../command-context.ts';
import { prettyJson } from '../json.ts';
import { addHelpExamples, addSubcommand, type ClientOptions, settingOption, verboseOption } from '../options.ts';
import type { Output } from '../output.ts';
import { Table } from '../table.ts';
import { withRunningServer } from '../with-operator.ts';

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
    .addOption(verboseOption())
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
  defineReload(command, output);
  defineLogLevel(command, output);
}

function defineReload(command: Command, output: Output): void {
  const reload = addSubcommand(
    command,
    'reload',
    'Makes a running server read its flags, environment and config file again, as SIGHUP does',
  ).action((options: ClientOptions) =>
    withRunningServer('config reload', options, async (operator) => {
      const { applied, restartNeeded } = await operator.reloadConfig({});
      if (options.json) return output.line(prettyJson({ applied, restartNeeded }));
      await output.line(applied.length === 0 ? 'nothing changed in the server' : `in force: ${applied.join(', ')}`);
      if (restartNeeded.length > 0) await output.line(`only after a restart: ${restartNeeded.join(', ')}`);
    }),
  );
  addHelpExamples(reload, 'config reload', 'config reload --data-dir ./data --json').addHelpText(
    'after',
    [
      '',
      'A configuration that cannot be used changes nothing; what is wrong with it is told. A level that `config log-level` set',
      'ends with it. Acts through the socket in the data dir.',
      '--json prints applied and restartNeeded, lists of fields.',
    ].join('\n'),
  );
}

function defineLogLevel(command: Command, output: Output): void {
  const logLevel = addSubcommand(
    command,
    'log-level',
    'Changes what a running server logs, until the next reload or restart',
  )
    .argument('<LEVEL>', SETTINGS.logLevel.allowed)
    .action((level: string, options: ClientOptions) =>
      withRunningServer('config log-level', options, async (operator) => {
        const { previousLevel } = await operator.setLogLevel({ level });
        if (options.json) return output.line(prettyJson({ level, previousLevel }));
        await output.line(`logs ${level} now, before ${previousLevel}`);
      }),
    );
  addHelpExamples(logLevel, 'config log-level debug').addHelpText(
    'after',
    '\nActs through the socket in the data dir.\n--json prints level and previousLevel.',
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
