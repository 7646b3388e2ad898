import type { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { bashCompletion } from '../completion/bash.ts';
import { fishCompletion } from '../completion/fish.ts';
import { treeOf } from '../completion/tree.ts';
import { zshCompletion } from '../completion/zsh.ts';
import { addHelpExamples, verboseOption, wordOption } from '../options.ts';

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };
type Shell = keyof typeof SHELLS;

export function define(command: Command, { output, wholeProgram }: CommandContext): void {
  command
    .argument('<bash|zsh|fish>', 'the shell', wordOption('SHELL', Object.keys(SHELLS) as Shell[]))
    .addOption(verboseOption())
    .action(async (shell: Shell) => output.write(SHELLS[shell](treeOf(await wholeProgram()))));
  addHelpExamples(
    command,
    'completion bash',
    'completion fish > ~/.config/fish/completions/keybalancer.fish',
  ).addHelpText(
    'after',
    [
      '',
      'Prints a script that completes commands, options and their words. To have it in each new shell, put into',
      '  ~/.bashrc: eval "$(keybalancer completion bash)"',
      '  ~/.zshrc, after compinit: eval "$(keybalancer completion zsh)"',
      '  ~/.config/fish/config.fish: keybalancer completion fish | source',
    ].join('\n'),
  );
}
