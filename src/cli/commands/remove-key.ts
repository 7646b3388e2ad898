import type { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { prettyJson } from '../json.ts';
import { apiKeyOf, isKeyId, keyIdOf } from '../key-argument.ts';
import { addClientOptions, addHelpExamples, type ClientOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { withBalancer } from '../with-balancer.ts';

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .argument(
      '<KEY>',
      'a key id, as `list` shows it; or the API key, better as -, which reads it from standard input or asks for it',
    )
    .action((key: string, options: ClientOptions) => removeKey(key, options, output));
  addHelpExamples(command, 'remove-key key-00000007', 'remove-key - < key.txt').addHelpText(
    'after',
    '\nIts leases end, and its counts stay in those of its pool.\n--json prints keyId.',
  );
}

async function removeKey(argument: string, options: ClientOptions, output: Output): Promise<void> {
  const apiKey = isKeyId(argument) ? undefined : await apiKeyOf(argument, 'remove-key', output);
  await withBalancer(options, output, async (balancer, signal) => {
    const keyId = apiKey === undefined ? argument : await keyIdOf(balancer, apiKey, signal);
    await balancer.keyAdmin.deleteKey({ keyId }, { signal });
    if (options.json) return output.line(prettyJson({ keyId }));
    await output.line(`removed ${keyId}`);
  });
}
