import type { Command } from 'commander';
import { connectRemote } from '../../client/remote.ts';
import { HealthEventKind } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { pauseMs } from '../bridge/backoff.ts';
import { bridge } from '../bridge/bridge.ts';
import { BridgeLog } from '../bridge/bridge-log.ts';
import { Outbox } from '../bridge/outbox.ts';
import type { Sink } from '../bridge/sink.ts';
import { secretOf, sinkHeaders, sinkUrl } from '../bridge/sink-options.ts';
import { StateFile } from '../bridge/state-file.ts';
import type { CommandContext } from '../command-context.ts';
import { CliError, EXIT, exitCodeOfSignal } from '../exit-code.ts';
import { addClientOptions, addHelpExamples, type ClientOptions, numberOption, wordOption } from '../options.ts';
import type { Output } from '../output.ts';
import { serverAddress } from '../server-address.ts';
import { count } from '../words.ts';

const KINDS = {
  'key-added': HealthEventKind.KEY_ADDED,
  'key-changed': HealthEventKind.KEY_CHANGED,
  'key-removed': HealthEventKind.KEY_REMOVED,
  'pool-changed': HealthEventKind.POOL_CHANGED,
  'pool-exhausted': HealthEventKind.POOL_EXHAUSTED,
  'pool-recovered': HealthEventKind.POOL_RECOVERED,
};
type KindName = keyof typeof KINDS;
const KIND_NAMES = Object.keys(KINDS) as KindName[];

interface BridgeCommandOptions extends ClientOptions {
  otlpEndpoint?: URL;
  webhook?: URL;
  webhookSecretEnv?: string;
  header?: string[];
  headerEnv?: string[];
  stateFile?: string;
  pool?: string[];
  kind?: KindName[];
  batchSize: number;
  timeout: number;
  interval: number;
}

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .option('--otlp-endpoint <URL>', 'an OpenTelemetry collector, by OTLP over HTTP', sinkUrl('--otlp-endpoint'))
    .option('--webhook <URL>', 'a URL that takes events as JSON', sinkUrl('--webhook'))
    .option(
      '--webhook-secret-env <VARIABLE>',
      'environment variable with the secret that signs requests to the webhook',
    )
    .option('--header <NAME: VALUE>', 'a header of each request; may be given again', repeated())
    .option(
      '--header-env <VARIABLE>',
      'environment variable with NAME: VALUE of a header; may be given again',
      repeated(),
    )
    .option('--state-file <FILE>', 'keeps what is not delivered, so that a restart loses nothing')
    .option('--pool <NAME>', 'only this pool; may be given again (default: all)', repeated())
    .option(
      `--kind <KIND>`,
      `only this kind of event: ${KIND_NAMES.join(', ')}; may be given again (default: all)`,
      repeated(wordOption('--kind', KIND_NAMES)),
    )
    .option(
      '--batch-size <N>',
      'most events to a request',
      numberOption('--batch-size', { least: 1, most: 1_000, whole: true }),
      200,
    )
    .option(
      '--timeout <SECONDS>',
      'that the sink has to answer',
      numberOption('--timeout', { least: 0.1, most: 600 }),
      10,
    )
    .option(
      '--interval <SECONDS>',
      'between two status lines',
      numberOption('--interval', { least: 0.1, most: 86_400 }),
      60,
    )
    .action((options: BridgeCommandOptions) => runBridge(options, output));
  addHelpExamples(
    command,
    'bridge --otlp-endpoint http://127.0.0.1:4318 --state-file otlp.state',
    'bridge --webhook https://hooks.example.com/keys --webhook-secret-env HOOK_SECRET --state-file hook.state',
  ).addHelpText(
    'after',
    [
      '',
      'It begins with how everything stands, and goes on with each change. An event counts as delivered when the sink answered 2xx; until',
      'then it is sent again, with the same id. It goes on when the server or the sink restarts, and ends by Ctrl-C or SIGTERM, when the',
      'sink has taken what is on its way. docs/bridge.md describes what a sink gets.',
      '--json prints lines of JSON: time, kind, and for kind status: server, sink, reached, delivered, waiting, gaps, merged, refused and',
      'failing (why, nextTry; null when the sink takes events); for other kinds, such as gap or sink-failing, a message.',
    ].join('\n'),
  );
}

async function runBridge(options: BridgeCommandOptions, output: Output): Promise<void> {
  const { stateFile, pool = [], kind = [], batchSize, timeout, interval } = options;
  const address = serverAddress(options);
  if (address === undefined) throw new CliError(EXIT.notReached, 'no server runs on the data dir');
  const server = [address].flat().join(', ');
  const sink = await sinkOf(options, server);
  const log = new BridgeLog(output, { json: options.json === true, server, sink: sink.url.origin });
  const headers = sinkHeaders(options, process.env, (message) => log.warn(message));
  const outbox = new Outbox(stateFile === undefined ? undefined : new StateFile(stateFile));
  if (stateFile === undefined) {
    log.warn(
      'without --state-file, a restart of the bridge begins with a snapshot, and what is on its way then is lost',
    );
  }
  const ended = new AbortController();
  const end = (name: 'SIGINT' | 'SIGTERM'): void => {
    if (ended.signal.aborted) process.exit(exitCodeOfSignal(name));
    ended.abort();
  };
  process.on('SIGINT', end);
  process.on('SIGTERM', end);
  const balancer = connectRemote(address, { transport: 'unary' });
  try {
    await bridge(
      {
        balancer,
        sink,
        outbox,
        watched: { pools: pool, kinds: kind.map((name) => KINDS[name]) },
        delivery: { headers, most: batchSize, timeoutMs: timeout * 1_000, pauseMs },
        log,
        intervalMs: interval * 1_000,
      },
      ended.signal,
    );
  } finally {
    await balancer.close();
  }
  const left = outbox.pending.length;
  if (left === 0) return;
  if (stateFile === undefined) throw new CliError(EXIT.partly, `${count(left, 'event')} not delivered, and lost`);
  log.warn(`${count(left, 'event')} not delivered yet; they are kept in ${stateFile}`);
}

async function sinkOf(options: BridgeCommandOptions, server: string): Promise<Sink> {
  const { otlpEndpoint, webhook, webhookSecretEnv } = options;
  if ((otlpEndpoint === undefined) === (webhook === undefined)) {
    throw new CliError(
      EXIT.usage,
      'give one of --otlp-endpoint and --webhook; a bridge for each, with a state file of its own',
    );
  }
  if (webhook === undefined && webhookSecretEnv !== undefined) {
    throw new CliError(EXIT.usage, '--webhook-secret-env signs requests to a --webhook, and there is none');
  }
  if (webhook !== undefined) {
    const secret =
      webhookSecretEnv === undefined ? undefined : secretOf('--webhook-secret-env', webhookSecretEnv, process.env);
    const { Webhook } = await import('../bridge/webhook.ts');
    return new Webhook(webhook, { server, secret });
  }
  const { OtlpLogs } = await import('../bridge/otlp-logs.ts');
  return new OtlpLogs(otlpEndpoint!, { server });
}

/** Of an option that may be given again: all its values, in their order. */
function repeated<Value = string>(read: (text: string) => Value = (text) => text as Value) {
  return (text: string, before: Value[] = []): Value[] => [...before, read(text)];
}
