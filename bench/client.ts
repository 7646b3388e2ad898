/**
 * What a lease and its report cost a client over loopback TCP: on the Session stream and by single calls, in turns, one pair at
 * a time and many at once. Run: node bench/client.ts [ROUNDS] [SECONDS]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Balancer } from '../src/client/balancer.ts';
import { connectRemote } from '../src/client/remote.ts';
import { Outcome } from '../src/gen/keybalancer/v1/keybalancer_pb.ts';

const KEYS = 10_000;
const WAYS = ['session, report behind', 'session', 'unary'] as const;
type Way = (typeof WAYS)[number];

interface Sample {
  pairsPerSecond: number;
  /** Of a pair, as its caller sees it, in microseconds, ascending. */
  latencies: number[];
}

async function pair(balancer: Balancer, way: Way): Promise<void> {
  const { lease } = await balancer.keyBalancer.acquireKey({ model: 'gemini-2.5-flash' });
  const report = { leaseId: lease!.leaseId, outcome: Outcome.SUCCESS };
  if (way === 'session, report behind') void balancer.keyBalancer.reportResult(report, { relaxed: true });
  else await balancer.keyBalancer.reportResult(report);
}

async function measure(balancer: Balancer, way: Way, atOnce: number, ms: number): Promise<Sample> {
  const latencies: number[] = [];
  const startedAt = performance.now();
  const caller = async (): Promise<void> => {
    while (performance.now() - startedAt < ms) {
      const before = performance.now();
      await pair(balancer, way);
      latencies.push((performance.now() - before) * 1_000);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, caller));
  const seconds = (performance.now() - startedAt) / 1_000;
  return { pairsPerSecond: latencies.length / seconds, latencies: latencies.sort((a, b) => a - b) };
}

function quantile(sorted: readonly number[], share: number): string {
  return String(Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!)).padStart(6);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

const rounds = Number(process.argv[2] ?? 5);
const ms = Number(process.argv[3] ?? 2) * 1_000;
const dataDir = mkdtempSync(join(tmpdir(), 'keybalancer-bench-'));
const main = new URL('../src/cli/main.ts', import.meta.url).pathname;
const line = ['serve', '--data-dir', dataDir, '--grpc', '127.0.0.1:0', '--http', 'off', '--durability', 'normal'];
const server = spawn(process.execPath, [main, ...line], { stdio: ['ignore', 'pipe', 'inherit'] });
try {
  const [ready] = (await once(server.stdout.setEncoding('utf8'), 'data')) as [string];
  const address = /grpc=(\S+)/.exec(ready)![1]!;
  const balancers = {
    session: connectRemote(address),
    unary: connectRemote(address, { transport: 'unary' }),
  };
  const keys = Array.from({ length: KEYS }, (_, index) => ({ apiKey: `AQ.bench-key-${index}` }));
  await balancers.unary.keyBalancer.importKeys({ keys });
  for (const atOnce of [1, 100]) {
    const samples = new Map<Way, Sample[]>(WAYS.map((way) => [way, []]));
    // The first round only warms up.
    for (let round = 0; round <= rounds; round++) {
      for (const way of WAYS) {
        const sample = await measure(balancers[way === 'unary' ? 'unary' : 'session'], way, atOnce, ms);
        if (round > 0) samples.get(way)!.push(sample);
      }
    }
    for (const [way, taken] of samples) {
      const latencies = taken.flatMap((sample) => sample.latencies).sort((a, b) => a - b);
      const rate = Math.round(median(taken.map(({ pairsPerSecond }) => pairsPerSecond)));
      console.log(
        `${String(atOnce).padStart(3)} at once, ${way.padEnd(22)}: ${String(rate).padStart(6)} pairs/s, ` +
          `p50 ${quantile(latencies, 0.5)} us, p99 ${quantile(latencies, 0.99)} us`,
      );
    }
  }
  await Promise.all([balancers.session.close(), balancers.unary.close()]);
} finally {
  server.kill();
  await once(server, 'exit');
  rmSync(dataDir, { recursive: true });
}
