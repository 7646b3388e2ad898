import type { Command } from 'commander';
import { VERSION } from '../../server/version.ts';
import type { CommandContext } from '../command-context.ts';
import { prettyJson } from '../json.ts';
import { addHelpExamples } from '../options.ts';

export function define(command: Command, { output }: CommandContext): void {
  command.option('--json', 'print JSON, in a stable form').action(async ({ json }: { json?: true }) => {
    const node = process.versions.node;
    await output.line(json ? prettyJson({ version: VERSION, node }) : `keybalancer ${VERSION}, Node ${node}`);
  });
  addHelpExamples(command, 'version --json').addHelpText(
    'after',
    '\nOf this program. `health` tells the version of a server.\n--json prints version and node.',
  );
}
