import { PassThrough } from 'node:stream';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { Output } from '../../src/cli/output.ts';
import { contextOf } from '../../src/cli/program.ts';

/** Commands whose output is no answer but a process, or a script for a shell. */
const WITHOUT_JSON = ['serve', 'completion'];

function leaves(command: Command, path: string): { path: string; command: Command }[] {
  if (command.commands.length === 0) return [{ path, command }];
  return command.commands.flatMap((each) => leaves(each, `${path} ${each.name()}`.trim()));
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

test('the help of each command has an example, the exit codes, and what --json prints', async () => {
  const stream = new PassThrough() as unknown as NodeJS.WriteStream;
  const program = await contextOf(new Output(stream, stream)).wholeProgram();
  const all = leaves(program, '');
  expect(all.length).toBeGreaterThan(30);
  const lacking = all.flatMap(({ path, command }) => {
    const help = helpOf(command);
    const wanted = [`For example:\n  keybalancer ${path}`, 'Exit codes: '];
    if (!WITHOUT_JSON.includes(path)) wanted.push('\n--json ');
    const missing = wanted.filter((text) => !help.includes(text));
    return missing.length === 0 ? [] : [{ path, missing }];
  });
  expect(lacking).toEqual([]);
});
