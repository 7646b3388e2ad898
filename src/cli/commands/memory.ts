import type { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { prettyJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { printPairs } from '../pairs.ts';
import { withBalancer } from '../with-balancer.ts';
import { bytes } from '../words.ts';

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command).action((options: ClientOptions) => memory(options, output));
  addHelpExamples(command, 'memory', 'memory --json').addHelpText(
    'after',
    [
      '',
      'Of the process that holds the keys: the server, or, of a data dir that nobody uses, this command itself.',
      '--json prints residentBytes, keysBytes, keys, averageBytesPerKey, estimatedBytesPer1000Keys, and cache (size, capacity, hitRate).',
    ].join('\n'),
  );
}

async function memory(options: ClientOptions, output: Output): Promise<void> {
  await withBalancer(options, output, async (balancer, signal) => {
    const { server, total } = await balancer.keyBalancer.getStats({}, { signal });
    const keys = Number(total?.totalKeys ?? 0n);
    const keysBytes = Number(server?.memory?.keysBytes ?? 0n);
    const figures = {
      residentBytes: Number(server?.memory?.residentBytes ?? 0n),
      keysBytes,
      keys,
      averageBytesPerKey: keys === 0 ? 0 : Math.round(keysBytes / keys),
      estimatedBytesPer1000Keys: Number(server?.memory?.estimatedBytesPer1000Keys ?? 0n),
      cache: {
        size: Number(server?.cache?.size ?? 0n),
        capacity: Number(server?.cache?.capacity ?? 0n),
        hitRate: server?.cache?.hitRate ?? 0,
      },
    };
    if (options.json) return output.line(prettyJson(figures));
    const { cache } = figures;
    await printPairs(
      [
        ['process', `${bytes(BigInt(figures.residentBytes))} resident`],
        ['keys', `${bytes(BigInt(keysBytes))} of ${keys}, ${bytes(BigInt(figures.averageBytesPerKey))} each`],
        ['1000 keys', `about ${bytes(BigInt(figures.estimatedBytesPer1000Keys))}`],
        ['cache', `${cache.size} of ${cache.capacity} decrypted keys, hit rate ${(100 * cache.hitRate).toFixed(1)} %`],
      ],
      output,
    );
  });
}
