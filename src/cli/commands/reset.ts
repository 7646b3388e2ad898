import type { Command } from 'commander';
import { type Key, KeyState } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { allKeys } from '../all-keys.ts';
import type { CommandContext } from '../command-context.ts';
import { forEachKey, judgeEach } from '../for-each-key.ts';
import { prettyJson } from '../json.ts';
import { checkKeyIds } from '../key-argument.ts';
import { addClientOptions, addHelpExamples, type ClientOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { withBalancer } from '../with-balancer.ts';
import { count } from '../words.ts';

interface ResetOptions extends ClientOptions {
  pool?: string;
  confirm?: boolean;
}

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .argument('[KEY_ID...]', 'these keys only (default: all that are not as new)')
    .option('--pool <NAME>', 'of this pool only (default: all)')
    .option('--confirm', 'do it; without it the command says what it would do')
    .action((keyIds: string[], options: ResetOptions) => reset(keyIds, options, output));
  addHelpExamples(command, 'reset', 'reset --pool default --confirm', 'reset key-00000007 --confirm').addHelpText(
    'after',
    [
      '',
      'Ends cooldowns, quarantine and what the server disabled by itself, forgets what was learned of projects, and restores health.',
      'Weights that an operator set, keys that one disabled, and counts stay.',
      '--json prints confirmed, keys (ids that were, or would be, reset) and failed (keyId, reason).',
    ].join('\n'),
  );
}

async function reset(keyIds: readonly string[], options: ResetOptions, output: Output): Promise<void> {
  checkKeyIds(keyIds);
  const { confirm = false, pool = '', json } = options;
  await withBalancer(options, output, async (balancer, signal) => {
    const found: string[] = [...keyIds];
    if (keyIds.length === 0) {
      for await (const { keys } of allKeys(balancer, { pool }, signal)) {
        found.push(...keys.filter((key) => !isAsNew(key)).map(({ keyId }) => keyId));
      }
    }
    const progress = { verb: 'reset', output, signal };
    const each = confirm
      ? await forEachKey(found, (keyId) => balancer.keyAdmin.resetKey({ keyId }, { signal }), progress)
      : { done: found, failed: [] };
    if (json) await output.line(prettyJson({ confirmed: confirm, keys: each.done, failed: each.failed }));
    else if (confirm) await output.line(`reset ${count(each.done.length, 'key')}`);
    else await output.line(`would reset ${count(found.length, 'key')}; repeat with --confirm to do it`);
    judgeEach(each, output);
  });
}

function isAsNew({ weight, health }: Key): boolean {
  if (health === undefined) return true;
  const { state, cooldowns, effectiveWeight, consecutiveFailures, projectLearned } = health;
  const isUsable = state === KeyState.AVAILABLE || state === KeyState.DISABLED_ADMIN;
  return (
    isUsable &&
    cooldowns.length === 0 &&
    effectiveWeight === (weight ?? 1) &&
    consecutiveFailures === 0 &&
    !projectLearned
  );
}
