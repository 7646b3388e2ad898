import type { Command } from 'commander';
import { connectRemote } from '../../client/remote.ts';
import { VERSION } from '../../server/version.ts';
import type { CommandContext } from '../command-context.ts';
import { prettyJson } from '../json.ts';
import { addClientOptions, addHelpExamples, type ClientOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { serverAddress } from '../server-address.ts';

/** Longest time for the answer of a server. */
const PATIENCE_MS = 3_000;

export function define(command: Command, { output }: CommandContext): void {
  addClientOptions(command).action((options: ClientOptions) => version(options, output));
  addHelpExamples(command, 'version', 'version --json | jq -r .server.version').addHelpText(
    'after',
    [
      '',
      'Of this program, and of the server that the options lead to; no server to reach is no failure.',
      '--json prints version, node and server (where, version, and error: why it did not answer; null: it did).',
      'server is null where there is none to ask.',
    ].join('\n'),
  );
}

/** What a server says of itself. */
interface Found {
  where: string;
  version: string | null;
  error: string | null;
}

async function version(options: ClientOptions, output: Output): Promise<void> {
  const node = process.versions.node;
  const address = serverAddress(options);
  const server = address === undefined ? null : await ask(address);
  if (options.json) return output.line(prettyJson({ version: VERSION, node, server }));
  await output.line(`keybalancer ${VERSION}, Node ${node}`);
  if (server === null) return;
  await output.line(
    server.version === null ? `no server: ${server.error}` : `server ${server.version} at ${server.where}`,
  );
}

async function ask(address: string | readonly string[]): Promise<Found> {
  const balancer = connectRemote(address, { transport: 'unary' });
  const { where } = balancer;
  try {
    const { server } = await balancer.keyBalancer.getStats({}, { timeoutMs: PATIENCE_MS });
    return { where, version: server?.version ?? '', error: null };
  } catch (error) {
    return { where, version: null, error: (error as Error).message };
  } finally {
    await balancer.close();
  }
}
