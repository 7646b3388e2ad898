import type { Command } from 'commander';
import { CreateKeyResponseSchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CommandContext } from '../command-context.ts';
import { messageJson, prettyJson } from '../json.ts';
import { newKeyOf } from '../key-argument.ts';
import { addClientOptions, addHelpExamples, type ClientOptions, numberOption } from '../options.ts';
import type { Output } from '../output.ts';
import { withBalancer } from '../with-balancer.ts';

interface AddKeyOptions extends ClientOptions {
  pool?: string;
  weight: number;
  source: string;
  project?: string;
  tier: number;
  fromEnv?: string;
  fromFile?: string;
}

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .argument('[KEY]', 'the API key; better -, which reads it from standard input, or nothing, to be asked for it')
    .option('--from-env <NAME>', 'read the key from this environment variable')
    .option('--from-file <FILE>', 'read the key from a file, which has one line')
    .option('--pool <NAME>', 'pool to add it to (default: default)')
    .option(
      '--weight <N>',
      'its share of the picks beside other keys, 0.001 to 1000',
      numberOption('--weight', { least: 0.001, most: 1000 }),
      1,
    )
    .option('--source <NAME>', 'where it comes from, kept with it', 'manual')
    .option('--project <NAME>', 'Google Cloud project: keys of one share its quota (default: unknown)')
    .option(
      '--tier <N>',
      '0 to 9: it serves only when no key of a lower tier may',
      numberOption('--tier', { least: 0, most: 9, whole: true }),
      0,
    )
    .action((key: string | undefined, options: AddKeyOptions) => addKey(key, options, output));
  addHelpExamples(
    command,
    'add-key',
    'add-key - --weight 2 --project my-project < key.txt',
    'add-key --from-env GEMINI_API_KEY',
  ).addHelpText(
    'after',
    '\n--json prints CreateKeyResponse of the API in protobuf JSON; no key in plain text is in it.',
  );
}

async function addKey(key: string | undefined, options: AddKeyOptions, output: Output): Promise<void> {
  const apiKey = await newKeyOf(key, options, output);
  const { pool = 'default', weight, source, project = '', tier } = options;
  await withBalancer({ ...options, mayCreate: true }, output, async (balancer, signal) => {
    const response = await balancer.keyAdmin.createKey(
      { apiKey, key: { pool, weight, source, project, tier } },
      { signal },
    );
    if (options.json) return output.line(prettyJson(messageJson(CreateKeyResponseSchema, response)));
    await output.line(`added ${response.key?.keyId} (${response.key?.redactedKey}) to pool ${response.key?.pool}`);
  });
}
