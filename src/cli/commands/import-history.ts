import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { type ImportRecord, ImportRecordSchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CommandContext } from '../command-context.ts';
import { messageJson, prettyJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions, numberOption } from '../options.ts';
import type { Output } from '../output.ts';
import { pages } from '../pages.ts';
import { Table } from '../table.ts';
import { withBalancer } from '../with-balancer.ts';
import { localTime } from '../words.ts';

interface HistoryOptions extends ClientOptions {
  pool?: string;
  limit: number;
}

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .option('--pool <NAME>', 'of this pool only (default: all)')
    .option(
      '--limit <N>',
      'the newest so many',
      numberOption('--limit', { least: 1, most: 1_000_000, whole: true }),
      20,
    )
    .action((options: HistoryOptions) => history(options, output));
  addHelpExamples(command, 'import-history', 'import-history --limit 100 --json').addHelpText(
    'after',
    [
      '',
      'A large import is several here, of 2,000 keys at most and of one pool each, as the server was asked. REJECTED are those that it',
      'refused; lines that `import` itself could make no key of never came to it.',
      '--json prints imports, the newest first, each an ImportRecord of the API in protobuf JSON.',
    ].join('\n'),
  );
}

async function history({ pool = '', limit, ...options }: HistoryOptions, output: Output): Promise<void> {
  await withBalancer(options, output, async (balancer, signal) => {
    const imports: ImportRecord[] = [];
    const past = pages((pageToken) =>
      balancer.keyAdmin.listImports({ pool, pageSize: Math.min(1000, limit - imports.length), pageToken }, { signal }),
    );
    for await (const page of past) {
      imports.push(...page.imports);
      if (imports.length >= limit) break;
    }
    if (options.json) {
      return output.line(prettyJson({ imports: imports.map((each) => messageJson(ImportRecordSchema, each)) }));
    }
    const now = Date.now();
    await new Table<ImportRecord>(output, [
      { title: 'IMPORT', value: ({ importId }) => importId },
      { title: 'TIME', value: ({ importTime }) => (importTime ? localTime(timestampMs(importTime), now) : '-') },
      { title: 'POOL', value: (each) => each.pool },
      { title: 'SOURCE', value: ({ source }) => source || '-' },
      { title: 'NEW', value: ({ created }) => String(created), right: true },
      { title: 'UPDATED', value: ({ updated }) => String(updated), right: true },
      { title: 'SKIPPED', value: ({ unchanged }) => String(unchanged), right: true },
      { title: 'REJECTED', value: ({ rejected }) => String(rejected), right: true },
    ]).rows(imports);
  });
}
