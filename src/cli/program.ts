import { Command } from 'commander';
import { VERSION } from '../server/version.ts';
import type { CommandContext } from './command-context.ts';
import { commandFirst } from './command-first.ts';
import { EXIT, EXIT_CODES_HELP } from './exit-code.ts';
import { explainFailure, whereOf } from './explain-failure.ts';
import { VERBOSE } from './options.ts';
import { Output } from './output.ts';

interface Entry {
  name: string;
  summary: string;
  /** Loads the command when it is asked for, so that each costs only what it needs itself. */
  load: () => Promise<{ define: (command: Command, context: CommandContext) => void }>;
}

const COMMANDS: readonly Entry[] = [
  { name: 'serve', summary: 'run the server', load: () => import('./commands/serve.ts') },
  { name: 'import', summary: 'add keys from a file or standard input', load: () => import('./commands/import.ts') },
  {
    name: 'export',
    summary: 'write keys to a file, masked or in plain text',
    load: () => import('./commands/export.ts'),
  },
  { name: 'add-key', summary: 'add one key', load: () => import('./commands/add-key.ts') },
  { name: 'remove-key', summary: 'remove one key', load: () => import('./commands/remove-key.ts') },
  { name: 'update-key', summary: 'change the settings of keys', load: () => import('./commands/update-key.ts') },
  { name: 'list', summary: 'list keys, never in plain text', load: () => import('./commands/list.ts') },
  { name: 'stats', summary: 'show counters and gauges', load: () => import('./commands/stats.ts') },
  { name: 'health', summary: 'show what can serve, what rests, and why', load: () => import('./commands/health.ts') },
  { name: 'db-info', summary: 'show what the database holds', load: () => import('./commands/db-info.ts') },
  { name: 'memory', summary: 'show what the keys take of memory', load: () => import('./commands/memory.ts') },
  { name: 'import-history', summary: 'list past imports', load: () => import('./commands/import-history.ts') },
  { name: 'reset', summary: 'end cooldowns and restore the health of keys', load: () => import('./commands/reset.ts') },
  { name: 'cleanup', summary: 'remove keys that nobody used for long', load: () => import('./commands/cleanup.ts') },
  { name: 'test-keys', summary: 'ask Gemini about keys', load: () => import('./commands/test-keys.ts') },
  { name: 'monitor', summary: 'watch pools and keys as they change', load: () => import('./commands/monitor.ts') },
  {
    name: 'bridge',
    summary: 'carry changes of health to OpenTelemetry logs or a webhook',
    load: () => import('./commands/bridge.ts'),
  },
  { name: 'pool', summary: 'list, add, change and delete pools', load: () => import('./commands/pool.ts') },
  { name: 'lease', summary: 'list leases, and end one by force', load: () => import('./commands/lease.ts') },
  { name: 'quota', summary: 'list, set and delete the limits of projects', load: () => import('./commands/quota.ts') },
  {
    name: 'config',
    summary: 'show settings, and apply changed ones to a running server',
    load: () => import('./commands/config.ts'),
  },
  {
    name: 'backup',
    summary: 'copy the database of a data dir, also while it is used',
    load: () => import('./commands/backup.ts'),
  },
  {
    name: 'check',
    summary: 'check the database of a data dir, or a backup',
    load: () => import('./commands/check.ts'),
  },
  { name: 'restore', summary: 'put a backup in the place of a database', load: () => import('./commands/restore.ts') },
  {
    name: 'doctor',
    summary: 'examine a setup, and say what to do',
    load: () => import('./commands/doctor.ts'),
  },
  { name: 'version', summary: 'print the version', load: () => import('./commands/version.ts') },
  {
    name: 'completion',
    summary: 'print a script that completes command lines in a shell',
    load: () => import('./commands/completion.ts'),
  },
  {
    name: 'explain',
    summary: 'say how an error of Gemini would be judged, and why',
    load: () => import('./commands/explain.ts'),
  },
];

/** Runs one command line and ends the process with its exit code. */
export async function run(argv: readonly string[]): Promise<void> {
  const output = new Output(process.stdout, process.stderr);
  let exitCode = await execute(argv, output);
  output.clearProgress();
  if (!(await output.complete()) && exitCode === EXIT.done) exitCode = EXIT.failed;
  // What a command leaves open, such as a connection that waits to be used again, must not keep the process.
  process.exit(exitCode);
}

/** Runs one command line, says what went wrong, and gives the exit code. What it leaves open is its caller's to end. */
export async function execute(argv: readonly string[], output: Output): Promise<number> {
  try {
    await createProgram(contextOf(output)).parseAsync(withoutHelpCommand(commandFirst(argv)), { from: 'user' });
    return EXIT.done;
  } catch (error) {
    const { exitCode, message } = explainFailure(error);
    if (message !== undefined) output.complain(message);
    if (exitCode !== EXIT.done && VERBOSE.some((flag) => argv.includes(flag))) output.complain(whereOf(error));
    return exitCode;
  }
}

/** What commands work with; its whole program is what completions and documents are made from. */
export function contextOf(output: Output): CommandContext {
  const context: CommandContext = {
    output,
    async wholeProgram() {
      const program = createProgram(context);
      for (const command of program.commands) await defineCommand(command, context);
      return program;
    },
  };
  return context;
}

function createProgram(context: CommandContext): Command {
  const program = new Command('keybalancer')
    .description('Pools Google Gemini API keys and lends them to backend services as leases.')
    .version(VERSION, '--version', 'print the version')
    .helpOption('--help', 'explain')
    .helpCommand(false)
    .enablePositionalOptions()
    .usage('COMMAND [options]')
    .addHelpText('after', `\n${EXIT_CODES_HELP}\n\`keybalancer COMMAND --help\` explains a command.`)
    // Commander's own words can quote an argument, and an argument can be a key: explainFailure() says what is wrong.
    .configureOutput({ writeOut: (text) => void context.output.write(text), outputError: () => {} })
    .exitOverride();
  for (const { name, summary } of COMMANDS) {
    program.command(name).summary(summary).helpOption('--help', 'explain');
  }
  return program.hook('preSubcommand', (_program, command) => defineCommand(command, context));
}

async function defineCommand(command: Command, context: CommandContext): Promise<void> {
  const { summary, load } = COMMANDS.find(({ name }) => name === command.name()) as Entry;
  const { define } = await load();
  define(command.description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`), context);
}

/** `help COMMAND` is `COMMAND --help`. */
function withoutHelpCommand(argv: readonly string[]): string[] {
  if (argv.length === 0) return ['--help'];
  if (argv[0] !== 'help') return [...argv];
  return [...argv.slice(1), '--help'];
}
