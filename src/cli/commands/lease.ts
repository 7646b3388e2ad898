import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import type { Balancer } from '../../client/balancer.ts';
import { type LeaseInfo, ListLeasesResponseSchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CommandContext } from '../command-context.ts';
import { messageJson, prettyJson } from '../json.ts';
import { addHelpExamples, addSubcommand, type ClientOptions } from '../options.ts';
import type { Output } from '../output.ts';
import { pages } from '../pages.ts';
import { Table } from '../table.ts';
import { withBalancer } from '../with-balancer.ts';
import { count, localTime, momentInWords } from '../words.ts';

interface ListOptions extends ClientOptions {
  pool?: string;
  keyId?: string;
}

export function define(command: Command, { output }: CommandContext): void {
  addHelpExamples(command.helpCommand(false), 'lease list --pool default', 'lease revoke REF');
  const listed = addSubcommand(command, 'list', 'Show who holds what now')
    .option('--pool <NAME>', 'of this pool only (default: all)')
    .option('--key-id <KEY_ID>', 'of this key only')
    .action((options: ListOptions) => list(options, output));
  addHelpExamples(listed, 'lease list', 'lease list --key-id key-00000007 --json').addHelpText(
    'after',
    [
      '',
      'A reference names a lease and gives no right to it; `lease revoke` takes it.',
      '--json prints ListLeasesResponse of the API in protobuf JSON, all pages as one.',
    ].join('\n'),
  );
  const revoked = addSubcommand(command, 'revoke', 'End a lease by force')
    .argument('<REF>', 'its reference, as `lease list` shows it')
    .action((ref: string, options: ClientOptions) => revoke(ref, options, output));
  addHelpExamples(revoked, 'lease revoke REF').addHelpText(
    'after',
    '\nIts key is free again at once; who holds it may still use the key itself, which only its deletion at Google ends.\n--json prints {}.',
  );
}

async function list({ pool = '', keyId = '', ...options }: ListOptions, output: Output): Promise<void> {
  await withBalancer(options, output, async (balancer, signal) => {
    if (options.json) {
      const leases: LeaseInfo[] = [];
      for await (const page of allLeases(balancer, { pool, keyId }, signal)) leases.push(...page.leases);
      const response = create(ListLeasesResponseSchema, { leases });
      return output.line(prettyJson(messageJson(ListLeasesResponseSchema, response)));
    }
    const now = Date.now();
    const table = new Table<LeaseInfo>(output, [
      { title: 'REF', value: ({ leaseRef }) => leaseRef },
      { title: 'KEY ID', value: (lease) => lease.keyId },
      { title: 'POOL', value: (lease) => lease.pool },
      { title: 'MODEL', value: ({ model }) => model || '-' },
      { title: 'HOLDER', value: ({ holder }) => holder },
      { title: 'SINCE', value: ({ acquireTime }) => (acquireTime ? localTime(timestampMs(acquireTime), now) : '-') },
      { title: 'ENDS', value: ({ expireTime }) => momentInWords(expireTime && timestampMs(expireTime), now) },
    ]);
    let total = 0;
    for await (const page of allLeases(balancer, { pool, keyId }, signal)) {
      if (page.leases.length > 0 || total === 0) await table.rows(page.leases);
      total += page.leases.length;
      if (output.closed) return;
    }
    if (output.terminal) await output.line(output.style('dim', count(total, 'lease')));
  });
}

function allLeases(balancer: Balancer, filter: { pool: string; keyId: string }, signal: AbortSignal) {
  return pages((pageToken) => balancer.keyAdmin.listLeases({ ...filter, pageSize: 1000, pageToken }, { signal }));
}

async function revoke(leaseRef: string, options: ClientOptions, output: Output): Promise<void> {
  await withBalancer(options, output, async (balancer, signal) => {
    await balancer.keyAdmin.revokeLease({ leaseRef }, { signal });
    await output.line(options.json ? '{}' : `ended ${leaseRef}`);
  });
}
