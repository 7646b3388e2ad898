import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import type { Balancer } from '../../client/balancer.ts';
import type { DatabaseDescription } from '../../store/open-store.ts';
import type { CommandContext } from '../command-context.ts';
import { isoTime } from '../health-json.ts';
import { prettyJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { pages } from '../pages.ts';
import { printPairs } from '../pairs.ts';
import { isLocal } from '../server-address.ts';
import { withBalancer } from '../with-balancer.ts';
import { withMaintenance } from '../with-operator.ts';
import { bytes, count, localTime, milliseconds } from '../words.ts';

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command).action((options: ClientOptions) => dbInfo(options, output));
  addHelpExamples(command, 'db-info', 'db-info --json').addHelpText(
    'after',
    [
      '',
      'What only the data dir tells, schema, durability, log, backups and checks, is left out of a server at HOST:PORT.',
      '--json prints where, version, databaseBytes, keys, pools, keysBySource, imports (how many, and the time of the newest)',
      'and database: schemaVersion, durability, logBytes, lastBackup and lastCheck (endTime, problems, keys; null: none was',
      'made); database is null of a server at HOST:PORT.',
    ].join('\n'),
  );
}

interface Content {
  where: string;
  version: string;
  databaseBytes: number;
  keys: number;
  pools: number;
  keysBySource: Record<string, number>;
  imports: { count: number; newest: string | null };
}

async function dbInfo(options: ClientOptions, output: Output): Promise<void> {
  const found: Content[] = [];
  await withBalancer(options, output, async (balancer, signal) => {
    found.push(await contentOf(balancer, signal));
  });
  const [content] = found as [Content];
  const database = isLocal(options)
    ? await withMaintenance('db-info', options, output, (maintenance) => maintenance.describe())
    : undefined;
  if (options.json) return output.line(prettyJson({ ...content, database: database ? databaseJson(database) : null }));
  await printPairs([...contentInWords(content), ...(database === undefined ? [] : databaseInWords(database))], output);
}

async function contentOf(balancer: Balancer, signal: AbortSignal): Promise<Content> {
  const { server, total, pools } = await balancer.keyBalancer.getStats({}, { signal });
  let imports = 0;
  let newest: number | undefined;
  const past = pages((pageToken) => balancer.keyAdmin.listImports({ pageSize: 1000, pageToken }, { signal }));
  for await (const page of past) {
    newest ??= page.imports[0]?.importTime && timestampMs(page.imports[0].importTime);
    imports += page.imports.length;
  }
  return {
    where: balancer.where,
    version: server?.version ?? '',
    databaseBytes: Number(server?.databaseBytes ?? 0n),
    keys: Number(total?.totalKeys ?? 0n),
    pools: pools.length,
    keysBySource: Object.fromEntries(Object.entries(total?.keysBySource ?? {}).map(([name, n]) => [name, Number(n)])),
    imports: { count: imports, newest: isoTime(newest) },
  };
}

function databaseJson({ databaseBytes: _, lastBackup, lastCheck, ...rest }: DatabaseDescription) {
  const past = (found: DatabaseDescription['lastCheck']) =>
    found === undefined ? null : { ...found, endTime: isoTime(found.endTime) };
  return { ...rest, lastBackup: past(lastBackup), lastCheck: past(lastCheck) };
}

function contentInWords({
  where,
  version,
  databaseBytes,
  keys,
  pools,
  keysBySource,
  imports,
}: Content): [string, string][] {
  const sources = Object.entries(keysBySource).map(([name, n]) => `${name || '(no source)'} ${n}`);
  return [
    ['where', where],
    ['version', version],
    ['database', bytes(BigInt(databaseBytes))],
    ['keys', `${keys} in ${count(pools, 'pool')}`],
    ['sources', sources.join(', ') || '-'],
    ['imports', imports.newest === null ? '0' : `${imports.count}, the newest ${imports.newest}`],
  ];
}

function databaseInWords({
  schemaVersion,
  durability,
  logBytes,
  lastBackup,
  lastCheck,
}: DatabaseDescription): [string, string][] {
  return [
    ['schema', `version ${schemaVersion}`],
    ['durability', durability],
    ['log', bytes(BigInt(logBytes))],
    ['last backup', lastBackup === undefined ? 'none; `keybalancer backup FILE` makes one' : pastInWords(lastBackup)],
    ['last check', lastCheck === undefined ? 'none; `keybalancer check` reads all of it' : pastInWords(lastCheck)],
  ];
}

/** Such as "2026-11-29 14:02:11, 3 h ago: in order, 20 keys". */
function pastInWords({ endTime, problems, keys }: NonNullable<DatabaseDescription['lastCheck']>): string {
  const now = Date.now();
  const verdict = problems === 0 ? 'in order' : count(problems, 'problem');
  return `${localTime(endTime, now)}, ${milliseconds(Math.max(1_000, now - endTime))} ago: ${verdict}, ${count(keys, 'key')}`;
}
