import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { BalancerError } from '../../src/engine/errors.ts';
import { plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { LeaseIds } from '../../src/store/lease-id.ts';
import { SecretCache } from '../../src/store/secret-cache.ts';
import { SqliteStore } from '../../src/store/sqlite/sqlite-store.ts';
import type { PoolCounters } from '../../src/store/store.ts';
import { Vault } from '../../src/store/vault.ts';
import { acquireOrder, createKeyOrder, report } from '../support/orders.ts';
import { type Answer, type Counted, LeaseModel, usageOf } from './lease-model.ts';
import { MemoryJournal } from './memory-journal.ts';

/**
 * The lease state machine, through the store: only there a second report is a duplicate and one that comes too late is not
 * found, since the engine forgets leases that ended.
 */
interface Real {
  store: SqliteStore;
  journal: MemoryJournal;
  clock: { time: number };
}

type Command = fc.AsyncCommand<LeaseModel, Real>;

const CALLERS = ['local', 'other'];
const MODELS = ['', 'pro', 'flash'];
const WALL = 1_700_000_000_000;

/** A result, how it counts, and what it makes rest. */
const RESULTS = [
  { as: 'succeeded', outcome: Outcome.SUCCESS, errorClass: undefined, rests: undefined },
  { as: 'unused', outcome: Outcome.UNUSED, errorClass: undefined, rests: undefined },
  { as: 'succeeded', outcome: Outcome.FAILURE, errorClass: ErrorClass.CONTENT_BLOCKED, rests: undefined },
  { as: 'failed', outcome: Outcome.FAILURE, errorClass: ErrorClass.BAD_REQUEST, rests: undefined },
  { as: 'failed', outcome: Outcome.FAILURE, errorClass: ErrorClass.SERVER_ERROR, rests: undefined },
  { as: 'failed', outcome: Outcome.FAILURE, errorClass: ErrorClass.RATE_LIMITED_TOKENS, rests: 'key' },
  { as: 'failed', outcome: Outcome.FAILURE, errorClass: ErrorClass.RATE_LIMITED_MINUTE, rests: 'model' },
] as const satisfies readonly {
  as: Counted;
  outcome: Outcome;
  errorClass: ErrorClass | undefined;
  rests: 'key' | 'model' | undefined;
}[];

async function answerOf(call: Promise<unknown>): Promise<Answer | 'STORE_UNAVAILABLE'> {
  try {
    const answer = (await call) as { duplicate?: boolean; late?: boolean };
    if (answer.duplicate === undefined) return 'renewed';
    return answer.duplicate ? 'duplicate' : answer.late ? 'late' : 'counted';
  } catch (error) {
    if (error instanceof BalancerError) return error.reason as Answer;
    throw error;
  }
}

/** Everything that can be seen of leases is as the model says. */
async function compare(model: LeaseModel, { store }: Real): Promise<void> {
  const { items: keys } = await store.listKeys({
    pool: '',
    states: [],
    project: '',
    source: '',
    labels: {},
    after: '',
    limit: 100,
  });
  expect(keys.map(({ keyId }) => keyId)).toEqual([...model.keys.keys()]);
  for (const { keyId, usage, activeLeases } of keys) {
    const { acquired, active, ...ended } = { ...usage, active: activeLeases };
    expect(active).toBe(model.active(keyId));
    expect({ acquired, ...ended }).toEqual(usageOf(model.leases.filter((lease) => lease.keyId === keyId)));
    const { succeeded, failed, expired, unused, released } = usage;
    expect(acquired).toBe(active + succeeded + failed + expired + unused + released);
  }
  const { pools } = await store.stats({ pools: ['default'], includeModels: true });
  const [pool] = pools;
  expect(pool!.usage).toEqual(usageOf(model.leases));
  expect(pool!.activeLeases).toBe(model.leases.filter(({ state }) => state === 'active').length);
  for (const { model: name, usage } of pool!.models) {
    expect(usage).toEqual(usageOf(model.leases.filter((lease) => lease.model === name)));
  }
  const [{ pool: _, failures: __, refusals: ___, ...counters }] = (await store.counters()) as [PoolCounters];
  expect(counters).toEqual(model.counters);
  const { items: leases } = await store.listLeases({ pool: '', keyId: '', after: '', limit: 1_000 });
  expect(leases.map(({ leaseRef, expireTime }) => [leaseRef, expireTime - WALL])).toEqual(
    model.leases.filter(({ state }) => state === 'active').map(({ ref, expiry }) => [ref, expiry]),
  );
}

abstract class Step implements Command {
  check(_model: LeaseModel): boolean {
    return true;
  }

  async run(model: LeaseModel, real: Real): Promise<void> {
    await this.step(model, real);
    await compare(model, real);
  }

  abstract step(model: LeaseModel, real: Real): Promise<void>;
  abstract toString(): string;
}

class Acquire extends Step {
  readonly how: { caller: string; model: string; session: string; ttl: number };

  constructor(how: Acquire['how']) {
    super();
    this.how = how;
  }

  async step(model: LeaseModel, { store }: Real): Promise<void> {
    const { caller, session, ttl } = this.how;
    const free = [...model.keys.keys()].filter((keyId) => model.mayServe(keyId, this.how.model));
    const order = acquireOrder({ caller, model: this.how.model, sessionId: session, leaseTtlMs: ttl });
    if (free.length === 0) {
      await expect(store.acquire(order)).rejects.toThrow(BalancerError);
      return;
    }
    const { leaseId, keyId } = await store.acquire(order);
    expect(free).toContain(keyId);
    model.acquired({ id: leaseId, keyId, model: this.how.model, caller, session, expiry: model.now + ttl });
  }

  toString(): string {
    return `acquire(${JSON.stringify(this.how)})`;
  }
}

/** A report of any lease ever given, so that many come late or twice; or one whose commit fails. */
class Report extends Step {
  readonly how: {
    which: number;
    caller: string | undefined;
    result: number;
    keep: boolean;
    fails: boolean;
    again: boolean;
  };

  constructor(how: Report['how']) {
    super();
    this.how = how;
  }

  override check(model: LeaseModel): boolean {
    return model.leases.length > 0;
  }

  async step(model: LeaseModel, real: Real): Promise<void> {
    const { which, keep, fails, again } = this.how;
    const lease = model.leases[which % model.leases.length]!;
    const caller = this.how.caller ?? lease.caller;
    const { as, outcome, errorClass, rests } = RESULTS[this.how.result]!;
    const finding = errorClass && plainFinding(errorClass, rests === 'model' ? 'project-model' : 'key', 5_000);
    const began = lease.callTime;
    const requestId = `request-${++requests}`;
    const idempotency = keep ? { caller, method: 'ReportResult', requestId, contentHash: `${this}` } : undefined;
    const whole = report(lease.id, { caller, outcome, finding, keepLease: keep, inputTokens: 3, idempotency });
    if (fails) {
      await failing(real, async () => {
        const wanted = model.report(lease, caller, undefined);
        const counts = wanted === 'counted' || wanted === 'late' || wanted === 'duplicate';
        expect(await answerOf(real.store.report(whole))).toBe(counts ? 'STORE_UNAVAILABLE' : wanted);
      });
      return;
    }
    const answer = model.report(lease, caller, { as, keep, tokens: 3 });
    expect(await answerOf(real.store.report(whole))).toBe(answer);
    if (again && keep && (answer === 'counted' || answer === 'late')) {
      // The same call once more, by its request_id: nothing happens, whatever became of the lease.
      expect(await answerOf(real.store.report(whole))).toBe('duplicate');
    }
    if (answer !== 'counted' && answer !== 'late') return;
    if (as === 'succeeded') model.worked(lease, began);
    if (rests !== undefined) model.failed(lease, began, rests === 'key' ? 'key' : `model ${lease.model}`, 5_000);
  }

  toString(): string {
    return `report(${JSON.stringify(this.how)})`;
  }
}

class Renew extends Step {
  readonly how: { which: number; caller: string | undefined; ttl: number; fails: boolean };

  constructor(how: Renew['how']) {
    super();
    this.how = how;
  }

  override check(model: LeaseModel): boolean {
    return model.leases.length > 0;
  }

  async step(model: LeaseModel, real: Real): Promise<void> {
    const { which, ttl, fails } = this.how;
    const lease = model.leases[which % model.leases.length]!;
    const caller = this.how.caller ?? lease.caller;
    const order = { caller, leaseId: lease.id, leaseTtlMs: ttl };
    if (fails) {
      await failing(real, async () => {
        const wanted = model.renew(lease, caller, undefined);
        expect(await answerOf(real.store.renew(order))).toBe(wanted === 'renewed' ? 'STORE_UNAVAILABLE' : wanted);
      });
    } else {
      expect(await answerOf(real.store.renew(order))).toBe(model.renew(lease, caller, ttl));
    }
  }

  toString(): string {
    return `renew(${JSON.stringify(this.how)})`;
  }
}

class Pass extends Step {
  readonly ms: number;

  constructor(ms: number) {
    super();
    this.ms = ms;
  }

  async step(model: LeaseModel, { clock }: Real): Promise<void> {
    model.pass(this.ms);
    clock.time = model.now;
  }

  toString(): string {
    return `pass(${this.ms} ms)`;
  }
}

class Revoke extends Step {
  readonly which: number;

  constructor(which: number) {
    super();
    this.which = which;
  }

  override check(model: LeaseModel): boolean {
    return model.leases.length > 0;
  }

  async step(model: LeaseModel, { store }: Real): Promise<void> {
    const lease = model.leases[this.which % model.leases.length]!;
    const call = store.revokeLease(lease.ref);
    if (lease.state === 'active') await call;
    else await expect(call).rejects.toMatchObject({ reason: 'LEASE_NOT_FOUND' });
    model.release(lease);
  }

  toString(): string {
    return `revoke(${this.which})`;
  }
}

class EndSession extends Step {
  readonly session: string;

  constructor(session: string) {
    super();
    this.session = session;
  }

  async step(model: LeaseModel, { store }: Real): Promise<void> {
    await store.endSession(this.session);
    for (const lease of model.leases) if (lease.session === this.session) model.release(lease);
  }

  toString(): string {
    return `endSession(${this.session})`;
  }
}

/** Keys made so far, so that each has a name of its own. */
let named = 0;
/** And so has each request. */
let requests = 0;

class AddKey extends Step {
  async step(model: LeaseModel, { store }: Real): Promise<void> {
    const key = await store.createKey(createKeyOrder(`AQ.test-key-${String(++named).padStart(6, '0')}`));
    model.keys.set(key.keyId, new Map());
  }

  toString(): string {
    return 'addKey()';
  }
}

class DeleteKey extends Step {
  readonly which: number;

  constructor(which: number) {
    super();
    this.which = which;
  }

  override check(model: LeaseModel): boolean {
    return model.keys.size > 0;
  }

  async step(model: LeaseModel, { store }: Real): Promise<void> {
    const keyId = [...model.keys.keys()][this.which % model.keys.size]!;
    await store.deleteKey({ keyId, etag: '', allowMissing: false });
    model.deleteKey(keyId);
  }

  toString(): string {
    return `deleteKey(${this.which})`;
  }
}

/** With a disk that takes nothing meanwhile, and takes writes again afterwards. */
async function failing({ journal, store }: Real, work: () => Promise<void>): Promise<void> {
  journal.failing = true;
  await work();
  journal.failing = false;
  await store.updatePool({ pool: 'default', etag: '', change: { description: 'written again' } });
}

async function open(cap: number, autoSuccess: boolean): Promise<{ model: LeaseModel; real: Real }> {
  const model = new LeaseModel(cap, autoSuccess);
  const clock = { time: model.now };
  const journal = new MemoryJournal();
  const vault = new Vault(Buffer.alloc(32, 1));
  const store = await SqliteStore.open({
    journal,
    vault,
    leaseIds: new LeaseIds(vault.subkey('sign leases')),
    secrets: new SecretCache(),
    clock: { now: () => clock.time, wallOffset: () => WALL },
    verify: false,
    probe: undefined,
  });
  await store.updatePool({ pool: 'default', etag: '', change: { maxConcurrentLeases: cap, autoSuccess } });
  const real = { store, journal, clock };
  for (let i = 0; i < 2; i++) await new AddKey().step(model, real);
  return { model, real };
}

/** Often one of the first, so that much happens to the same. */
const which = fc.oneof(fc.nat(3), fc.nat(1_000));
const caller = fc.option(fc.constantFrom(...CALLERS), { nil: undefined, freq: 6 });
const seldom = fc.nat(6).map((n) => n === 0);
const acquire = fc
  .record({
    caller: fc.constantFrom(...CALLERS),
    model: fc.constantFrom(...MODELS),
    session: fc.constantFrom('', '', 's1', 's2'),
    ttl: fc.constantFrom(1_000, 10_000, 120_000, 3_600_000),
  })
  .map((how) => new Acquire(how));
const reports = fc
  .record({ which, caller, result: fc.nat(RESULTS.length - 1), keep: fc.boolean(), fails: seldom, again: fc.boolean() })
  .map((how) => new Report(how));
const commands: fc.Arbitrary<Command>[] = [
  acquire,
  acquire,
  acquire,
  acquire,
  reports,
  reports,
  reports,
  reports,
  fc
    .record({ which, caller, ttl: fc.constantFrom(1_000, 60_000, 7_200_000), fails: seldom })
    .map((how) => new Renew(how)),
  fc.constantFrom(1, 900, 5_000, 60_000, 3_600_000, 3_700_000).map((ms) => new Pass(ms)),
  which.map((number) => new Revoke(number)),
  fc.constantFrom('s1', 's2').map((session) => new EndSession(session)),
  fc.constant(new AddKey()),
  which.map((number) => new DeleteKey(number)),
];

beforeEach(() => {
  // What rests is spread by chance, and the model knows to the millisecond.
  vi.spyOn(Math, 'random').mockReturnValue(0);
});
afterEach(() => {
  vi.restoreAllMocks();
});

test('a lease goes through its states as the API says, and each lease counts in just one way', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.commands(commands, { maxCommands: 60, size: 'max' }),
      fc.constantFrom(1, 2, 5),
      fc.boolean(),
      async (run, cap, autoSuccess) => {
        const { model, real } = await open(cap, autoSuccess);
        try {
          await fc.asyncModelRun(async () => ({ model, real }), run);
        } finally {
          await real.store.close();
        }
      },
    ),
    { numRuns: 500 },
  );
});
