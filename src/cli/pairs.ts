import { type Output, printable } from './output.ts';

/** Names and values, one pair a line: the values aligned on a terminal, in a pipe after a tab. */
export async function printPairs(pairs: readonly (readonly [string, string])[], output: Output): Promise<void> {
  const wide = Math.max(...pairs.map(([name]) => name.length)) + 2;
  for (const [name, value] of pairs) {
    await output.line((output.terminal ? name.padEnd(wide) : `${name}\t`) + printable(value));
  }
}
