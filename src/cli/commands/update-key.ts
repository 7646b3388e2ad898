import type { MessageInitShape } from '@bufbuild/protobuf';
import { type Command, Option } from 'commander';
import type { Balancer } from '../../client/balancer.ts';
import { type Key, KeySchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CommandContext } from '../command-context.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { forEachKey, judgeEach } from '../for-each-key.ts';
import { messageJson, prettyJson } from '../json.ts';
import { checkKeyIds } from '../key-argument.ts';
import { labelOption } from '../label-option.ts';
import { addClientOptions, addHelpExamples, type ClientOptions, numberOption } from '../options.ts';
import type { Output } from '../output.ts';
import { readSecret } from '../read-secret.ts';
import { withBalancer } from '../with-balancer.ts';
import { count } from '../words.ts';

interface UpdateKeyOptions extends ClientOptions {
  weight?: number;
  project?: string;
  tier?: number;
  source?: string;
  models?: string[];
  maxConcurrentLeases?: number | 'pool';
  label?: Record<string, string>;
  removeLabel?: string[];
  enable?: true;
  disable?: true;
  replace?: true;
}

type KeyInit = MessageInitShape<typeof KeySchema>;

/** What an update does to each key. */
interface Change {
  key: KeyInit;
  paths: string[];
  /** undefined: its labels stay. */
  relabel: ((labels: Record<string, string>) => Record<string, string>) | undefined;
  newApiKey: string;
}

const MOST_LEASES = 2 ** 31 - 1;

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .argument('<KEY_ID...>', 'keys to change, such as key-00000007, as `list` shows them')
    .option(
      '--weight <N>',
      'its share of the picks beside other keys, 0.001 to 1000',
      numberOption('--weight', { least: 0.001, most: 1000 }),
    )
    .option('--project <NAME>', 'Google Cloud project: keys of one share its quota; "": unknown')
    .option(
      '--tier <N>',
      '0 to 9: it serves only when no key of a lower tier may',
      numberOption('--tier', { least: 0, most: 9, whole: true }),
    )
    .option('--source <NAME>', 'where it comes from')
    .option('--models <NAMES>', 'the only models it may serve, with commas between them; "": all', namesOf)
    .option('--max-concurrent-leases <N|pool>', 'its leases at once; 0: no limit; pool: that of its pool', leasesOf)
    .option('--label <NAME=VALUE>', 'sets a label; can be repeated', labelOption('--label'))
    .option('--remove-label <NAME>', 'takes a label away; can be repeated', (name, names: string[] = []) => [
      ...names,
      name,
    ])
    .option('--disable', 'takes it out of use until it is enabled')
    .addOption(new Option('--enable', 'ends what --disable did').conflicts('disable'))
    .option('--replace', 'puts the API key of standard input, or one that is asked for, in its place, with new health')
    .action((keyIds: string[], options: UpdateKeyOptions) => updateKeys(keyIds, options, output));
  addHelpExamples(
    command,
    'update-key key-00000007 --weight 2 --label team=search',
    'update-key key-00000007 key-00000008 --disable',
    'update-key key-00000007 --replace < key.txt',
  ).addHelpText(
    'after',
    [
      '',
      'What is not named stays as it is. Exit code 4 when some keys could not be changed, 1 when none could.',
      '--json prints keys (each a Key of the API in protobuf JSON, as it is now) and failed (keyId, reason).',
    ].join('\n'),
  );
}

function namesOf(text: string): string[] {
  return text === '' ? [] : text.split(',').map((name) => name.trim());
}

function leasesOf(text: string): number | 'pool' {
  if (text === 'pool') return text;
  return numberOption('--max-concurrent-leases', { least: 0, most: MOST_LEASES, whole: true, or: 'pool' })(text);
}

async function updateKeys(keyIds: readonly string[], options: UpdateKeyOptions, output: Output): Promise<void> {
  checkKeyIds(keyIds);
  if (options.replace && keyIds.length > 1) {
    throw new CliError(EXIT.usage, `--replace is for one key, and ${keyIds.length} are named`);
  }
  const change = await changeOf(options);
  await withBalancer(options, output, async (balancer, signal) => {
    const keys: Key[] = [];
    const each = await forEachKey(
      [...new Set(keyIds)],
      async (keyId) => keys.push(await updateKey(balancer, keyId, change, signal)),
      { verb: 'changed', output, signal },
    );
    if (options.json) {
      keys.sort((a, b) => keyIds.indexOf(a.keyId) - keyIds.indexOf(b.keyId));
      await output.line(prettyJson({ keys: keys.map((key) => messageJson(KeySchema, key)), failed: each.failed }));
    } else if (keys.length > 0) {
      await output.line(`changed ${inWords(change)} of ${count(keys.length, 'key')}`);
    }
    judgeEach(each, output);
  });
}

async function changeOf(options: UpdateKeyOptions): Promise<Change> {
  const { weight, project, tier, source, models, maxConcurrentLeases, enable, disable } = options;
  const { label = {}, removeLabel = [] } = options;
  const named: KeyInit = { weight, project, tier, source, models } as KeyInit;
  const paths = Object.entries(named).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  const key: KeyInit = Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined));
  if (maxConcurrentLeases !== undefined) {
    paths.push('max_concurrent_leases');
    // Named and absent: its pool decides.
    if (maxConcurrentLeases !== 'pool') key.maxConcurrentLeases = maxConcurrentLeases;
  }
  if (enable || disable) {
    paths.push('disabled');
    key.disabled = disable === true;
  }
  const relabels = Object.keys(label).length + removeLabel.length > 0;
  if (relabels) paths.push('labels');
  if (paths.length === 0 && !options.replace) {
    throw new CliError(EXIT.usage, 'no change is named; see --help for those there are');
  }
  return {
    key,
    paths,
    relabel: relabels
      ? (labels) => ({
          ...Object.fromEntries(Object.entries(labels).filter(([name]) => !removeLabel.includes(name))),
          ...label,
        })
      : undefined,
    newApiKey: options.replace ? await readSecret('API key') : '',
  };
}

async function updateKey(balancer: Balancer, keyId: string, change: Change, signal: AbortSignal): Promise<Key> {
  const { paths, relabel, newApiKey } = change;
  const key: KeyInit = { ...change.key, keyId };
  if (relabel !== undefined) {
    const before = await balancer.keyAdmin.getKey({ keyId }, { signal });
    key.labels = relabel(before.key?.labels ?? {});
    // Labels go back as a whole: a change of them in between must not be lost.
    key.etag = before.key?.etag ?? '';
  }
  // An empty mask would mean every field that is set.
  const updateMask = { paths: paths.length === 0 ? ['key_id'] : paths };
  const response = await balancer.keyAdmin.updateKey({ key, updateMask, newApiKey }, { signal });
  return response.key!;
}

/** Such as "weight, labels". */
function inWords({ paths, newApiKey }: Change): string {
  return [...paths, ...(newApiKey === '' ? [] : ['API key'])].join(', ');
}
