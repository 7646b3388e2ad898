import { setTimeout as sleep } from 'node:timers/promises';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { type AcquireKeyResponse, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { Ledger } from './ledger.ts';
import { type Call, LoadClient, type Target } from './load.ts';

const CLIENTS = 16;
const BIG_IMPORT = 5_000;

/**
 * When the server is killed: so many milliseconds after the load began, or at the instant when so many calls of a kind were
 * answered, before it can do any more for the last of them. And how many keys are being imported then.
 */
const KILLS: readonly {
  at: number | { answers: number; call: Call };
  importing: number;
}[] = [
  { at: 0, importing: 20 },
  { at: 1, importing: 20 },
  { at: { call: 'report', answers: 200 }, importing: 50 },
  { at: 60, importing: BIG_IMPORT },
  { at: { call: 'acquire', answers: 1 }, importing: 20 },
  { at: 250, importing: BIG_IMPORT },
  { at: { call: 'report', answers: 700 }, importing: 100 },
  { at: { call: 'import', answers: 2 }, importing: BIG_IMPORT },
  { at: { call: 'report', answers: 1 }, importing: 5 },
  { at: { call: 'report', answers: 400 }, importing: BIG_IMPORT },
];

describe('a server that is killed', () => {
  test('ten times under load has kept every acknowledged import and report once, and takes every lease of before', async () => {
    const dataDir = tempDir();
    const ledger = new Ledger();
    const seed = Date.now();
    const random = generator(seed);
    const clients = Array.from({ length: CLIENTS }, () => new LoadClient(ledger, random));
    let server = await ServerProcess.start({ dataDir, durability: 'full' });
    await clients[0]!.imports(100).make(server.connect());
    for (const { at, importing } of KILLS) {
      for (const client of clients.slice(0, 3)) client.importSize = Math.ceil(importing / 3);
      const running = server;
      const kill = (): void => {
        for (const target of targets) target.killed = true;
        running.process.kill('SIGKILL');
      };
      let answers = 0;
      const answered = (call: Call): void => {
        if (typeof at === 'object' && call === at.call && ++answers === at.answers) kill();
      };
      const targets = clients.map((_, index): Target => {
        // Every fourth comes by the socket.
        return { killed: false, balancer: server.connect(index % 4 === 3 ? server.socket : server.grpc), answered };
      });
      const working = Promise.all(clients.map((client, index) => client.run(targets[index]!)));
      if (typeof at === 'number') await Promise.race([sleep(at).then(kill), working]);
      await Promise.all([working, running.exit]);
      for (const { balancer } of targets) await balancer.close();
      server = await ServerProcess.start({ dataDir, durability: 'full' });
      const balancer = server.connect();
      await Promise.all(clients.map((client) => client.finish(balancer)));
      await ledger.compare(balancer);
    }
    const balancer = server.connect();
    await Promise.all(clients.map((client) => client.reportAll(balancer)));
    expect(ledger.open.size).toBe(0);
    await ledger.compare(balancer);
    for (let at = 0; at < ledger.reported.length; at += 1000) {
      const reports = ledger.reported.slice(at, at + 1000).map((leaseId) => ({ leaseId, outcome: Outcome.SUCCESS }));
      const { results } = await balancer.keyBalancer.batchReportResults({ reports });
      const wrong = results.filter(({ result }) => result.case !== 'response' || !result.value.duplicate);
      expect(wrong).toEqual([]);
    }
    await ledger.compare(balancer);
    expect(ledger.reported.length, `of a load with seed ${seed}`).toBeGreaterThan(500);
    expect(server.stderr).not.toMatch(/"level":"(error|fatal)"/);
  });

  test('gives a repeated acquire the lease of before where that was stored, else another, and never two', async () => {
    const dataDir = tempDir();
    const first = await ServerProcess.start({ dataDir });
    const before = first.connect();
    const keys = Array.from({ length: 40 }, (_, index) => ({ apiKey: `AQ.test-key-${index}` }));
    await before.keyBalancer.importKeys({ keys });
    const given = new Map<string, string>();
    const acquire = async (balancer: Balancer, requestId: string): Promise<AcquireKeyResponse> =>
      balancer.keyBalancer.acquireKey({ requestId, leaseTtl: durationFromMs(600_000) });
    for (let index = 0; index < 20; index++) {
      given.set(`request-${index}`, (await acquire(before, `request-${index}`)).lease!.leaseId);
    }
    // Answered after the commit of everything before it.
    await before.keyBalancer.renewLease({ leaseId: given.get('request-0')! });
    const stored = [...given.keys()];
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        given.set(`late-${index}`, (await acquire(before, `late-${index}`)).lease!.leaseId);
      }),
    );
    await first.kill();

    const after = (await ServerProcess.start({ dataDir })).connect();
    const held = new Set<string>();
    for (const [requestId, leaseId] of given) {
      const { lease, replayed } = await acquire(after, requestId);
      if (stored.includes(requestId)) expect(replayed).toBe(true);
      expect(lease!.leaseId === leaseId).toBe(replayed);
      held.add(lease!.leaseId);
      const again = await acquire(after, requestId);
      expect(again).toMatchObject({ replayed: true, lease: { leaseId: lease!.leaseId } });
    }
    expect(held.size).toBe(given.size);
    const { leases } = await after.keyAdmin.listLeases({ pageSize: 1000 });
    expect(leases).toHaveLength(given.size);
  });
});

/** Numbers in [0, 1) that a seed gives again (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
