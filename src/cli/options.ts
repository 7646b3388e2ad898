import { type Command, Option } from 'commander';
import { DECIMAL } from '../client/key-formats/decimal.ts';
import { type Flags, SETTINGS, type Setting, type SettingName } from '../server/config/settings.ts';
import { CliError, EXIT, EXIT_CODES_HELP } from './exit-code.ts';

/** Options that every command has which asks a server. */
export interface ClientOptions {
  config?: string;
  address?: string;
  dataDir?: string;
  masterKeyFile?: string;
  json?: boolean;
}

export const VERBOSE = ['-v', '--verbose'] as const;

/** Of every command. */
export function verboseOption(): Option {
  return new Option(
    VERBOSE.join(', '),
    'when it fails, also tell where in the program, and after which other failures',
  );
}

export function addClientOptions(command: Command): Command {
  return command
    .addOption(settingOption('address'))
    .addOption(settingOption('dataDir'))
    .addOption(settingOption('masterKeyFile'))
    .addOption(settingOption('config'))
    .option('--json', 'print JSON, in a stable form')
    .addOption(verboseOption());
}

/** One of a command that has several, all of which ask a server. */
export function addSubcommand(command: Command, name: string, summary: string): Command {
  const subcommand = command.command(name).summary(summary).description(`${summary}.`).helpOption('--help', 'explain');
  return addClientOptions(subcommand);
}

export function settingOption(name: SettingName): Option {
  const setting: Setting = SETTINGS[name];
  if (setting.flag === undefined) throw new Error(`${name} has no flag`);
  const flags = setting.argument === undefined ? setting.flag : `${setting.flag} <${setting.argument}>`;
  return new Option(flags, `${setting.description}; or ${setting.variable} (default: ${setting.fallback})`);
}

export function flagsOf(options: ClientOptions): Flags {
  const { config, address, dataDir, masterKeyFile } = options;
  return Object.fromEntries(
    Object.entries({ config, address, dataDir, masterKeyFile }).filter(([, value]) => value !== undefined),
  );
}

export function addHelpExamples(command: Command, ...examples: string[]): Command {
  const lines = examples.map((example) => `  keybalancer ${example}`);
  return command.addHelpText('after', `\nFor example:\n${lines.join('\n')}\n\n${EXIT_CODES_HELP}`);
}

/** Reads a number within bounds, or ends the command with a sentence that names the option. `or`: what else it takes. */
export function numberOption(
  flag: string,
  { least, most, whole = false, or }: { least: number; most: number; whole?: boolean; or?: string },
) {
  return (text: string): number => {
    const value = DECIMAL.test(text.trim()) ? Number(text) : Number.NaN;
    if (value >= least && value <= most && (!whole || Number.isInteger(value))) return value;
    const allowed = `${whole ? 'a whole number from ' : 'a number from '}${least} to ${most}${or === undefined ? '' : `, or ${or}`}`;
    throw new CliError(EXIT.usage, `${flag} is ${JSON.stringify(text)}; allowed: ${allowed}`);
  };
}

/** Takes one of some words, or ends the command with a sentence that names the option. */
export function wordOption<Word extends string>(flag: string, words: readonly Word[]) {
  return (text: string): Word => {
    const word = words.find((each) => each === text);
    if (word !== undefined) return word;
    throw new CliError(EXIT.usage, `${flag} is ${JSON.stringify(text)}; allowed: ${words.join(', ')}`);
  };
}
