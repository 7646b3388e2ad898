import type { Output } from './output.ts';

/** What a command works with. */
export interface CommandContext {
  output: Output;
}
