/** Writes docs/cli.md: every command with its options, examples and JSON, from the program itself. */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command, Option } from 'commander';
import { EXIT_CODES_HELP } from '../src/cli/exit-code.ts';
import { Output } from '../src/cli/output.ts';
import { contextOf } from '../src/cli/program.ts';
import { markdownTable } from './markdown-table.ts';

export const REFERENCE = join(resolve(import.meta.dirname, '..'), 'docs/cli.md');

/** Options that are told once, at the top. */
const COMMON = ['--address', '--data-dir', '--master-key-file', '--config', '--json', '--verbose', '--help'];
/** From here on the help has what addHelpExamples() wrote. */
const EXAMPLES = 'For example:\n';

const HEAD = `# The command line

Made by \`npm run cli-reference\` from the program; not to be edited. \`keybalancer COMMAND --help\` says the same in a terminal. In a checkout write \`npx keybalancer\`.

A command finds the server through the data dir: by the socket in it, without being told. \`--address\`, or \`KEYBALANCER_ADDRESS\`, names a server elsewhere. Where a data dir has no server, commands open it themselves. What acts on
the server's machine alone (backup, check, restore, config) says so when it is asked of a server elsewhere.

- **Output**: tables and colours on a terminal, tab-separated text in a pipe, JSON with \`--json\`, whose form is stable: what it prints is at the end of each command's section. \`NO_COLOR\` is heeded.
- **Keys** are printed by \`export --with-keys\` alone, on the server's machine, to a file or a pipe. One that is written on the command line is seen by other users of the machine, and warned of; \`-\` reads it from standard input, or asks for it.
- **Order**: options stand behind the command. \`--json\`, \`--verbose\`, \`--data-dir\`, \`--address\`, \`--config\` and \`--master-key-file\` may also stand before it.
- **Exit codes**: ${EXIT_CODES_HELP.replace('Exit codes: ', '')}
- **Completion**: \`keybalancer completion bash\`, \`zsh\` or \`fish\` prints a script.

`;

/** A command that does something itself, by its words. */
export interface Leaf {
  path: string;
  command: Command;
  /** As one would type them, "keybalancer" first. */
  examples: string[];
  /** What the help says after the examples, its paragraphs. */
  notes: string[];
}

/** All commands that do something themselves, in the order of the help. */
export async function leaves(): Promise<Leaf[]> {
  const program = await contextOf(new Output(process.stdout, process.stderr)).wholeProgram();
  return program.commands.flatMap((command) => leavesOf(command, ''));
}

/** The text of the reference. */
export async function cliReference(): Promise<string> {
  const all = await leaves();
  const common = new Map(all.flatMap(({ command }) => optionsOf(command)).map((option) => [option.long!, option]));
  const head = table(
    COMMON.map((long) => common.get(long)).filter((option) => option !== undefined),
    'Options of most commands',
  );
  return `${HEAD}${head}\n${all.map(section).join('\n')}`;
}

function leavesOf(command: Command, above: string): Leaf[] {
  const path = `${above} ${command.name()}`.trim();
  if (command.commands.length > 0) return command.commands.flatMap((each) => leavesOf(each, path));
  let help = '';
  command.configureOutput({
    writeOut: (text) => {
      help += text;
    },
  });
  command.outputHelp();
  const [examples = '', , ...notes] = help
    .slice(help.indexOf(EXAMPLES) + EXAMPLES.length)
    .trim()
    .split(/\n{2,}/);
  return [
    { path, command, examples: examples.split('\n').map((line) => line.trim()), notes: notes.flatMap(paragraphs) },
  ];
}

/** What --json prints begins a paragraph of its own. */
function paragraphs(text: string): string[] {
  return text
    .split(/\n(?=--json )/)
    .map((each) => each.replaceAll(/\s*\n\s*/g, ' ').trim())
    .filter((each) => each !== '');
}

function section({ path, command, examples, notes }: Leaf): string {
  const own = optionsOf(command).filter(({ long }) => !COMMON.includes(long!));
  const args = command.registeredArguments.map((each) => `- \`${each.name()}\`: ${prose(each.description)}`);
  const usage = `\`keybalancer ${path} ${command.usage()}\``;
  return [
    `## ${path}\n`,
    `${prose(command.description())} ${usage}\n`,
    ...(args.length === 0 ? [] : [`${args.join('\n')}\n`]),
    ...(own.length === 0 ? [] : [table(own, 'Option')]),
    `\`\`\`sh\n${examples.join('\n')}\n\`\`\`\n`,
    ...notes.map((note) => `${prose(note)}\n`),
  ].join('\n');
}

function optionsOf(command: Command): Option[] {
  return [...command.createHelp().visibleOptions(command)].filter(({ long }) => long);
}

function table(options: readonly Option[], title: string): string {
  const rows = options.map((option) => [
    `\`${option.flags.replaceAll('|', '\\|')}\``,
    prose(`${option.description}${defaultOf(option)}`),
  ]);
  return markdownTable([title, ''], rows);
}

function defaultOf({ defaultValue, defaultValueDescription }: Option): string {
  if (defaultValue === undefined || defaultValue === false) return '';
  return ` (default: ${defaultValueDescription ?? String(defaultValue)})`;
}

/** Angle brackets outside of code would be markup, and bars the end of a cell. */
function prose(text: string): string {
  return text.replaceAll('<', '&lt;').replaceAll('|', '\\|');
}

if (import.meta.main) writeFileSync(REFERENCE, await cliReference());
