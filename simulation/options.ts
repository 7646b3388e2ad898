import { parseArgs } from 'node:util';
import type { WindowKind } from './minute-window.ts';
import { DEFAULT_SEED } from './world.ts';

export interface SimulationOptions {
  seed: number;
  window: WindowKind;
  json: boolean;
  /** Where the plot goes, from the working directory; "": nowhere. */
  out: string;
  help: boolean;
}

const LARGEST_SEED = 2 ** 32 - 1;

export const HELP = `usage: npm run simulate -- [--seed N] [--window sliding|aligned] [--json] [--out FILE]

A day of 200 keys in 50 projects under three schedulers, on a clock of its own: an oracle that knows every limit, round
robin with a flat cooldown, and KeyBalancer's engine. It takes some seconds, asks nobody and reads no clock.

  --seed N       draws limits, load and failures anew; default ${DEFAULT_SEED}
  --window KIND  how Gemini counts a minute: the 60 s before a call (sliding, the default) or the clock's (aligned)
  --json         print the figures as one JSON object, for "npm run -s simulate -- --json"
  --out FILE     write the plot there as SVG; "npm run simulate" has docs/simulation.svg

Exit code 0: KeyBalancer reached what is asked of it. 1: it did not.
`;

/** Throws an Error that names option and value. */
export function readOptions(args: readonly string[]): SimulationOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string', default: String(DEFAULT_SEED) },
      window: { type: 'string', default: 'sliding' },
      json: { type: 'boolean', default: false },
      out: { type: 'string', default: '' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const { window, json, out, help } = values;
  const seed = Number(values.seed);
  if (values.seed.trim() === '' || !Number.isInteger(seed) || seed < 0 || seed > LARGEST_SEED) {
    throw new Error(`--seed is ${JSON.stringify(values.seed)}; allowed: a whole number from 0 to ${LARGEST_SEED}`);
  }
  if (window !== 'sliding' && window !== 'aligned') {
    throw new Error(`--window is ${JSON.stringify(window)}; allowed: sliding, aligned`);
  }
  return { seed, window, json, out, help };
}
