import type { Command } from 'commander';
import { KEY_FILE_FORMATS, type KeyFileFormat } from '../../client/key-formats/formats.ts';
import type { CommandContext } from '../command-context.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { importFiles } from '../import/import-files.ts';
import { takeOver } from '../import/take-over.ts';
import { labelOption } from '../label-option.ts';
import { addClientOptions, addHelpExamples, type ClientOptions, numberOption, wordOption } from '../options.ts';

export interface ImportCommandOptions extends ClientOptions {
  format?: KeyFileFormat;
  pool?: string;
  source: string;
  weight?: number;
  project?: string;
  model?: string[];
  label?: Record<string, string>;
  onConflict: 'keep' | 'update';
  dryRun?: boolean;
  fromEasyGeminiBalance?: string;
  keepWeights?: boolean;
}

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .argument('[FILE...]', 'files with keys; - is standard input')
    .option(
      '--format <text|csv|json|jsonl|env>',
      'how they are written (default: by the end of their name, else text)',
      wordOption('--format', KEY_FILE_FORMATS),
    )
    .option('--pool <NAME>', "pool to add them to (default: the file's, else default)")
    .option('--source <NAME>', 'where keys come from of which the file does not say it', 'imported')
    .option(
      '--weight <N>',
      'weight of keys that the file gives none, 0.001 to 1000 (default: 1)',
      numberOption('--weight', { least: 0.001, most: 1000 }),
    )
    .option('--project <NAME>', 'project of keys that the file gives none (default: unknown)')
    .option(
      '--model <NAME>',
      'a model that they may serve, where the file names none; more than once for several',
      each,
    )
    .option('--label <NAME=VALUE>', 'a label for all keys; more than once for several', labelOption('--label'))
    .option(
      '--on-conflict <keep|update>',
      'what becomes of the settings of a key that is there already',
      wordOption('--on-conflict', ['keep', 'update']),
      'keep',
    )
    .option('--dry-run', 'only check, change nothing, and say what would become of each line')
    .option('--from-easy-gemini-balance <FILE>', 'take over the keys of that program, from its keys.db')
    .option('--keep-weights', 'take its weights as they are, too')
    .action((files: string[], options: ImportCommandOptions) => {
      const { fromEasyGeminiBalance, keepWeights } = options;
      if (fromEasyGeminiBalance !== undefined) {
        if (files.length === 0) return takeOver(fromEasyGeminiBalance, options, output);
        throw new CliError(EXIT.usage, 'FILE and --from-easy-gemini-balance cannot be given together');
      }
      if (keepWeights) throw new CliError(EXIT.usage, '--keep-weights needs --from-easy-gemini-balance');
      if (files.length === 0) {
        throw new CliError(EXIT.usage, 'missing FILE: name a file with keys, or - for standard input; see --help');
      }
      return importFiles(files, options, output);
    });
  addHelpExamples(
    command,
    'import keys.txt',
    'import keys.csv more.jsonl --project my-project --label team=search',
    'import - --pool batch --dry-run < more.txt',
    'import --from-easy-gemini-balance ~/.local/share/easy-gemini-balance/keys.db',
  ).addHelpText(
    'after',
    [
      '',
      'Formats: text, lines of KEY or KEY:WEIGHT with # comments. csv, whose first line names the columns: key and perhaps weight,',
      'project, models, labels, tier, source, pool, disabled, maxConcurrentLeases. json, a list of keys as texts or as objects with such',
      'fields, or an object whose "keys" is one. jsonl, one of them a line. env, variables such as GEMINI_API_KEY, one key or several.',
      '',
      'Lines that cannot be used are named on standard error by number and reason, never the key; the rest is imported',
      '(exit code 4). To repeat an import is safe, also after one that was cut off: keys that are there are skipped.',
      'Of a key that comes twice the first line that will do counts.',
      'A take-over reads a copy of the file and leaves it as it is. Keys come with their source, their counts of errors and when they',
      'were used last, those out of use in quarantine (disabled, with --verify off); weights were moved by outcomes, so each is 1 and the rest is health. Times',
      "without a zone are of this machine's (TZ=Asia/Shanghai before the command names another). Repeated, it changes nothing.",
      '',
      '--json prints pool, source, dryRun, complete, new, updated, skipped, rejected, rejectedLines (file, line, reason; the first',
      '1,000 of a file), ignored (columns, fields and variables that mean nothing here), failures (file, reason; of files that could',
      'not be read to their end) and notes.',
    ].join('\n'),
  );
}

function each(name: string, before: string[] = []): string[] {
  return [...before, name];
}
