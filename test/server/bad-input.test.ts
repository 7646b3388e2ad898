import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Metadata } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import type { KeyBalancerError } from '../../src/client/errors.ts';
import {
  ErrorReason,
  ImportStatus,
  KeyAdminService,
  KeyBalancerService,
  Outcome,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { rawClient } from '../support/server-clients.ts';
import { allKeys, closes } from './ledger.ts';
import { NO_LEASE, REFUSALS, usedServer } from './refusals.ts';

async function sums(balancer: Balancer): Promise<unknown> {
  const { total } = await balancer.keyBalancer.getStats({});
  const { totalKeys, activeLeases, usage, waitingAcquires } = total!;
  return { totalKeys, activeLeases, usage, waitingAcquires };
}

describe('a request that cannot be', () => {
  test('is refused by code, reason and field, takes nothing with it, and the next is served', async () => {
    const used = await usedServer();
    const before = await sums(used.balancer);
    const got: unknown[] = [];
    const wanted: unknown[] = [];
    for (const { call, made, code, reason, field, says } of REFUSALS) {
      const refusal = (await made(used).then(
        () => ({}),
        (error) => error,
      )) as Partial<KeyBalancerError>;
      const isSaid =
        says === undefined || (refusal.message?.match(says instanceof RegExp ? says : escaped(says)) ?? null) !== null;
      wanted.push({ call, code, reason, fields: field === undefined ? [] : [field], says: true });
      const fields = refusal.violations?.map((each) => each.field) ?? [];
      got.push({ call, code: refusal.code, reason: refusal.reason, fields, says: isSaid || refusal.message });
      expect(await sums(used.balancer), call).toEqual(before);
    }
    expect(got).toEqual(wanted);
    const report = { leaseId: used.open, outcome: Outcome.SUCCESS };
    expect(await used.balancer.keyBalancer.reportResult(report)).toMatchObject({ duplicate: false });
    expect(used.server.stderr).not.toMatch(/"level":"(error|fatal)"/);
  });

  test('as a key is rejected alone, and never quoted', async () => {
    const { server, balancer } = await usedServer();
    const bad = ['', 'AQ.test key', 'AQ.test-line\n', 'AQ.test\0nul', 'AQ.tést-key', `AQ.${'k'.repeat(10_000)}`];
    const keys = [...bad, 'AQ.good'].map((apiKey) => ({ apiKey }));
    const { results, record } = await balancer.keyBalancer.importKeys({ keys });
    const { CREATED, REJECTED } = ImportStatus;
    expect(results.map(({ status }) => status)).toEqual([...bad.map(() => REJECTED), CREATED]);
    for (const [index, apiKey] of bad.entries()) {
      const { code, reason, message } = results[index]!.error!;
      expect({ code, reason }).toEqual({ code: 3, reason: ErrorReason.INVALID_FIELD });
      expect(message).toContain(`keys[${index}].api_key`);
      if (apiKey !== '') expect(message + server.stderr).not.toContain(apiKey.slice(3).trim());
    }
    expect(record).toMatchObject({ created: 1, rejected: bad.length });
    expect(await allKeys(balancer)).toHaveLength(5);
  });

  test('as a weight or tier of an imported key is rejected alone', async () => {
    const { balancer } = await usedServer();
    const bad = [
      { weight: 0 },
      { weight: -1 },
      { weight: Number.POSITIVE_INFINITY },
      { weight: Number.NaN },
      { tier: 10 },
    ];
    const keys = [...bad, {}].map((settings, index) => ({ ...settings, apiKey: `AQ.weighed-${index}` }));
    const { results } = await balancer.keyBalancer.importKeys({ keys });
    const { CREATED, REJECTED } = ImportStatus;
    expect(results.map(({ status }) => status)).toEqual([...bad.map(() => REJECTED), CREATED]);
    const messages = results.map(({ error }) => error?.message ?? '');
    for (const [index, said] of ['0', '-1', 'Infinity', 'NaN', '10'].entries()) {
      expect(messages[index]).toContain(`keys[${index}].${index === 4 ? 'tier' : 'weight'}`);
      expect(messages[index]).toContain(said);
    }
  });

  test('twice is answered once: duplicate keys, repeated ids, and reports of one lease', async () => {
    const { balancer, open } = await usedServer();
    const { keyBalancer } = balancer;
    const { CREATED, UNCHANGED, DUPLICATE_IN_REQUEST } = ImportStatus;
    const again = await keyBalancer.importKeys({
      keys: [{ apiKey: 'AQ.test-key-000000' }, { apiKey: 'AQ.new' }, { apiKey: 'AQ.new' }],
      requestId: 'import-1',
    });
    expect(again.results.map(({ status }) => status)).toEqual([UNCHANGED, CREATED, DUPLICATE_IN_REQUEST]);
    const reused = { code: 'ALREADY_EXISTS', reason: 'REQUEST_ID_REUSED' };
    await expect(
      keyBalancer.importKeys({ keys: [{ apiKey: 'AQ.other' }], requestId: 'import-1' }),
    ).rejects.toMatchObject(reused);
    const first = await keyBalancer.acquireKey({ requestId: 'acquire-1' });
    await expect(keyBalancer.acquireKey({ requestId: 'acquire-1', model: 'gemini-2.5-pro' })).rejects.toMatchObject(
      reused,
    );
    const replayed = await keyBalancer.acquireKey({ requestId: 'acquire-1' });
    expect(replayed).toMatchObject({ replayed: true, lease: { leaseId: first.lease!.leaseId } });
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => keyBalancer.reportResult({ leaseId: open, outcome: Outcome.SUCCESS })),
    );
    expect(answers.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
    const { total } = await keyBalancer.getStats({});
    expect(total).toMatchObject({ totalKeys: 5n, usage: { succeeded: 2n } });
    expect(closes(total!.usage!, Number(total!.activeLeases))).toBe(true);
  });

  test('as a lease of another server, or one that is late, is known for what it is', async () => {
    const { balancer } = await usedServer();
    const other = await usedServer();
    const { SUCCESS } = Outcome;
    const foreign = { leaseId: other.open, outcome: SUCCESS };
    await expect(balancer.keyBalancer.reportResult(foreign)).rejects.toMatchObject(NO_LEASE);
    const { lease } = await balancer.keyBalancer.acquireKey({ leaseTtl: durationFromMs(1000) });
    const expired = async (): Promise<bigint> => (await balancer.keyBalancer.getStats({})).total!.usage!.expired;
    await expect.poll(expired).toBe(1n);
    const late = { leaseId: lease!.leaseId, outcome: SUCCESS };
    expect(await balancer.keyBalancer.reportResult(late)).toMatchObject({ late: true, duplicate: false });
    expect(await balancer.keyBalancer.reportResult(late)).toMatchObject({ duplicate: true });
    expect(await expired()).toBe(0n);
  });

  test('read at all is refused, in every method, and the server lives', async () => {
    const { server, balancer } = await usedServer();
    const before = await sums(balancer);
    const client = rawClient(server.grpc);
    const garbage = Buffer.from('ffffffffffffffffffff', 'hex');
    const raw = (bytes: Buffer): Buffer => bytes;
    const paths = [KeyBalancerService, KeyAdminService].flatMap(({ typeName, methods }) =>
      methods.map(({ name }) => `/${typeName}/${name}`),
    );
    const others = ['grpc.health.v1.Health/Check', 'grpc.health.v1.Health/Watch'];
    for (const version of ['v1', 'v1alpha'])
      others.push(`grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`);
    for (const path of [...paths, ...others.map((each) => `/${each}`)]) {
      const code = await new Promise<number>((resolve) => {
        const stream = client.makeServerStreamRequest(path, raw, raw, garbage, new Metadata());
        stream.on('error', (error: Error & { code: number }) => resolve(error.code));
        stream.on('end', () => resolve(0)).resume();
      });
      expect(code, path).toBeGreaterThan(0);
    }
    expect(await sums(balancer)).toEqual(before);
  });
});

function escaped(text: string): RegExp {
  return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
}
