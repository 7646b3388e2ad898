import type { Command } from 'commander';
import type { Output } from './output.ts';

/** What a command works with. */
export interface CommandContext {
  output: Output;
  /** All commands with all their options, which cost more to load than most commands need. */
  wholeProgram: () => Promise<Command>;
}
