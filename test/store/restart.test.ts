import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BalancerError } from '../../src/engine/errors.ts';
import { plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, ImportConflict, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { LeaseIds } from '../../src/store/lease-id.ts';
import { SecretCache } from '../../src/store/secret-cache.ts';
import { type Journal, JournalError } from '../../src/store/sqlite/journal.ts';
import { openJournal } from '../../src/store/sqlite/open-journal.ts';
import { SqliteStore } from '../../src/store/sqlite/sqlite-store.ts';
import type { Store } from '../../src/store/store.ts';
import { Vault } from '../../src/store/vault.ts';
import { acquireOrder, createKeyOrder, importOrder, report } from '../support/orders.ts';

/** A command picks what it works on by numbers, so that it means something whatever came before it. */
type Command =
  | { do: 'create' | 'import' | 'update' | 'delete' | 'reset' | 'revoke' | 'renew'; which: number; how: number }
  | { do: 'acquire'; which: number; how: number }
  | { do: 'report'; which: number; how: number }
  | { do: 'wait'; which: number; how: number };

const command: fc.Arbitrary<Command> = fc.record({
  do: fc.oneof(
    { weight: 6, arbitrary: fc.constant('acquire' as const) },
    { weight: 5, arbitrary: fc.constant('report' as const) },
    { weight: 2, arbitrary: fc.constant('wait' as const) },
    { weight: 3, arbitrary: fc.constantFrom('create', 'import', 'update', 'delete', 'reset', 'revoke', 'renew') },
  ),
  which: fc.nat(1_000),
  how: fc.nat(1_000),
}) as fc.Arbitrary<Command>;

const MODELS = ['', 'gemini-2.5-pro', 'gemini-2.5-flash'];
const CLASSES = [
  ErrorClass.RATE_LIMITED_MINUTE,
  ErrorClass.QUOTA_EXHAUSTED_DAY,
  ErrorClass.KEY_INVALID,
  ErrorClass.PERMISSION,
  ErrorClass.SERVER_ERROR,
  ErrorClass.CONTENT_BLOCKED,
];
const CHANGES = [{ weight: 3 }, { tier: 1 }, { project: 'project-b' }, { disabled: true }, { maxConcurrentLeases: 1 }];

/** A store on a real file, with a clock that the test moves and a disk that may fail. */
class Bench {
  now = 1_000;
  /** Of the next commits, whether each fails. */
  failures: boolean[] = [];
  store!: Store;
  readonly leases: string[] = [];
  readonly #dataDir: string;
  #names = 0;

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
  }

  async open(): Promise<void> {
    const journal = await openJournal({ dataDir: this.#dataDir, durability: 'normal' });
    const vault = new Vault(Buffer.alloc(32, 1));
    this.store = await SqliteStore.open({
      journal: this.#failing(journal),
      vault,
      leaseIds: new LeaseIds(vault.subkey('sign leases')),
      secrets: new SecretCache(),
      clock: { now: () => this.now, wallOffset: () => 1_700_000_000_000 },
      verify: true,
      probe: undefined,
    });
  }

  async restart(): Promise<void> {
    this.failures = [];
    await this.store.close();
    await this.open();
  }

  async run({ do: what, which, how }: Command): Promise<void> {
    const { store, leases } = this;
    const { items: keys } = await store.listKeys(everyKey);
    const keyId = keys[which % Math.max(1, keys.length)]?.keyId;
    const leaseId = leases[which % Math.max(1, leases.length)];
    if (what === 'wait') this.now += how % 5 === 0 ? 130_000 : how;
    else if (what === 'create') {
      const project = ['', 'project-a', 'project-b'][how % 3]!;
      await store.createKey(createKeyOrder(this.#name(), { project, weight: [1, 2, 0.5][which % 3]!, tier: how % 2 }));
    } else if (what === 'import') {
      const onConflict = how % 2 === 0 ? ImportConflict.KEEP : ImportConflict.UPDATE;
      await store.importKeys(importOrder([this.#name(), `AQ.restart-${which % 5}-0000`], { onConflict }));
    } else if (what === 'acquire') {
      const order = { model: MODELS[which % 3]!, affinityKey: how % 3 === 0 ? 'a' : '', leaseTtlMs: 1_000 + how * 100 };
      leases.push((await store.acquire(acquireOrder(order))).leaseId);
    } else if (what === 'revoke') {
      const [lease] = (await store.listLeases({ pool: '', keyId: '', after: '', limit: 1 })).items;
      if (lease !== undefined) await store.revokeLease(lease.leaseRef);
    } else if (what === 'report' && leaseId !== undefined) {
      const errorClass = CLASSES[how % CLASSES.length]!;
      const finding = plainFinding(errorClass, 'key', how * 50);
      const outcome = [Outcome.SUCCESS, Outcome.FAILURE, Outcome.UNUSED][how % 3]!;
      await store.report(report(leaseId, { outcome, finding, inputTokens: 3 }));
    } else if (what === 'renew' && leaseId !== undefined) {
      await store.renew({ caller: 'local', leaseId, leaseTtlMs: 60_000 });
    } else if (keyId !== undefined) {
      const change = CHANGES[how % CHANGES.length]!;
      if (what === 'update')
        await store.updateKey({ keyId, etag: '', change, newApiKey: undefined, idempotency: undefined });
      if (what === 'delete') await store.deleteKey({ keyId, etag: '', allowMissing: true });
      if (what === 'reset') await store.resetKey(keyId);
    }
  }

  /** What anyone can see of it, but the numbers of revisions and what is told in no order. */
  async picture(): Promise<unknown> {
    const { items: keys } = await this.store.listKeys(everyKey);
    const { items: leases } = await this.store.listLeases({ pool: '', keyId: '', after: '', limit: 10_000 });
    const { total } = await this.store.stats({ pools: [], includeModels: false });
    // Since the process began.
    const { acquireLatency: _, providerLatency: __, ...counts } = total;
    return {
      keys: keys
        .toSorted((a, b) => (a.keyId < b.keyId ? -1 : 1))
        .map(({ revision: _, createRevision: __, lastAcquireTime: ___, ...key }) => ({
          ...key,
          cooldowns: key.cooldowns.toSorted((a, b) => (a.model < b.model ? -1 : 1)),
        })),
      leases: leases.toSorted((a, b) => (a.leaseRef < b.leaseRef ? -1 : 1)),
      counts,
    };
  }

  #name(): string {
    return `AQ.restart-key-${String(++this.#names).padStart(6, '0')}`;
  }

  #failing(journal: Journal): Journal {
    const commit = journal.commit.bind(journal);
    journal.commit = (rows) => (this.failures.shift() ? Promise.reject(new JournalError('disk full')) : commit(rows));
    return journal;
  }
}

const everyKey = { pool: '', states: [], project: '', source: '', labels: {}, after: '', limit: 10_000 };

/** Runs commands in groups whose members do not wait for each other; refusals are answers like others. */
async function runAll(bench: Bench, groups: readonly Command[][]): Promise<void> {
  for (const group of groups) {
    await Promise.all(
      group.map((each) =>
        bench.run(each).catch((error: unknown) => {
          if (!(error instanceof BalancerError)) throw error;
        }),
      ),
    );
  }
}

async function withBench(test: (bench: Bench) => Promise<void>): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'keybalancer-'));
  const bench = new Bench(dataDir);
  try {
    await bench.open();
    await test(bench);
  } finally {
    await bench.store.close();
    rmSync(dataDir, { recursive: true });
  }
}

const groups = fc.array(fc.array(command, { minLength: 1, maxLength: 6 }), { minLength: 5, maxLength: 25 });

const alone = (parts: Command[][]): Command[][] =>
  parts.flatMap((part) => (part.some((each) => each.do === 'delete') ? part.map((each) => [each]) : [part]));

test('a restart changes nothing that anyone can see', async () => {
  await fc.assert(
    fc.asyncProperty(groups, groups, (first, second) =>
      withBench(async (bench) => {
        for (const part of [first, second]) {
          await runAll(bench, alone(part));
          const before = await bench.picture();
          await bench.restart();
          expect(await bench.picture()).toEqual(before);
        }
      }),
    ),
    { numRuns: 15, endOnFailure: true },
  );
});

test('nor does one after commits that failed in between', async () => {
  await fc.assert(
    fc.asyncProperty(groups, fc.array(fc.boolean(), { minLength: 20, maxLength: 60 }), (commands, failures) =>
      withBench(async (bench) => {
        bench.failures = [...failures];
        await runAll(bench, alone(commands));
        const before = await bench.picture();
        await bench.restart();
        expect(await bench.picture()).toEqual(before);
      }),
    ),
    { numRuns: 15, endOnFailure: true },
  );
});
