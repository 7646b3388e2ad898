import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Command } from 'commander';
import type { Balancer } from '../../client/balancer.ts';
import {
  CreatePoolResponseSchema,
  ListPoolsResponseSchema,
  type Pool,
  PoolSchema,
  Selection,
  UpdatePoolResponseSchema,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CommandContext } from '../command-context.ts';
import { durationOption } from '../duration-option.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { messageJson, prettyJson } from '../json.ts';
import { addHelpExamples, addSubcommand, type ClientOptions, numberOption, wordOption } from '../options.ts';
import type { Output } from '../output.ts';
import { pages } from '../pages.ts';
import { printPairs } from '../pairs.ts';
import { Table } from '../table.ts';
import { withBalancer } from '../with-balancer.ts';
import { duration } from '../words.ts';

const SELECTIONS = { 'weighted-lru': Selection.WEIGHTED_LRU, 'until-spent': Selection.UNTIL_SPENT };
type SelectionName = keyof typeof SELECTIONS;
const MOST = 1_000_000;

interface PoolOptions extends ClientOptions {
  defaultLeaseTtl?: Pool['defaultLeaseTtl'];
  maxLeaseTtl?: Pool['maxLeaseTtl'];
  maxConcurrentLeases?: number;
  maxTotalLeases?: number;
  maxWaiting?: number;
  description?: string;
  autoSuccess?: 'on' | 'off';
  selection?: SelectionName;
}

export function define(command: Command, { output }: CommandContext): void {
  addHelpExamples(command.helpCommand(false), 'pool list', 'pool create batch --max-concurrent-leases 2');
  const listed = addSubcommand(command, 'list', 'Show pools and their settings').action((options: ClientOptions) =>
    list(options, output),
  );
  addHelpExamples(listed, 'pool list', 'pool list --json').addHelpText(
    'after',
    '\n--json prints ListPoolsResponse of the API in protobuf JSON, all pages as one.',
  );
  const shown = addSubcommand(command, 'show', 'Show one pool: its settings, its keys and what they did')
    .argument('<NAME>', 'the pool')
    .action((name: string, options: ClientOptions) => show(name, options, output));
  addHelpExamples(shown, 'pool show default', 'pool show default --json').addHelpText(
    'after',
    '\n--json prints Pool of the API in protobuf JSON, with its stats.',
  );
  const created = withSettings(addSubcommand(command, 'create', 'Add a pool'))
    .argument('<NAME>', 'a small letter, then at most 62 of small letters, digits and hyphens')
    .action((name: string, options: PoolOptions) => createPool(name, options, output));
  addHelpExamples(created, 'pool create batch --max-concurrent-leases 2 --selection until-spent').addHelpText(
    'after',
    '\n--json prints CreatePoolResponse of the API in protobuf JSON.',
  );
  const updated = withSettings(addSubcommand(command, 'update', 'Change settings of a pool'))
    .argument('<NAME>', 'the pool')
    .action((name: string, options: PoolOptions) => updatePool(name, options, output));
  addHelpExamples(updated, 'pool update default --default-lease-ttl 90s').addHelpText(
    'after',
    '\nSettings that are not named stay as they are.\n--json prints UpdatePoolResponse of the API in protobuf JSON.',
  );
  const deleted = addSubcommand(command, 'delete', 'Delete a pool, which must hold no key')
    .argument('<NAME>', 'the pool')
    .action((name: string, options: ClientOptions) => deletePool(name, options, output));
  addHelpExamples(deleted, 'pool delete batch').addHelpText('after', '\n--json prints {}.');
}

function withSettings(command: Command): Command {
  const number = (flag: string, what: string): Command =>
    command.option(`${flag} <N>`, what, numberOption(flag, { least: 0, most: MOST, whole: true }));
  command
    .option('--default-lease-ttl <TIME>', 'of leases that name none, such as 2m', durationOption('--default-lease-ttl'))
    .option('--max-lease-ttl <TIME>', 'longest that a caller may ask for', durationOption('--max-lease-ttl'));
  number('--max-concurrent-leases', 'leases of one key at once, unless the key has its own cap; 0: no limit');
  number('--max-total-leases', 'leases of all keys together; 0: no limit');
  number('--max-waiting', 'acquires that may wait; beyond it they fail at once');
  return command
    .option('--description <TEXT>', 'for people')
    .option(
      '--auto-success <on|off>',
      'whether a lease that ends unreported counts as a success',
      wordOption('--auto-success', ['on', 'off']),
    )
    .option(
      '--selection <weighted-lru|until-spent>',
      'who is next: in turn by weight, or of one project until it is spent',
      wordOption('--selection', Object.keys(SELECTIONS) as SelectionName[]),
    );
}

/** Fields that were named, and their paths. */
function settingsOf(options: PoolOptions): { pool: MessageInitShape<typeof PoolSchema>; paths: string[] } {
  const { defaultLeaseTtl, maxLeaseTtl, maxConcurrentLeases, maxTotalLeases, maxWaiting, description } = options;
  const { autoSuccess, selection } = options;
  const named = Object.entries({
    defaultLeaseTtl,
    maxLeaseTtl,
    maxConcurrentLeases,
    maxTotalLeases,
    maxWaiting,
    description,
    autoSuccess: autoSuccess && autoSuccess === 'on',
    selection: selection && SELECTIONS[selection],
  }).filter(([, value]) => value !== undefined);
  const paths = named.map(([name]) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  return { pool: Object.fromEntries(named), paths };
}

async function show(name: string, options: ClientOptions, output: Output): Promise<void> {
  await withBalancer(options, output, async (balancer, signal) => {
    const pool = (await allPools(balancer, signal)).find((each) => each.pool === name);
    if (pool === undefined) throw new CliError(EXIT.failed, 'NAME is no pool; `pool list` shows those there are');
    if (options.json) return output.line(prettyJson(messageJson(PoolSchema, pool)));
    await printPairs(poolInWords(pool), output);
  });
}

function poolInWords({ stats, ...pool }: Pool): [string, string][] {
  const limit = (value: number): string => (value === 0 ? 'no limit' : String(value));
  const figure = (value: bigint | undefined): string => String(value ?? 0);
  const usage = stats?.usage;
  return [
    ['pool', pool.pool],
    ['description', pool.description || '-'],
    ['default lease ttl', duration(pool.defaultLeaseTtl)],
    ['max lease ttl', duration(pool.maxLeaseTtl)],
    ['max concurrent leases', `${limit(pool.maxConcurrentLeases)} of one key`],
    ['max total leases', limit(pool.maxTotalLeases)],
    ['max waiting', String(pool.maxWaiting)],
    ['selection', selectionInWords(pool.selection)],
    ['auto success', pool.autoSuccess ? 'on' : 'off'],
    ['keys', figure(stats?.totalKeys)],
    ['available', figure(stats?.availableKeys)],
    ['cooling', figure(stats?.coolingKeys)],
    ['quarantined', figure(stats?.quarantinedKeys)],
    ['disabled', figure(stats?.disabledKeys)],
    ['leases', `${figure(stats?.activeLeases)} now, ${figure(usage?.acquired)} in all`],
    ['reported', `${figure(usage?.succeeded)} succeeded, ${figure(usage?.failed)} failed`],
    ['waiting', figure(stats?.waitingAcquires)],
    ['refused', figure(stats?.acquiresRejected)],
  ];
}

function selectionInWords(selection: Selection): string {
  return selection === Selection.UNTIL_SPENT ? 'until-spent' : 'weighted-lru';
}

async function createPool(name: string, options: PoolOptions, output: Output): Promise<void> {
  await withBalancer({ ...options, mayCreate: true }, output, async (balancer, signal) => {
    const response = await balancer.keyAdmin.createPool(
      { pool: { ...settingsOf(options).pool, pool: name } },
      { signal },
    );
    if (options.json) return output.line(prettyJson(messageJson(CreatePoolResponseSchema, response)));
    await output.line(`added pool ${name}`);
  });
}

async function updatePool(name: string, options: PoolOptions, output: Output): Promise<void> {
  const { pool, paths } = settingsOf(options);
  if (paths.length === 0) throw new CliError(EXIT.usage, 'no setting is named; see --help for those there are');
  await withBalancer(options, output, async (balancer, signal) => {
    const response = await balancer.keyAdmin.updatePool(
      { pool: { ...pool, pool: name }, updateMask: { paths } },
      { signal },
    );
    if (options.json) return output.line(prettyJson(messageJson(UpdatePoolResponseSchema, response)));
    await output.line(`changed ${paths.join(', ')} of pool ${name}`);
  });
}

async function deletePool(name: string, options: ClientOptions, output: Output): Promise<void> {
  await withBalancer(options, output, async (balancer, signal) => {
    await balancer.keyAdmin.deletePool({ pool: name }, { signal });
    await output.line(options.json ? '{}' : `deleted pool ${name}`);
  });
}

async function list(options: ClientOptions, output: Output): Promise<void> {
  await withBalancer(options, output, async (balancer, signal) => {
    const pools = await allPools(balancer, signal);
    if (options.json) {
      const response = create(ListPoolsResponseSchema, { pools });
      return output.line(prettyJson(messageJson(ListPoolsResponseSchema, response)));
    }
    const limit = (value: number): string => (value === 0 ? '-' : String(value));
    await new Table<Pool>(output, [
      { title: 'POOL', value: ({ pool }) => pool },
      { title: 'KEYS', value: ({ stats }) => String(stats?.totalKeys ?? 0), right: true },
      { title: 'TTL', value: ({ defaultLeaseTtl }) => duration(defaultLeaseTtl), right: true },
      { title: 'MAX TTL', value: ({ maxLeaseTtl }) => duration(maxLeaseTtl), right: true },
      { title: 'PER KEY', value: ({ maxConcurrentLeases }) => limit(maxConcurrentLeases), right: true },
      { title: 'TOTAL', value: ({ maxTotalLeases }) => limit(maxTotalLeases), right: true },
      { title: 'MAX WAITING', value: ({ maxWaiting }) => String(maxWaiting), right: true },
      { title: 'SELECTION', value: ({ selection }) => selectionInWords(selection) },
      { title: 'AUTO SUCCESS', value: ({ autoSuccess }) => (autoSuccess ? 'on' : 'off') },
      { title: 'DESCRIPTION', value: ({ description }) => description || '-' },
    ]).rows(pools);
  });
}

async function allPools(balancer: Balancer, signal: AbortSignal): Promise<Pool[]> {
  const pools: Pool[] = [];
  for await (const page of pages((pageToken) =>
    balancer.keyAdmin.listPools({ pageSize: 1000, pageToken }, { signal }),
  )) {
    pools.push(...page.pools);
  }
  return pools;
}
