import type { Command } from 'commander';
import type { SettingName } from '../../server/config/settings.ts';
import type { CommandContext } from '../command-context.ts';
import { addHelpExamples, settingOption, verboseOption } from '../options.ts';

const SETTINGS_TO_SERVE: readonly SettingName[] = [
  'config',
  'dataDir',
  'grpc',
  'http',
  'durability',
  'masterKeyFile',
  'geminiBaseUrl',
  'verify',
  'insecure',
  'logLevel',
  'otlpEndpoint',
  'metricsPerKey',
];

export function define(command: Command, { output }: CommandContext): void {
  for (const name of SETTINGS_TO_SERVE) command.addOption(settingOption(name));
  command.addOption(verboseOption());
  addHelpExamples(command, 'serve', 'serve --data-dir ./keys --grpc 127.0.0.1:0 --http off').addHelpText(
    'after',
    [
      '',
      'When it can serve it prints one line to standard output, `ready grpc=HOST:PORT http=HOST:PORT`, without the one',
      'that is off; with both off, `ready socket=PATH`. The log goes to standard error, as JSON unless that is a terminal.',
      'SIGTERM and SIGINT end it in good order within 10 s, with exit code 0; a second signal ends it at once, with 143',
      'or 130. What was acknowledged is kept either way.',
      'The master key comes by KEYBALANCER_MASTER_KEY or a file; never as an argument, which every user could see.',
    ].join('\n'),
  );
  command.action(async (options) => {
    const { serve } = await import('../serve.ts');
    await serve(options, output);
  });
}
