import { enumToJson } from '@bufbuild/protobuf';
import type { Command } from 'commander';
import { ErrorClass, ErrorClassSchema, KeyState, type PoolStats } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { allKeys } from '../all-keys.ts';
import type { CommandContext } from '../command-context.ts';
import { endInWords } from '../end-in-words.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { poolCountsJson, restingJson } from '../health-json.ts';
import { prettyJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { Resting, type RestingGroup, type VerificationState } from '../resting.ts';
import { Table } from '../table.ts';
import { withBalancer } from '../with-balancer.ts';
import { causeInWords, count, stateInWords } from '../words.ts';

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
      'A quarantined key is suspected by a report: the server asks Gemini itself about it before it serves or is disabled.',
      'Where "one call tries it", the key comes back earlier if that call succeeds.',
      '--json prints healthy, where, version, pools, resting and learnedProjects. resting: groups of keys by state and',
      'cause, with the times when the first and the last of them come back (null: not by themselves), when the first is',
      'tried, how its verification stands, and ends, in words.',
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
      learnedProjects: resting.learnedProjects(),
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
  learnedProjects: { project: string; keys: number }[];
}

function complaint({ pool, totalKeys }: PoolStats): string {
  return totalKeys === 0n
    ? `pool ${pool} has no keys`
    : `pool ${pool} has no available key (${count(totalKeys, 'key')} resting or disabled)`;
}

function healthJson({ where, version, pools, resting, learnedProjects }: HealthReport): unknown {
  const now = Date.now();
  return {
    healthy: pools.every(({ healthy }) => healthy),
    where,
    version,
    pools: pools.map(({ healthy, stats }) => ({ healthy, ...poolCountsJson(stats) })),
    resting: resting.map((group) => ({
      ...restingJson(group),
      verification: verificationJson(group.verification),
      ends: endInWords(group, now),
    })),
    learnedProjects,
  };
}

function verificationJson(verification: VerificationState | undefined): unknown {
  if (verification === undefined) return null;
  return { ...verification, unansweredClass: enumToJson(ErrorClassSchema, verification.unansweredClass) };
}

async function print(report: HealthReport, output: Output): Promise<void> {
  const { where, version, pools, resting } = report;
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
  if (resting.length > 0) await printResting(resting, output);
  if (report.learnedProjects.length > 0) await printLearned(report.learnedProjects, output);
}

async function printResting(resting: readonly RestingGroup[], output: Output): Promise<void> {
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
    { title: 'ENDS', value: (group) => endInWords(group, now) },
  ]).rows(resting);
}

/** More are in the JSON. */
const MOST_PROJECTS = 20;

async function printLearned(learned: HealthReport['learnedProjects'], output: Output): Promise<void> {
  await output.line();
  await new Table<HealthReport['learnedProjects'][number]>(output, [
    { title: 'PROJECT, AS GEMINI NAMED IT', value: ({ project }) => project },
    { title: 'KEYS', value: ({ keys }) => String(keys), right: true },
  ]).rows(learned.slice(0, MOST_PROJECTS));
  if (learned.length > MOST_PROJECTS) await output.line(`and ${learned.length - MOST_PROJECTS} more projects`);
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
