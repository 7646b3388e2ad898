import { parseArgs } from 'node:util';

export interface DemoOptions {
  /** One JSON object on standard output, and nothing else. */
  json: boolean;
  /** How long the backends call. */
  seconds: number;
  help: boolean;
}

const LEAST_SECONDS = 2;
const MOST_SECONDS = 600;

export const HELP = `usage: npm run demo -- [--seconds N] [--json]

A server, a fake Gemini, three backends and a watcher, each but the fake in a process of its own, for a few seconds.
Nothing leaves this machine, and nothing stays on it.

  --seconds N  how long the backends call, ${LEAST_SECONDS} to ${MOST_SECONDS}; default 12
  --json       print the figures as one JSON object, for "npm run -s demo -- --json"

Exit code 0: all counts agree. 1: something was lost or does not agree. 130: interrupted.
NO_COLOR is heeded; where standard output is no terminal, lines are printed instead of a picture.
`;

/** Throws an Error that names option and value. */
export function readOptions(args: readonly string[]): DemoOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      json: { type: 'boolean', default: false },
      seconds: { type: 'string', default: '12' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const seconds = Number(values.seconds);
  if (values.seconds.trim() === '' || !(seconds >= LEAST_SECONDS && seconds <= MOST_SECONDS)) {
    throw new Error(
      `--seconds is ${JSON.stringify(values.seconds)}; allowed: a number from ${LEAST_SECONDS} to ${MOST_SECONDS}`,
    );
  }
  return { json: values.json, seconds, help: values.help };
}
