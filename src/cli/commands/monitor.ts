import type { Command } from 'commander';
import { connectRemote } from '../../client/remote.ts';
import type { CommandContext } from '../command-context.ts';
import { CliError, EXIT } from '../exit-code.ts';
import { type Feed, feedMonitor } from '../monitor/feed.ts';
import { frame } from '../monitor/frame.ts';
import { MonitorState } from '../monitor/monitor-state.ts';
import { Screen } from '../monitor/screen.ts';
import { statusLine, statusRecord } from '../monitor/status-line.ts';
import { addClientOptions, addHelpExamples, type ClientOptions, numberOption } from '../options.ts';
import type { Output } from '../output.ts';
import { serverAddress } from '../server-address.ts';

interface MonitorOptions extends ClientOptions {
  pool?: string;
  interval: number;
}

/** Counters on a screen. */
const SCREEN_INTERVAL_MS = 1_000;

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command)
    .option('--pool <NAME>', 'this pool only (default: all)')
    .option(
      '--interval <SECONDS>',
      'between two lines, where standard output is no terminal',
      numberOption('--interval', { least: 0.1, most: 86_400 }),
      5,
    )
    .action((options: MonitorOptions) => monitor(options, output));
  addHelpExamples(command, 'monitor', 'monitor --interval 60 >> monitor.log', 'monitor --json | jq .pools').addHelpText(
    'after',
    [
      '',
      'On a terminal: the whole screen, as it changes, until q or Ctrl-C. Else one line each --interval. It goes on when the',
      'server restarts. A data dir that no process uses has nothing to show.',
      '--json prints a line of JSON each --interval: time, reached, where, version, pools (counters, and rates a second), resting',
      '(groups of keys, as `health --json` has them) and exhausted (pools without an available key).',
    ].join('\n'),
  );
}

async function monitor({ pool, interval, ...options }: MonitorOptions, output: Output): Promise<void> {
  const address = serverAddress(options);
  if (address === undefined) throw new CliError(EXIT.notReached, 'no server runs on the data dir');
  const balancer = connectRemote(address, { transport: 'unary' });
  const { where } = balancer;
  const state = new MonitorState();
  const ended = new AbortController();
  const end = (): void => ended.abort();
  process.on('SIGINT', end);
  process.on('SIGTERM', end);
  let feed: Feed = { lostSince: undefined, trouble: '' };
  const live = output.terminal && !options.json;
  const screen = new Screen(output, (size) => frame(state, { where, feed, now: Date.now() }, size), end);
  const request = {
    pools: pool === undefined ? [] : [pool],
    intervalMs: live ? SCREEN_INTERVAL_MS : Math.min(1_000, interval * 1_000),
    signal: ended.signal,
  };
  let began = false;
  let lines: NodeJS.Timeout | undefined;
  const print = async (): Promise<void> => {
    const view = { where, feed, now: Date.now() };
    await output.line(options.json ? JSON.stringify(statusRecord(state, view)) : statusLine(state, view));
    if (output.closed) end();
  };
  try {
    await feedMonitor(balancer, state, request, (now) => {
      feed = now;
      if (live && !began) screen.open();
      else if (live) screen.changed();
      else if (!began) {
        void print();
        lines = setInterval(() => void print(), interval * 1_000);
      }
      began = true;
    });
  } finally {
    clearInterval(lines);
    if (live && began) screen.close();
    await balancer.close();
  }
}
