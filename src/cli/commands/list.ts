import type { Command } from 'commander';
import type { Balancer } from '../../client/balancer.ts';
import { type Key, KeySchema, KeyState } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { allKeys } from '../all-keys.ts';
import type { CommandContext } from '../command-context.ts';
import { messageJson } from '../json.ts';
import { labelOption } from '../label-option.ts';
import { addClientOptions, addHelpExamples, type ClientOptions, wordOption } from '../options.ts';
import type { Output } from '../output.ts';
import { type Column, Table } from '../table.ts';
import { withBalancer } from '../with-balancer.ts';
import { cooldownInWords, count, stateInWords } from '../words.ts';

interface ListOptions extends ClientOptions {
  pool?: string;
  project?: string;
  source?: string;
  label?: Record<string, string>;
  state?: StateName[];
  availableOnly?: true;
  bySource?: true;
}

const STATES = {
  available: [KeyState.AVAILABLE],
  cooling: [KeyState.COOLING],
  quarantined: [KeyState.QUARANTINED],
  disabled: [KeyState.DISABLED_AUTO, KeyState.DISABLED_ADMIN],
};
type StateName = keyof typeof STATES;
const stateOption = wordOption('--state', Object.keys(STATES) as StateName[]);

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .option('--pool <NAME>', 'this pool only (default: all)')
    .option('--project <NAME>', 'this project only')
    .option('--source <NAME>', 'this source only')
    .option('--label <NAME=VALUE>', 'only keys with this label; of several, with all', labelOption('--label'))
    .option(
      '--state <available|cooling|quarantined|disabled>',
      'only keys in this state; of several, in any',
      (name, names: StateName[] = []) => [...names, stateOption(name)],
    )
    .option('--available-only', 'only keys that may serve now, as --state available')
    .option('--by-source', 'grouped by where they came from')
    .action((options: ListOptions) => list(options, output));
  addHelpExamples(
    command,
    'list --available-only --by-source',
    'list --state quarantined --label team=search',
    'list --json | jq -r .keys[].keyId',
  ).addHelpText(
    'after',
    '\n--json prints ListKeysResponse of the API in protobuf JSON, all pages as one, in order of key id.',
  );
}

async function list(options: ListOptions, output: Output): Promise<void> {
  const { pool = '', project = '', source = '', label: labels = {}, state = [], availableOnly = false } = options;
  const states = availableOnly ? STATES.available : [...new Set(state)].flatMap((name) => STATES[name]);
  const filter = { pool, project, source, labels, states };
  await withBalancer(options, output, async (balancer, signal) => {
    const pages = keyPages(balancer, filter, signal, output);
    if (options.json) await printJson(pages, output);
    else if (options.bySource) await printBySource(pages, output);
    else await printTable(pages, output);
  });
}

/** Until the end, or until nobody reads any more. */
async function* keyPages(
  balancer: Balancer,
  filter: Parameters<typeof allKeys>[1],
  signal: AbortSignal,
  output: Output,
): AsyncGenerator<Key[]> {
  for await (const { keys } of allKeys(balancer, filter, signal)) {
    yield keys;
    if (output.closed) return;
  }
}

/** Nothing is printed before the first page is there, so that a refusal leaves no half of an answer. */
async function printJson(pages: AsyncIterable<Key[]>, output: Output): Promise<void> {
  let total = 0;
  let separator = '{\n  "keys": [\n    ';
  for await (const keys of pages) {
    if (keys.length === 0) continue;
    const lines = keys.map((key) => JSON.stringify(messageJson(KeySchema, key)));
    await output.write(separator + lines.join(',\n    '));
    separator = ',\n    ';
    total += keys.length;
  }
  const end = total === 0 ? '{\n  "keys": [' : '\n  ';
  await output.line(`${end}],\n  "nextPageToken": "",\n  "totalSize": "${total}"\n}`);
}

async function printTable(pages: AsyncIterable<Key[]>, output: Output): Promise<void> {
  const table = new Table(output, columns(Date.now()));
  let total = 0;
  for await (const keys of pages) {
    if (keys.length > 0 || total === 0) await table.rows(keys);
    total += keys.length;
  }
  if (output.terminal) await output.line(output.style('dim', count(total, 'key')));
}

async function printBySource(pages: AsyncIterable<Key[]>, output: Output): Promise<void> {
  const bySource = new Map<string, Key[]>();
  for await (const keys of pages) {
    for (const key of keys) {
      const group = bySource.get(key.source);
      if (group === undefined) bySource.set(key.source, [key]);
      else group.push(key);
    }
  }
  const groups = [...bySource].sort(([a], [b]) => a.localeCompare(b));
  if (!output.terminal) return new Table(output, columns(Date.now())).rows(groups.flatMap(([, keys]) => keys));
  for (const [source, keys] of groups) {
    await output.line(output.style('bold', `${source === '' ? '(no source)' : source}: ${count(keys.length, 'key')}`));
    await new Table(output, columns(Date.now())).rows(keys);
    await output.line();
  }
}

function columns(now: number): Column<Key>[] {
  return [
    { title: 'KEY ID', value: ({ keyId }) => keyId },
    { title: 'KEY', value: ({ redactedKey }) => redactedKey },
    { title: 'POOL', value: ({ pool }) => pool },
    { title: 'PROJECT', value: projectInWords },
    { title: 'SOURCE', value: ({ source }) => source || '-' },
    {
      title: 'WEIGHT',
      value: ({ weight, health }) => weightInWords(weight ?? 1, health?.effectiveWeight),
      right: true,
    },
    { title: 'TIER', value: ({ tier }) => String(tier), right: true },
    { title: 'LEASES', value: ({ health }) => String(health?.activeLeases ?? 0), right: true },
    { title: 'SUCCEEDED', value: ({ usage }) => String(usage?.succeeded ?? 0), right: true },
    { title: 'FAILED', value: ({ usage }) => String(usage?.failed ?? 0), right: true },
    { title: 'STATE', value: (key) => keyStateInWords(key, now), style: styleOfState },
  ];
}

/** One that nobody set, but an error of Gemini's named, is marked. */
function projectInWords({ project, health }: Key): string {
  if (project !== '' || !health?.projectLearned) return project || '-';
  return `${health.project} (learned)`;
}

/** "1", or "1 (now 0.64)" where health has lowered it. */
function weightInWords(weight: number, effective = weight): string {
  const short = (value: number): string => String(Number(value.toPrecision(3)));
  return short(weight) === short(effective) ? short(weight) : `${short(weight)} (now ${short(effective)})`;
}

/** Such as "cooling until ...", "available; not gemini-2.5-flash until ...". */
function keyStateInWords({ health }: Key, now: number): string {
  const state = health?.state ?? KeyState.UNSPECIFIED;
  const cooldowns = (health?.cooldowns ?? []).map((cooldown) => cooldownInWords(cooldown, now));
  if (cooldowns.length === 0) return stateInWords(state);
  const joint = state === KeyState.AVAILABLE ? '; not ' : state === KeyState.COOLING ? ' ' : '; ';
  return stateInWords(state) + joint + cooldowns.join('; ');
}

function styleOfState({ health }: Key): 'green' | 'yellow' | 'red' {
  if (health?.state === KeyState.AVAILABLE) return 'green';
  return health?.state === KeyState.COOLING ? 'yellow' : 'red';
}
