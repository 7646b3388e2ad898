import type { MessageInitShape } from '@bufbuild/protobuf';
import { type DurationSchema, durationFromMs } from '@bufbuild/protobuf/wkt';
import { CliError, EXIT } from './exit-code.ts';

const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Reads a time such as "90s", "2m" or "1h", or ends the command with a sentence that names the option. */
export function durationOption(flag: string) {
  return (text: string): MessageInitShape<typeof DurationSchema> => {
    const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
    if (amount !== undefined) return durationFromMs(Math.round(Number(amount) * UNITS[unit!]!));
    throw new CliError(
      EXIT.usage,
      `${flag} is ${JSON.stringify(text)}; allowed: a number with ms, s, m or h, such as 90s or 2m`,
    );
  };
}
