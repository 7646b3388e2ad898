import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import {
  type CallerStats,
  GetStatsResponseSchema,
  type LatencySummary,
  type PoolStats,
  type ServerStats,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CommandContext } from '../command-context.ts';
import { messageJson, prettyJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { type Column, Table } from '../table.ts';
import { withBalancer } from '../with-balancer.ts';
import { bytes, duration, localTime, milliseconds } from '../words.ts';

interface StatsOptions extends ClientOptions {
  pool?: string;
  models?: true;
}

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .option('--pool <NAME>', 'this pool only (default: all)')
    .option('--models', 'also by model')
    .action((options: StatsOptions) => stats(options, output));
  addHelpExamples(command, 'stats', 'stats --json | jq .total.usage').addHelpText(
    'after',
    '\n--json prints GetStatsResponse of the API in protobuf JSON: counters are strings of digits.',
  );
}

async function stats({ pool, models, ...options }: StatsOptions, output: Output): Promise<void> {
  await withBalancer(options, output, async (balancer, signal) => {
    const request = { pools: pool === undefined ? [] : [pool], includeModels: models === true };
    const response = await balancer.keyBalancer.getStats(request, { signal });
    if (options.json) return output.line(prettyJson(messageJson(GetStatsResponseSchema, response)));
    const { pools, total } = response;
    const rows = pools.length > 1 && total !== undefined ? [...pools, total] : pools;
    await new Table(output, KEY_COLUMNS).rows(rows);
    await output.line();
    await new Table(output, CALL_COLUMNS).rows(rows);
    if (models) await printModels(pools, output);
    await printSources(total, output);
    await printCallers(response.callers, output);
    if (response.server !== undefined) await printServer(response.server, balancer.where, output);
  });
}

const figure = (value: bigint | number | undefined): string => String(value ?? 0);

const POOL: Column<PoolStats> = { title: 'POOL', value: ({ pool }) => (pool === '' ? '(all)' : pool) };

const KEY_COLUMNS: Column<PoolStats>[] = [
  POOL,
  { title: 'KEYS', value: ({ totalKeys }) => figure(totalKeys), right: true },
  { title: 'AVAILABLE', value: ({ availableKeys }) => figure(availableKeys), right: true },
  { title: 'COOLING', value: ({ coolingKeys }) => figure(coolingKeys), right: true },
  { title: 'QUARANTINED', value: ({ quarantinedKeys }) => figure(quarantinedKeys), right: true },
  { title: 'DISABLED', value: ({ disabledKeys }) => figure(disabledKeys), right: true },
  { title: 'AVG WEIGHT', value: ({ averageWeight }) => String(Number(averageWeight.toPrecision(4))), right: true },
];

const CALL_COLUMNS: Column<PoolStats>[] = [
  POOL,
  { title: 'LEASES', value: ({ activeLeases }) => figure(activeLeases), right: true },
  { title: 'WAITING', value: ({ waitingAcquires }) => figure(waitingAcquires), right: true },
  { title: 'ACQUIRED', value: ({ usage }) => figure(usage?.acquired), right: true },
  { title: 'SUCCEEDED', value: ({ usage }) => figure(usage?.succeeded), right: true },
  { title: 'FAILED', value: ({ usage }) => figure(usage?.failed), right: true },
  { title: 'EXPIRED', value: ({ usage }) => figure(usage?.expired), right: true },
  { title: 'REFUSED', value: ({ acquiresRejected }) => figure(acquiresRejected), right: true },
  { title: 'GEMINI P50', value: ({ providerLatency }) => median(providerLatency), right: true },
];

function median(latency: LatencySummary | undefined): string {
  return latency === undefined || latency.count === 0n ? '-' : duration(latency.p50);
}

async function printModels(pools: readonly PoolStats[], output: Output): Promise<void> {
  const rows = pools.flatMap(({ pool, models }) => models.map((model) => ({ pool, ...model })));
  if (rows.length === 0) return;
  await output.line();
  await new Table<(typeof rows)[number]>(output, [
    { title: 'POOL', value: ({ pool }) => pool },
    { title: 'MODEL', value: ({ model }) => (model === '' ? '(any)' : model) },
    { title: 'AVAILABLE', value: ({ availableKeys }) => figure(availableKeys), right: true },
    { title: 'ACQUIRED', value: ({ usage }) => figure(usage?.acquired), right: true },
    { title: 'SUCCEEDED', value: ({ usage }) => figure(usage?.succeeded), right: true },
    { title: 'FAILED', value: ({ usage }) => figure(usage?.failed), right: true },
  ]).rows(rows);
}

async function printSources(total: PoolStats | undefined, output: Output): Promise<void> {
  const rows = Object.entries(total?.keysBySource ?? {}).sort(([a], [b]) => a.localeCompare(b));
  if (rows.length === 0) return;
  await output.line();
  await new Table<(typeof rows)[number]>(output, [
    { title: 'SOURCE', value: ([source]) => (source === '' ? '(none)' : source) },
    { title: 'KEYS', value: ([, keys]) => figure(keys), right: true },
  ]).rows(rows);
}

/** Those whose reports were put to the test, or were not believed. */
async function printCallers(callers: readonly CallerStats[], output: Output): Promise<void> {
  const rows = callers.filter(
    ({ confirmed, refuted, projectsRefused, delaysDistrusted, limitsRefused }) =>
      confirmed + refuted + projectsRefused + delaysDistrusted + limitsRefused > 0n,
  );
  if (rows.length === 0) return;
  await output.line();
  await new Table<CallerStats>(output, [
    { title: 'CALLER', value: ({ caller }) => caller },
    { title: 'QUARANTINED', value: ({ quarantined }) => figure(quarantined), right: true },
    { title: 'CONFIRMED', value: ({ confirmed }) => figure(confirmed), right: true },
    {
      title: 'REFUTED',
      value: ({ refuted }) => figure(refuted),
      right: true,
      style: ({ refuted }) => (refuted > 0n ? 'red' : undefined),
    },
    { title: 'PROJECTS LEARNED', value: ({ projectsLearned }) => figure(projectsLearned), right: true },
    { title: 'PROJECTS REFUSED', value: ({ projectsRefused }) => figure(projectsRefused), right: true },
    { title: 'DELAYS NOT BELIEVED', value: ({ delaysDistrusted }) => figure(delaysDistrusted), right: true },
    { title: 'LIMITS NOT BELIEVED', value: ({ limitsRefused }) => figure(limitsRefused), right: true },
  ]).rows(rows);
}

async function printServer(server: ServerStats, where: string, output: Output): Promise<void> {
  const now = Date.now();
  const { cache, memory, startTime } = server;
  const since = startTime === undefined ? undefined : timestampMs(startTime);
  const rows: [string, string][] = [
    ['where', where],
    ['version', server.version],
    ...(since === undefined
      ? []
      : [['up', `${milliseconds(now - since)}, since ${localTime(since, now)}`] as [string, string]]),
    ['database', bytes(server.databaseBytes)],
    ['memory', `${bytes(memory?.residentBytes ?? 0n)}, of which keys ${bytes(memory?.keysBytes ?? 0n)}`],
    [
      'key cache',
      `${figure(cache?.size)} of ${figure(cache?.capacity)}, hit rate ${((cache?.hitRate ?? 0) * 100).toFixed(1)} %`,
    ],
    ['watchers', figure(server.watchers)],
    ['sessions', figure(server.sessions)],
  ];
  await output.line();
  await new Table<[string, string]>(output, [
    { title: 'SERVER', value: ([name]) => name },
    { title: '', value: ([, value]) => value },
  ]).rows(rows);
}
