import { enumToJson } from '@bufbuild/protobuf';
import type { Command } from 'commander';
import {
  ErrorClass,
  ErrorClassSchema,
  KeyState,
  KeyStateSchema,
  type PoolStats,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { allKeys } from '../all-keys.ts';
import type { CommandContext } from '../command-context.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { prettyJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { Resting, type RestingGroup } from '../resting.ts';
import { Table } from '../table.ts';
import { withBalancer } from '../with-balancer.ts';
import { causeInWords, count, momentInWords, stateInWords } from '../words.ts';

interface HealthOptions extends ClientOptions {
  pool?: string;
}

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .option('--pool <NAME>', 'this pool only (default: all)')
    .action((options: HealthOptions) => health(options, output));
  addHelpExamples(command, 'health', 'health --pool default --json').addHelpText(
    'after',
    [
      '',
      'Exit code 1 when a pool cannot serve: it has keys, but none that is available. A pool without keys counts only',
      'if it was named or if no other pool has keys.',
      '--json prints healthy, where, version, pools and resting: groups of keys by state and cause, with the times when',
      'the first and the last of them come back (null: not by themselves).',
    ].join('\n'),
  );
}

async function health({ pool, ...options }: HealthOptions, output: Output): Promise<void> {
  await withBalancer(options, output, async (balancer, signal) => {
    const pools = pool === undefined ? [] : [pool];
    const stats = await balancer.keyBalancer.getStats({ pools }, { signal });
    const resting = new Resting();
    for await (const { keys } of allKeys(balancer, { pool: pool ?? '' }, signal)) {
      for (const key of keys) resting.add(key);
    }
    const emptyCounts = pool !== undefined || (stats.total?.totalKeys ?? 0n) === 0n;
    const sick = stats.pools.filter(
      ({ totalKeys, availableKeys }) => availableKeys === 0n && (totalKeys > 0n || emptyCounts),
    );
    const report: HealthReport = {
      where: balancer.where,
      version: stats.server?.version ?? '',
      pools: stats.pools.map((each) => ({ healthy: !sick.includes(each), stats: each })),
      resting: resting.groups(),
    };
    if (options.json) await output.line(prettyJson(healthJson(report)));
    else await print(report, output);
    if (sick.length > 0) throw new CliError(EXIT.failed, sick.map(complaint).join('\n'));
  });
}

interface HealthReport {
  where: string;
  version: string;
  pools: { healthy: boolean; stats: PoolStats }[];
  resting: RestingGroup[];
}

function complaint({ pool, totalKeys }: PoolStats): string {
  return totalKeys === 0n
    ? `pool ${pool} has no keys`
    : `pool ${pool} has no available key (${count(totalKeys, 'key')} resting or disabled)`;
}

function healthJson({ where, version, pools, resting }: HealthReport): unknown {
  const time = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());
  return {
    healthy: pools.every(({ healthy }) => healthy),
    where,
    version,
    pools: pools.map(({ healthy, stats }) => ({
      pool: stats.pool,
      healthy,
      totalKeys: Number(stats.totalKeys),
      availableKeys: Number(stats.availableKeys),
      coolingKeys: Number(stats.coolingKeys),
      quarantinedKeys: Number(stats.quarantinedKeys),
      disabledKeys: Number(stats.disabledKeys),
      activeLeases: Number(stats.activeLeases),
      waitingAcquires: Number(stats.waitingAcquires),
    })),
    resting: resting.map(({ state, cause, firstBack, lastBack, ...group }) => ({
      ...group,
      state: enumToJson(KeyStateSchema, state),
      cause: enumToJson(ErrorClassSchema, cause),
      firstBack: time(firstBack),
      lastBack: time(lastBack),
    })),
  };
}

async function print({ where, version, pools, resting }: HealthReport, output: Output): Promise<void> {
  if (output.terminal) await output.line(`${output.style('bold', where)}, version ${version}\n`);
  await new Table<HealthReport['pools'][number]>(output, [
    { title: 'POOL', value: ({ stats }) => stats.pool },
    { title: 'KEYS', value: ({ stats }) => String(stats.totalKeys), right: true },
    { title: 'AVAILABLE', value: ({ stats }) => String(stats.availableKeys), right: true },
    { title: 'COOLING', value: ({ stats }) => String(stats.coolingKeys), right: true },
    { title: 'QUARANTINED', value: ({ stats }) => String(stats.quarantinedKeys), right: true },
    { title: 'DISABLED', value: ({ stats }) => String(stats.disabledKeys), right: true },
    { title: 'LEASES', value: ({ stats }) => String(stats.activeLeases), right: true },
    { title: 'WAITING', value: ({ stats }) => String(stats.waitingAcquires), right: true },
    {
      title: 'VERDICT',
      value: verdict,
      style: ({ healthy, stats }) => (healthy ? (stats.totalKeys === 0n ? 'dim' : 'green') : 'red'),
    },
  ]).rows(pools);
  if (resting.length === 0) return;
  const now = Date.now();
  await output.line();
  await new Table<RestingGroup>(output, [
    { title: 'POOL', value: ({ pool }) => pool },
    { title: 'KEYS', value: ({ keys }) => String(keys), right: true },
    { title: 'STATE', value: restInWords },
    { title: 'CAUSE', value: ({ cause }) => (cause === ErrorClass.UNSPECIFIED ? '-' : causeInWords(cause)) },
    {
      title: 'FOR',
      value: ({ model, projectWide }) => `${model || 'every model'}${projectWide ? ', whole project' : ''}`,
    },
    { title: 'FIRST BACK', value: ({ firstBack }) => momentInWords(firstBack, now) },
    { title: 'LAST BACK', value: ({ lastBack }) => momentInWords(lastBack, now) },
  ]).rows(resting);
}

/** A key that cools for one model serves the others. */
function restInWords({ state, model }: RestingGroup): string {
  if (state !== KeyState.AVAILABLE) return stateInWords(state);
  return model === '' ? stateInWords(state) : 'available for other models';
}

function verdict({ healthy, stats }: HealthReport['pools'][number]): string {
  if (stats.totalKeys === 0n) return 'no keys';
  return healthy ? 'serves' : 'no key available';
}
