import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import type { Balancer } from '../../client/balancer.ts';
import type { LimitName } from '../../gemini/finding.ts';
import {
  type Limit,
  LimitOrigin,
  ListQuotasResponseSchema,
  type Quota,
  type QuotaSchema,
  SetQuotaResponseSchema,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CommandContext } from '../command-context.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { messageJson, prettyJson } from '../json.ts';
import { LIMITS, limitInWords } from '../limits.ts';
import { addHelpExamples, addSubcommand, type ClientOptions, numberOption } from '../options.ts';
import type { Output } from '../output.ts';
import { pages } from '../pages.ts';
import { Table } from '../table.ts';
import { withBalancer } from '../with-balancer.ts';
import { momentInWords } from '../words.ts';

/** As the API takes them. */
const MAX_LIMIT = 1e12;

const ORIGINS: Record<LimitOrigin, string> = {
  [LimitOrigin.UNSPECIFIED]: '-',
  [LimitOrigin.SET]: 'set',
  [LimitOrigin.LEARNED]: 'learned from a 429',
};

export function define(command: Command, { output }: CommandContext): void {
  addHelpExamples(command.helpCommand(false), 'quota list --json', 'quota set my-project --requests-per-minute 10');
  defineList(addSubcommand(command, 'list', 'Show the limits that are set or were learned'), output);
  defineSet(addSubcommand(command, 'set', 'Set limits of a project, for one model or for all'), output);
  defineDelete(addSubcommand(command, 'delete', 'Forget the limits of a project and model, set and learned'), output);
}

function defineList(command: Command, output: Output): void {
  command
    .option('--project <NAME>', 'this project only (default: all)')
    .action((options: ClientOptions & { project?: string }) => list(options, output));
  addHelpExamples(command, 'quota list', 'quota list --project my-project --json').addHelpText(
    'after',
    [
      '',
      'A key whose project nobody knows counts by itself, under its key id. A limit that is learned never raises one that',
      'is set. Days end at midnight, Pacific time.',
      '--json prints ListQuotasResponse of the API in protobuf JSON, all pages as one.',
    ].join('\n'),
  );
}

type SetOptions = ClientOptions & { model?: string } & Partial<Record<LimitName, number>>;

function defineSet(command: Command, output: Output): void {
  command
    .argument('<PROJECT>', 'Google Cloud project, as on its keys')
    .option('--model <NAME>', 'for this model (default: for every model that has no limits of its own)');
  for (const { flag, words } of LIMITS) {
    command.option(`${flag} <N>`, words, numberOption(flag, { least: 0, most: MAX_LIMIT, whole: true }));
  }
  command.action((project: string, options: SetOptions) => set(project, options, output));
  addHelpExamples(
    command,
    'quota set my-project --requests-per-minute 10 --requests-per-day 250 --model gemini-2.5-flash',
  ).addHelpText(
    'after',
    [
      '',
      'Limits that are not named stay as they are; 0 allows none. Keys of the project may come later.',
      '--json prints SetQuotaResponse of the API in protobuf JSON.',
    ].join('\n'),
  );
}

function defineDelete(command: Command, output: Output): void {
  command
    .argument('<PROJECT>', 'Google Cloud project, as on its keys')
    .option('--model <NAME>', 'those of this model (default: those for every model without limits of its own)')
    .action((project: string, options: ClientOptions & { model?: string }) => remove(project, options, output));
  addHelpExamples(command, 'quota delete my-project', 'quota delete my-project --model gemini-2.5-flash').addHelpText(
    'after',
    '\nLimits that are not there are no error.\n--json prints DeleteQuotaResponse of the API, {}.',
  );
}

async function list({ project = '', ...options }: ClientOptions & { project?: string }, output: Output): Promise<void> {
  await withBalancer(options, output, async (balancer, signal) => {
    const quotas = await allQuotas(balancer, project, signal);
    if (options.json) {
      const response = create(ListQuotasResponseSchema, { quotas });
      return output.line(prettyJson(messageJson(ListQuotasResponseSchema, response)));
    }
    await printQuotas(quotas, output);
  });
}

async function allQuotas(balancer: Balancer, project: string, signal: AbortSignal): Promise<Quota[]> {
  const quotas: Quota[] = [];
  for await (const page of pages((pageToken) =>
    balancer.keyAdmin.listQuotas({ project, pageSize: 1000, pageToken }, { signal }),
  )) {
    quotas.push(...page.quotas);
  }
  return quotas;
}

async function set(project: string, { model = '', ...options }: SetOptions, output: Output): Promise<void> {
  const quota: MessageInitShape<typeof QuotaSchema> = { project, model };
  for (const { name } of LIMITS) {
    const value = options[name];
    if (value !== undefined) quota[name] = { value: BigInt(value) };
  }
  if (LIMITS.every(({ name }) => options[name] === undefined)) {
    const flags = LIMITS.map(({ flag }) => flag).join(', ');
    throw new CliError(EXIT.usage, `no limit is given; allowed: at least one of ${flags}`);
  }
  // Limits may come before the keys.
  await withBalancer({ ...options, mayCreate: true }, output, async (balancer, signal) => {
    const response = await balancer.keyAdmin.setQuota({ quota }, { signal });
    if (options.json) return output.line(prettyJson(messageJson(SetQuotaResponseSchema, response)));
    if (response.quota !== undefined) await printQuotas([response.quota], output);
  });
}

async function remove(
  project: string,
  { model = '', ...options }: ClientOptions & { model?: string },
  output: Output,
): Promise<void> {
  await withBalancer(options, output, async (balancer, signal) => {
    await balancer.keyAdmin.deleteQuota({ project, model }, { signal });
    await output.line(options.json ? '{}' : `forgot the limits of project ${project}, ${modelInWords(model)}`);
  });
}

interface Row {
  quota: Quota;
  name: LimitName;
  limit: Limit;
}

async function printQuotas(quotas: readonly Quota[], output: Output): Promise<void> {
  const now = Date.now();
  const rows = quotas.flatMap((quota) =>
    LIMITS.flatMap(({ name }): Row[] => {
      const limit = quota[name];
      return limit === undefined ? [] : [{ quota, name, limit }];
    }),
  );
  await new Table<Row>(output, [
    { title: 'PROJECT', value: ({ quota }) => quota.project },
    { title: 'MODEL', value: ({ quota }) => modelInWords(quota.model) },
    { title: 'LIMIT', value: ({ name, limit }) => limitInWords(name, limit.value) },
    { title: 'ORIGIN', value: ({ limit }) => ORIGINS[limit.origin] ?? String(limit.origin) },
    // What is counted is counted for a model.
    { title: 'USED', value: ({ limit, quota }) => (quota.model === '' ? '-' : String(limit.used)), right: true },
    { title: 'STARTS ANEW', value: ({ limit }) => resetInWords(limit, now) },
  ]).rows(rows);
}

function resetInWords({ resetTime }: Limit, now: number): string {
  return momentInWords(resetTime && timestampMs(resetTime), now);
}

function modelInWords(model: string): string {
  return model === '' ? 'every other model' : model;
}
