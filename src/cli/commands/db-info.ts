import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { prettyJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { pages } from '../pages.ts';
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
    const past = pages((pageToken) => balancer.keyAdmin.listImports({ pageSize: 1000, pageToken }, { signal }));
    for await (const page of past) {
      newest ??= page.imports[0]?.importTime && timestampMs(page.imports[0].importTime);
      imports += page.imports.length;
    }
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
    const { keysBySource } = info;
    const sources = Object.entries(keysBySource).map(([name, n]) => `${name || '(no source)'} ${n}`);
    for (const [name, value] of [
      ['where', info.where],
      ['version', info.version],
      ['database', bytes(BigInt(info.databaseBytes))],
      ['keys', `${info.keys} in ${info.pools} pools`],
      ['sources', sources.join(', ') || '-'],
      ['imports', info.imports.newest === null ? '0' : `${info.imports.count}, the newest ${info.imports.newest}`],
    ]) {
      await output.line(output.terminal ? `${name!.padEnd(10)}${value}` : `${name}\t${value}`);
    }
  });
}
