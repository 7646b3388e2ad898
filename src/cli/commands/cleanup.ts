import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import type { Key } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { allKeys } from '../all-keys.ts';
import type { CommandContext } from '../command-context.ts';
import { forEachKey, judgeEach } from '../for-each-key.ts';
import { prettyJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions, numberOption } from '../options.ts';
import type { Output } from '../output.ts';
import { withBalancer } from '../with-balancer.ts';
import { count } from '../words.ts';

interface CleanupOptions extends ClientOptions {
  days: number;
  pool?: string;
  confirm?: boolean;
}

const DAY_MS = 86_400_000;

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .option('--days <N>', 'unused for so long', numberOption('--days', { least: 0, most: 36_500 }), 30)
    .option('--pool <NAME>', 'of this pool only (default: all)')
    .option('--confirm', 'do it; without it the command says what it would do')
    .action((options: CleanupOptions) => cleanup(options, output));
  addHelpExamples(command, 'cleanup', 'cleanup --days 90 --confirm').addHelpText(
    'after',
    [
      '',
      'Removes keys that were not leased for so many days; one that never was counts from the day it was added.',
      '--json prints confirmed, keys (ids that were, or would be, removed) and failed (keyId, reason).',
    ].join('\n'),
  );
}

async function cleanup(
  { days, pool = '', confirm = false, ...options }: CleanupOptions,
  output: Output,
): Promise<void> {
  await withBalancer(options, output, async (balancer, signal) => {
    const before = Date.now() - days * DAY_MS;
    const unused: string[] = [];
    for await (const { keys } of allKeys(balancer, { pool }, signal)) {
      unused.push(...keys.filter((key) => lastUse(key) <= before).map(({ keyId }) => keyId));
    }
    const progress = { verb: 'removed', output, signal };
    const remove = (keyId: string) => balancer.keyAdmin.deleteKey({ keyId, allowMissing: true }, { signal });
    const each = confirm ? await forEachKey(unused, remove, progress) : { done: unused, failed: [] };
    if (options.json) await output.line(prettyJson({ confirmed: confirm, keys: each.done, failed: each.failed }));
    else if (confirm) await output.line(`removed ${count(each.done.length, 'key')} unused for ${days} days`);
    else {
      await output.line(
        `would remove ${count(unused.length, 'key')} unused for ${days} days; repeat with --confirm to do it`,
      );
    }
    judgeEach(each, output);
  });
}

/** Unix milliseconds. A key that is leased now is used now. */
function lastUse({ health, createTime }: Key): number {
  if ((health?.activeLeases ?? 0) > 0) return Number.POSITIVE_INFINITY;
  const time = health?.lastAcquireTime ?? createTime;
  return time === undefined ? Number.POSITIVE_INFINITY : timestampMs(time);
}
