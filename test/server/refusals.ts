import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import {
  type AcquireKeyRequestSchema,
  type BatchGetKeysRequestSchema,
  type ImportKeysRequestSchema,
  Outcome,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { importKeys } from '../support/server-clients.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';

/** A server with a few keys, a lease that is open and one that was reported. */
export async function usedServer() {
  const server = await ServerProcess.start({ dataDir: tempDir() });
  const balancer = server.connect();
  const [keyId] = await importKeys(balancer, 4);
  const open = (await balancer.keyBalancer.acquireKey({ leaseTtl: durationFromMs(600_000) })).lease!;
  const ended = (await balancer.keyBalancer.acquireKey({})).lease!;
  await balancer.keyBalancer.reportResult({ leaseId: ended.leaseId, outcome: Outcome.SUCCESS });
  return { server, balancer, keyId: keyId!, open: open.leaseId, ended: ended.leaseId };
}

type Used = Awaited<ReturnType<typeof usedServer>>;

/** A call that must be refused, and how. */
export interface Refusal {
  call: string;
  made: (used: Used) => Promise<unknown>;
  code: string;
  reason: string;
  /** Named by BadRequest. */
  field?: string;
  /** What the message must say of the value. */
  says?: string | RegExp;
}

function acquires(value: MessageInitShape<typeof AcquireKeyRequestSchema>) {
  return ({ balancer }: Used): Promise<unknown> => balancer.keyBalancer.acquireKey(value);
}

function batches(value: MessageInitShape<typeof BatchGetKeysRequestSchema>) {
  return ({ balancer }: Used): Promise<unknown> => balancer.keyBalancer.batchGetKeys(value);
}

function imports(value: MessageInitShape<typeof ImportKeysRequestSchema>) {
  return ({ balancer }: Used): Promise<unknown> => balancer.keyBalancer.importKeys(value);
}

function reports(leaseId: (used: Used) => string, outcome: Outcome = Outcome.SUCCESS) {
  return (used: Used): Promise<unknown> => used.balancer.keyBalancer.reportResult({ leaseId: leaseId(used), outcome });
}

const INVALID = { code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' };
export const NO_LEASE = { code: 'NOT_FOUND', reason: 'LEASE_NOT_FOUND' };
const NO_KEY = { code: 'NOT_FOUND', reason: 'KEY_NOT_FOUND' };
const NO_POOL = { code: 'NOT_FOUND', reason: 'POOL_NOT_FOUND' };
const LONG_ID = 'x'.repeat(65);

/** The id with one bit of one of its bytes turned. */
function bitFlipped(leaseId: string, at: number): string {
  const bytes = Buffer.from(leaseId, 'base64url');
  bytes[at]! ^= 1;
  return bytes.toString('base64url');
}

export const REFUSALS: readonly Refusal[] = [
  { call: 'an acquire of an unknown pool', made: acquires({ pool: 'nobodys' }), ...NO_POOL, says: 'nobodys' },
  { call: 'an acquire of a pool no pool can be', made: acquires({ pool: 'No pool!' }), ...NO_POOL, says: 'No pool!' },
  {
    call: 'an import into an unknown pool',
    made: imports({ pool: 'nobodys', keys: [{ apiKey: 'AQ.a' }] }),
    ...NO_POOL,
  },
  {
    call: 'stats of an unknown pool',
    made: ({ balancer }) => balancer.keyBalancer.getStats({ pools: ['nobodys'] }),
    ...NO_POOL,
  },
  {
    call: 'a model that is none',
    made: acquires({ model: 'gemini 2.5' }),
    ...INVALID,
    field: 'model',
    says: 'gemini 2.5',
  },
  { call: 'a model that is too long', made: acquires({ model: 'm'.repeat(129) }), ...INVALID, field: 'model' },
  { call: 'a model with a line break', made: acquires({ model: 'gemini\n' }), ...INVALID, field: 'model' },
  { call: 'a TTL of 0', made: acquires({ leaseTtl: durationFromMs(0) }), ...INVALID, field: 'lease_ttl', says: '0' },
  {
    call: 'a negative TTL',
    made: acquires({ leaseTtl: { seconds: -5n } }),
    ...INVALID,
    field: 'lease_ttl',
    says: '-5',
  },
  {
    call: 'a TTL below 1 s',
    made: acquires({ leaseTtl: durationFromMs(999) }),
    ...INVALID,
    field: 'lease_ttl',
    says: '0.999',
  },
  {
    call: 'a TTL that is no duration',
    made: acquires({ leaseTtl: { seconds: 1n, nanos: -1 } }),
    ...INVALID,
    field: 'lease_ttl',
  },
  { call: 'a negative wait', made: acquires({ maxWait: { seconds: -1n } }), ...INVALID, field: 'max_wait', says: '-1' },
  {
    call: 'a renewal by 0',
    made: ({ balancer, open }) => balancer.keyBalancer.renewLease({ leaseId: open, leaseTtl: durationFromMs(0) }),
    ...INVALID,
    field: 'lease_ttl',
  },
  {
    call: '65 excluded keys',
    made: acquires({ excludeKeyIds: new Array(65).fill('key-1') }),
    ...INVALID,
    field: 'exclude_key_ids',
    says: '65',
  },
  {
    call: 'negative tokens',
    made: acquires({ estimatedTokens: -1n }),
    ...INVALID,
    field: 'estimated_tokens',
    says: '-1',
  },
  {
    call: 'a binding to a session that is none',
    made: acquires({ bindToSession: true }),
    ...INVALID,
    field: 'bind_to_session',
  },
  {
    call: 'a request id that is too long',
    made: acquires({ requestId: LONG_ID }),
    ...INVALID,
    field: 'request_id',
    says: LONG_ID,
  },
  {
    call: 'a request id that cannot be printed',
    made: acquires({ requestId: 'a\u0007' }),
    ...INVALID,
    field: 'request_id',
  },
  {
    call: 'an acquire of an unknown key',
    made: acquires({ requireKeyId: 'key-99999999' }),
    code: 'FAILED_PRECONDITION',
    reason: 'NO_MATCHING_KEY',
  },
  { call: 'a batch of 0', made: batches({ batchSizes: [1, 0] }), ...INVALID, field: 'batch_sizes[1]', says: '0' },
  { call: 'a batch of -1', made: batches({ batchSizes: [-1] }), ...INVALID, field: 'batch_sizes[0]', says: '-1' },
  {
    call: 'a batch of 10^9',
    made: batches({ batchSizes: [1e9] }),
    ...INVALID,
    field: 'batch_sizes[0]',
    says: '1000000000',
  },
  { call: 'no batch at all', made: batches({ batchSizes: [] }), ...INVALID, field: 'batch_sizes' },
  {
    call: '101 batches',
    made: batches({ batchSizes: new Array(101).fill(1) }),
    ...INVALID,
    field: 'batch_sizes',
    says: '101',
  },
  {
    call: 'batches of 10,001 together',
    made: batches({ batchSizes: [...new Array(10).fill(1000), 1] }),
    ...INVALID,
    field: 'batch_sizes',
    says: /10,?001/,
  },
  { call: 'a report of nothing', made: reports(() => ''), ...NO_LEASE },
  { call: 'a report of garbage', made: reports(() => '!"§$%&/()='), ...NO_LEASE },
  { call: 'a report of a very long id', made: reports(() => 'A'.repeat(100_000)), ...NO_LEASE },
  { call: 'a report of a lease cut short', made: reports(({ open }) => open.slice(0, -3)), ...NO_LEASE },
  { call: 'a report of a lease with more behind it', made: reports(({ open }) => `${open}AAAA`), ...NO_LEASE },
  ...[0, 4, 10, 16, 22, 25, 40].map((at) => ({
    call: `a report of a lease with a bit of byte ${at} turned`,
    made: reports(({ open }) => bitFlipped(open, at)),
    ...NO_LEASE,
  })),
  {
    call: 'a report without an outcome',
    made: reports(({ open }) => open, Outcome.UNSPECIFIED),
    ...INVALID,
    field: 'outcome',
  },
  {
    call: 'a report with an outcome of the future',
    made: reports(({ open }) => open, 99 as Outcome),
    ...INVALID,
    field: 'outcome',
    says: '99',
  },
  {
    call: 'a report of negative tokens',
    made: ({ balancer, open }) =>
      balancer.keyBalancer.reportResult({ leaseId: open, outcome: Outcome.SUCCESS, usage: { inputTokens: -1n } }),
    ...INVALID,
    field: 'usage.input_tokens',
    says: '-1',
  },
  {
    call: 'a report that keeps its lease without a request id',
    made: ({ balancer, open }) =>
      balancer.keyBalancer.reportResult({ leaseId: open, outcome: Outcome.SUCCESS, keepLease: true }),
    ...INVALID,
    field: 'request_id',
  },
  {
    call: 'a renewal of garbage',
    made: ({ balancer }) => balancer.keyBalancer.renewLease({ leaseId: 'x' }),
    ...NO_LEASE,
  },
  {
    call: 'a renewal of a lease that was reported',
    made: ({ balancer, ended }) => balancer.keyBalancer.renewLease({ leaseId: ended }),
    code: 'FAILED_PRECONDITION',
    reason: 'LEASE_EXPIRED',
  },
  {
    call: 'no report in a batch',
    made: ({ balancer }) => balancer.keyBalancer.batchReportResults({}),
    ...INVALID,
    field: 'reports',
  },
  {
    call: '1,001 reports',
    made: ({ balancer }) =>
      balancer.keyBalancer.batchReportResults({ reports: new Array(1001).fill({ leaseId: 'x' }) }),
    ...INVALID,
    field: 'reports',
    says: '1001',
  },
  { call: 'an import of nothing', made: imports({ keys: [] }), ...INVALID, field: 'keys' },
  {
    call: 'an import of 10,001 keys',
    made: imports({ keys: Array.from({ length: 10_001 }, (_, index) => ({ apiKey: `AQ.${index}` })) }),
    ...INVALID,
    field: 'keys',
    says: '10001',
  },
  {
    call: 'a key that does not exist',
    made: ({ balancer }) => balancer.keyAdmin.getKey({ keyId: 'key-99999999' }),
    ...NO_KEY,
    says: 'key-99999999',
  },
  {
    call: 'a key id that is none',
    made: ({ balancer }) => balancer.keyAdmin.getKey({ keyId: "'; DROP TABLE api_keys" }),
    ...NO_KEY,
  },
  {
    call: 'a deletion of an unknown key',
    made: ({ balancer }) => balancer.keyAdmin.deleteKey({ keyId: 'key-99999999' }),
    ...NO_KEY,
  },
  ...[0, -1, Number.POSITIVE_INFINITY, Number.NaN, 1000.1].map((weight) => ({
    call: `a weight of ${weight}`,
    made: ({ balancer, keyId }: Used) =>
      balancer.keyAdmin.updateKey({ key: { keyId, weight }, updateMask: { paths: ['weight'] } }),
    ...INVALID,
    field: 'key.weight',
    says: String(weight),
  })),
  {
    call: 'a tier of 10',
    made: ({ balancer, keyId }) =>
      balancer.keyAdmin.updateKey({ key: { keyId, tier: 10 }, updateMask: { paths: ['tier'] } }),
    ...INVALID,
    field: 'key.tier',
    says: '10',
  },
  {
    call: 'a new key that is a known one',
    made: ({ balancer }) => balancer.keyAdmin.createKey({ apiKey: 'AQ.test-key-000000' }),
    code: 'ALREADY_EXISTS',
    reason: 'KEY_ALREADY_EXISTS',
  },
  {
    call: 'a new key that is empty',
    made: ({ balancer }) => balancer.keyAdmin.createKey({ apiKey: '' }),
    ...INVALID,
    field: 'api_key',
  },
  {
    call: 'a page of -1',
    made: ({ balancer }) => balancer.keyAdmin.listKeys({ pageSize: -1 }),
    ...INVALID,
    field: 'page_size',
    says: '-1',
  },
  {
    call: 'a page token that is none',
    made: ({ balancer }) => balancer.keyAdmin.listKeys({ pageToken: 'garbage' }),
    ...INVALID,
    field: 'page_token',
  },
  {
    call: 'a pool whose name is none',
    made: ({ balancer }) => balancer.keyAdmin.createPool({ pool: { pool: 'Ä' } }),
    ...INVALID,
    field: 'pool.pool',
  },
];
