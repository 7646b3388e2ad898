import { setTimeout as sleep } from 'node:timers/promises';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { ErrorClass, type TestKeysResponse, TestKeysResponseSchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CommandContext } from '../command-context.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { messageJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions, numberOption } from '../options.ts';
import type { Output } from '../output.ts';
import { Table } from '../table.ts';
import { withBalancer } from '../with-balancer.ts';
import { causeInWords, count, duration } from '../words.ts';

interface TestKeysOptions extends ClientOptions {
  pool?: string;
  model?: string;
  parallelism: number;
  timeout: number;
  maxRetries: number;
  retryDelay: number;
  pageSize: number;
  apply?: true;
}

/** Failures that say nothing of the key: the next moment may be a better one. */
const UNTOLD: readonly ErrorClass[] = [
  ErrorClass.OVERLOADED,
  ErrorClass.SERVER_ERROR,
  ErrorClass.TIMEOUT,
  ErrorClass.NETWORK,
];

/** Characters of Gemini's message that a line shows. */
const LONGEST_MESSAGE = 200;

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .argument('[KEY_ID...]', 'keys to test, such as key-00000042 (default: all of the pool)')
    .option('--pool <NAME>', 'pool whose keys to test (default: default)')
    .option('--model <NAME>', "let it generate a token, which uses one request of each key's quota")
    .option(
      '--parallelism <N>',
      'tests at a time, 1 to 32',
      numberOption('--parallelism', { least: 1, most: 32, whole: true }),
      4,
    )
    .option(
      '--timeout <SECONDS>',
      'longest time for one, 0.1 to 60',
      numberOption('--timeout', { least: 0.1, most: 60 }),
      10,
    )
    .option(
      '--max-retries <N>',
      'further tests of a key that Gemini says nothing about, being overloaded or not reached',
      numberOption('--max-retries', { least: 0, most: 100, whole: true }),
      1,
    )
    .option(
      '--retry-delay <SECONDS>',
      'pause before those',
      numberOption('--retry-delay', { least: 0, most: 3600 }),
      0.5,
    )
    .option(
      '--page-size <N>',
      'models that a key is asked to list, 1 to 1000',
      numberOption('--page-size', { least: 1, most: 1000, whole: true }),
      10,
    )
    .option('--apply', "let the results change the keys' health; else they are only told")
    .action((keyIds: string[], options: TestKeysOptions) => testKeys(keyIds, options, output));
  addHelpExamples(command, 'test-keys', 'test-keys key-00000042 --model gemini-2.5-flash --apply').addHelpText(
    'after',
    [
      '',
      'The server asks Gemini, at its --gemini-base-url; without a server this process does, at KEYBALANCER_GEMINI_BASE_URL.',
      "Without --model a key lists models, which uses no quota, but does not prove that it may generate. Keys' plain text",
      'never leaves whoever asks.',
      'Exit code 4 when some keys failed, 1 when all did.',
      '--json prints a TestKeysResponse of the API in protobuf JSON for each key, one a line, as each ends.',
    ].join('\n'),
  );
}

async function testKeys(keyIds: string[], options: TestKeysOptions, output: Output): Promise<void> {
  const { pool = '', model = '', parallelism, timeout, maxRetries, retryDelay, pageSize, apply = false } = options;
  const request = {
    pool,
    model,
    parallelism,
    timeout: durationFromMs(timeout * 1000),
    apply,
    modelsPageSize: pageSize,
  };
  await withBalancer(options, output, async (balancer, signal) => {
    const tally = new Tally();
    const print = options.json ? jsonPrinter(output) : tablePrinter(output);
    let round = keyIds;
    for (let left = maxRetries; ; left--) {
      const again: string[] = [];
      for await (const result of balancer.testKeys({ ...request, keyIds: round }, { signal })) {
        if (left > 0 && UNTOLD.includes(result.errorClass)) again.push(result.keyId);
        else {
          tally.add(result);
          await print(result);
        }
        output.progress(`tested ${result.done} of ${count(result.total, 'key')}`);
        // To nobody's use, no quota need be spent.
        if (output.closed) break;
      }
      if (again.length === 0 || output.closed) break;
      output.progress(`${count(again.length, 'key')} of which Gemini said nothing are tested again`);
      await sleep(retryDelay * 1000, undefined, { signal });
      round = again;
    }
    output.clearProgress();
    if (!options.json && tally.tested > 0) await output.line(`\n${tally.summary({ model, apply })}`);
    if (tally.tested === 0) throw new CliError(EXIT.failed, `pool ${pool || 'default'} has no key to test`);
    if (tally.failed === 0) return;
    const exitCode = tally.failed < tally.tested ? EXIT.partly : EXIT.failed;
    throw new CliError(exitCode, `${tally.failed} of ${count(tally.tested, 'key')} failed`);
  });
}

type Printer = (result: TestKeysResponse) => Promise<void>;

function jsonPrinter(output: Output): Printer {
  return (result) => output.line(JSON.stringify(messageJson(TestKeysResponseSchema, result)));
}

function tablePrinter(output: Output): Printer {
  const table = new Table<TestKeysResponse>(output, [
    { title: 'KEY ID', value: ({ keyId }) => keyId },
    { title: 'LATENCY', value: ({ latency }) => duration(latency), right: true },
    { title: 'RESULT', value: resultInWords, style: ({ ok }) => (ok ? 'green' : 'red') },
  ]);
  return (result) => table.rows([result]);
}

/** "ok", or such as "the key was refused as invalid: API key not valid. Please pass a valid API key." */
function resultInWords({ ok, errorClass, error }: TestKeysResponse): string {
  if (ok) return 'ok';
  const message = (error?.message ?? '').replace(/\s+/g, ' ').trim();
  const short = message.length > LONGEST_MESSAGE ? `${message.slice(0, LONGEST_MESSAGE)}…` : message;
  return short === '' ? causeInWords(errorClass) : `${causeInWords(errorClass)}: ${short}`;
}

/** What came of all tests. */
class Tally {
  tested = 0;
  failed = 0;
  readonly #byClass = new Map<ErrorClass, number>();

  add({ ok, errorClass }: TestKeysResponse): void {
    this.tested++;
    if (ok) return;
    this.failed++;
    this.#byClass.set(errorClass, (this.#byClass.get(errorClass) ?? 0) + 1);
  }

  /** Such as "tested 3 keys: 2 ok; 1: the key was refused as invalid. Their health is as before." */
  summary({ model, apply }: { model: string; apply: boolean }): string {
    const parts = [`${this.tested - this.failed} ok`];
    for (const [errorClass, keys] of [...this.#byClass].sort(([, a], [, b]) => b - a)) {
      parts.push(`${keys}: ${causeInWords(errorClass)}`);
    }
    const health = apply ? 'The results count for their health.' : 'Their health is as before; --apply lets it count.';
    const used = model === '' ? '' : ` Each used one request of its quota for ${model}.`;
    return `tested ${count(this.tested, 'key')}: ${parts.join('; ')}. ${health}${used}`;
  }
}
