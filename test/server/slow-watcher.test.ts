import { describe, expect, test } from 'vitest';
import {
  HealthEventKind,
  ImportConflict,
  type KeyHealth,
  Outcome,
  type WatchHealthResponse,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { openWatch, rawClient } from '../support/server-clients.ts';
import { ServerProcess, SMALL_HEAP } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { allKeys } from './ledger.ts';

const KEYS = 50;
const ROUNDS = 200;
/** So many that events kept for each would be seen in the memory of the server: 10,000 of some 500 bytes, for each of them. */
const WATCHERS = 40;
const MOST_GROWTH = 40 * 2 ** 20;

/** What a watcher makes of its stream. */
class View {
  readonly weights = new Map<string, number>();
  changes = 0;
  messages = 0;
  readonly #stream: ReturnType<typeof openWatch>;

  constructor(address: string) {
    this.#stream = openWatch(rawClient(address));
    this.#stream.on('error', () => {});
    this.#stream.on('data', ({ event }: WatchHealthResponse) => {
      if (event.case === 'snapshot') for (const key of event.value.keys) this.#know(key);
      if (event.case !== 'change' || event.value.kind !== HealthEventKind.KEY_CHANGED) return;
      this.messages++;
      this.changes += 1 + Number(event.value.merged);
      this.#know(event.value.key!);
    });
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  #know({ keyId, weight }: KeyHealth): void {
    this.weights.set(keyId, weight);
  }
}

describe('a watcher that stops reading', () => {
  test('for 10,000 changes costs the server no memory for each, holds up no acquire, and ends with the true state', async () => {
    const server = await ServerProcess.start({ dataDir: tempDir(), nodeOptions: SMALL_HEAP });
    const balancer = server.connect();
    const { keyBalancer } = balancer;
    const reweigh = async (weight: number): Promise<void> => {
      const keys = Array.from({ length: KEYS }, (_, index) => ({ apiKey: `AQ.test-key-${index}`, weight }));
      await keyBalancer.importKeys({ keys, onConflict: ImportConflict.UPDATE });
    };
    await reweigh(1);
    const views = Array.from({ length: WATCHERS }, () => new View(server.grpc));
    await expect.poll(() => views.map(({ weights }) => weights.size)).toEqual(new Array(WATCHERS).fill(KEYS));
    for (const view of views) view.pause();
    const memory = server.residentBytes;
    let changing = true;
    let served = 0;
    const acquiring = (async () => {
      while (changing) {
        const { lease } = await keyBalancer.acquireKey({});
        await keyBalancer.reportResult({ leaseId: lease!.leaseId, outcome: Outcome.SUCCESS });
        served++;
      }
    })();
    for (let round = 0; round < ROUNDS; round++) await reweigh(2 + round);
    changing = false;
    await acquiring;
    expect(server.residentBytes - memory).toBeLessThan(MOST_GROWTH);
    expect(served).toBeGreaterThan(ROUNDS / 4);
    const { acquireLatency } = (await keyBalancer.getStats({})).total!;
    expect(acquireLatency!.p99!.seconds).toBeLessThan(5n);

    for (const view of views) view.resume();
    const truth = new Map((await allKeys(balancer)).map(({ keyId, health }) => [keyId, health!.weight]));
    expect(new Set(truth.values())).toEqual(new Set([ROUNDS + 1]));
    for (const view of views) {
      await expect.poll(() => view.weights).toEqual(truth);
      // None is lost: those that were not told by themselves are counted in others.
      expect(view.changes).toBe(KEYS * ROUNDS);
      expect(view.messages).toBeLessThan((KEYS * ROUNDS) / 2);
    }
  });
});
