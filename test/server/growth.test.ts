import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import {
  type Operation,
  type OperationResult,
  Outcome,
  type SessionResponse,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { importKeys, openSession, rawClient } from '../support/server-clients.ts';
import { ServerProcess, SMALL_HEAP } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';

const KEYS = 100;
const AT_ONCE = 500;
const WARM_UP = 15_000;
const PAIRS = 100_000;
/** A lease that is kept takes at least 200 bytes: 100,000 would be 20 MB. */
const MOST_GROWTH = 14 * 2 ** 20;

type NewOperation = Pick<Operation, 'operation'>;

/** A session that sends so many operations at a time and waits for all their results. */
class Pipeline {
  readonly #session: ReturnType<typeof openSession>;
  #results: OperationResult[] = [];
  #correlationId = 0n;

  constructor(address: string) {
    this.#session = openSession(rawClient(address));
    this.#session.on('error', () => {});
    this.#session.on('data', ({ results }: SessionResponse) => this.#results.push(...results));
  }

  async all(operations: readonly NewOperation[]): Promise<OperationResult[]> {
    this.#results = [];
    this.#session.write({
      operations: operations.map(({ operation }) => ({ correlationId: this.#correlationId++, operation })),
    });
    await expect.poll(() => this.#results.length).toBe(operations.length);
    return this.#results;
  }

  end(): void {
    this.#session.end();
  }
}

async function pairs(pipeline: Pipeline, count: number): Promise<void> {
  for (let done = 0; done < count; done += AT_ONCE) {
    const leases = await pipeline.all(new Array(AT_ONCE).fill({ operation: { case: 'acquire', value: {} } }));
    const reports = leases.map(({ result }): NewOperation => {
      const leaseId = result.case === 'acquire' ? result.value.lease!.leaseId : '';
      return { operation: { case: 'report', value: { leaseId, outcome: Outcome.SUCCESS } as never } };
    });
    await pipeline.all(reports);
  }
}

/** Rows by table. */
function rowCounts(dataDir: string): Record<string, number> {
  const db = new Database(join(dataDir, 'keybalancer.db'), { readonly: true });
  const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").pluck();
  const counts = (tables.all() as string[]).map((name) => {
    return [name, db.prepare(`SELECT count(*) FROM ${name}`).pluck().get() as number] as const;
  });
  db.close();
  return Object.fromEntries(counts);
}

describe('a server that gave 100,000 leases', () => {
  test('remembers those that are open, and nothing of those that have ended', async () => {
    const dataDir = tempDir();
    const server = await ServerProcess.start({ dataDir, nodeOptions: SMALL_HEAP });
    const balancer = server.connect();
    await importKeys(balancer, KEYS);
    const pipeline = new Pipeline(server.grpc);
    await pairs(pipeline, WARM_UP);
    const memory = server.residentBytes;
    await pairs(pipeline, PAIRS);
    expect(server.residentBytes - memory).toBeLessThan(MOST_GROWTH);
    pipeline.end();
    for (let index = 0; index < 7; index++) await balancer.keyBalancer.acquireKey({});
    const { total, server: stats } = await balancer.keyBalancer.getStats({});
    expect(total).toMatchObject({ activeLeases: 7n, usage: { succeeded: BigInt(WARM_UP + PAIRS) } });
    expect(stats!.databaseBytes).toBeLessThan(32n * 1024n * 1024n);
    expect(await server.stop()).toEqual({ code: 0, signal: null });
    const rows = rowCounts(dataDir);
    expect(rows).toMatchObject({ api_keys: KEYS, key_usage: KEYS, leases: 7, replays: 0, reclaimed_leases: 0 });
    const others = Object.entries(rows).filter(([, count]) => count > KEYS);
    expect(others).toEqual([]);
  });
});
