import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { prettyJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { withBalancer } from '../with-balancer.ts';
import { bytes } from '../words.ts';

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command).action((options: ClientOptions) => dbInfo(options, output));
  addHelpExamples(command, 'db-info', 'db-info --json').addHelpText(
    'after',
    '\n--json prints where, version, databaseBytes, keys, pools, keysBySource and imports (how many, and the time of the newest).',
  );
}

async function dbInfo(options: ClientOptions, output: Output): Promise<void> {
  await withBalancer(options, output, async (balancer, signal) => {
    const { server, total, pools } = await balancer.keyBalancer.getStats({}, { signal });
    let imports = 0;
    let newest: number | undefined;
    let pageToken = '';
    do {
      const page = await balancer.keyAdmin.listImports({ pageSize: 1000, pageToken }, { signal });
      const [first] = page.imports;
      if (imports === 0 && first?.importTime !== undefined) newest = timestampMs(first.importTime);
      imports += page.imports.length;
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    const info = {
      where: balancer.where,
      version: server?.version ?? '',
      databaseBytes: Number(server?.databaseBytes ?? 0n),
      keys: Number(total?.totalKeys ?? 0n),
      pools: pools.length,
      keysBySource: Object.fromEntries(Object.entries(total?.keysBySource ?? {}).map(([name, n]) => [name, Number(n)])),
      imports: { count: imports, newest: newest === undefined ? null : new Date(newest).toISOString() },
    };
    if (options.json) return output.line(prettyJson(info));
    const { keysBySource, imports: past } = info;
    const sources = Object.entries(keysBySource).map(([name, n]) => `${name || '(no source)'} ${n}`);
    for (const [name, value] of [
      ['where', info.where],
      ['version', info.version],
      ['database', bytes(BigInt(info.databaseBytes))],
      ['keys', `${info.keys} in ${info.pools} pools`],
      ['sources', sources.join(', ') || '-'],
      ['imports', past.newest === null ? '0' : `${past.count}, the newest ${past.newest}`],
    ]) {
      await output.line(output.terminal ? `${name!.padEnd(10)}${value}` : `${name}\t${value}`);
    }
  });
}
