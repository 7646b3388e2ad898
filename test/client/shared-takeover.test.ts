import { expect, onTestFinished, test, vi } from 'vitest';
import { connect } from '../../src/client/connect.ts';
import { startFakeGemini } from '../fake-gemini/index.ts';
import { apiKeys } from '../support/orders.ts';
import { tempDir } from '../support/temp-dir.ts';
import { ownerOf, SharedChild } from './shared-child.ts';

const [ONE, TWO] = apiKeys(2) as [string, string];

/** A data dir that holds keys, in their pools, and that nobody owns. */
async function filled(keys: Record<string, readonly string[]>): Promise<string> {
  vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
  const dataDir = tempDir();
  const balancer = await connect({ dataDir, visit: true });
  for (const [pool, apiKeysOfPool] of Object.entries(keys)) {
    if (pool !== 'default') await balancer.keyAdmin.createPool({ pool: { pool } });
    for (const apiKey of apiKeysOfPool) await balancer.keyAdmin.createKey({ apiKey, key: { pool } });
  }
  await balancer.close();
  return dataDir;
}

/** Processes on a data dir, of which the first is the owner. */
async function crowd(dataDir: string, size: number): Promise<SharedChild[]> {
  const children = Array.from({ length: size }, () => new SharedChild());
  for (const child of children) await child.get({ connect: dataDir });
  expect(ownerOf(dataDir)).toBe(children[0]!.pid);
  return children;
}

/** Whoever of them owns the data dir, once one does. */
async function successor(dataDir: string, children: readonly SharedChild[]): Promise<SharedChild> {
  await expect.poll(() => children.some(({ pid }) => pid === ownerOf(dataDir))).toBe(true);
  return children.find(({ pid }) => pid === ownerOf(dataDir))!;
}

async function usage(dataDir: string, pool = 'default') {
  const balancer = await connect({ dataDir, visit: true });
  const stats = (await balancer.keyBalancer.getStats({ pools: [pool] })).pools[0]!;
  await balancer.close();
  const { acquired, succeeded, failed, unused, released, expired } = stats.usage!;
  const counts = { acquired, succeeded, failed, unused, released, expired, active: stats.activeLeases };
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, Number(count)])) as Record<
    keyof typeof counts,
    number
  >;
}

test('four processes work while their owner is killed three times: every call succeeds once, and every lease is reported', async () => {
  const CALLERS = 10;
  const pools = Array.from({ length: 7 }, (_, index) => `pool-${index}`);
  const keys = apiKeys(70);
  const dataDir = await filled(
    Object.fromEntries(pools.map((pool, index) => [pool, keys.slice(10 * index, 10 * index + 10)])),
  );
  const asked = new Map<string, number>();
  const answerSlowly = ({ body }: { body: unknown }) => {
    const prompt = /call \d+ \d+ \d+/.exec(JSON.stringify(body))![0];
    asked.set(prompt, (asked.get(prompt) ?? 0) + 1);
    return { delayMs: 20 };
  };
  const fake = await startFakeGemini({
    keys: Object.fromEntries(keys.map((key) => [key, { behaviour: answerSlowly }])),
  });
  onTestFinished(() => fake.close());

  const poolOf = new Map<SharedChild, string>();
  const alive = new Set<SharedChild>();
  const start = async (): Promise<void> => {
    const child = new SharedChild();
    const pool = pools[poolOf.size]!;
    poolOf.set(child, pool);
    alive.add(child);
    await child.get({ work: dataDir, pool, geminiUrl: fake.url, callers: CALLERS });
  };
  const allWork = async (): Promise<void> => {
    const before = new Map([...alive].map((child) => [child, child.calls.length]));
    await expect
      .poll(() => [...alive].filter((child) => child.calls.length < before.get(child)! + 3 * CALLERS))
      .toEqual([]);
  };
  for (let each = 0; each < 4; each++) await start();
  for (let kill = 0; kill < 3; kill++) {
    await allWork();
    const owner = await successor(dataDir, [...alive]);
    await owner.kill();
    alive.delete(owner);
    await successor(dataDir, [...alive]);
    await start();
  }
  await allWork();
  for (const child of alive) await child.get({ stop: true });

  const told = [...poolOf.keys()].flatMap(({ calls }) => calls);
  expect(told.filter(({ error }) => error !== undefined)).toEqual([]);
  expect(told.filter(({ call }) => asked.get(call) !== 1)).toEqual([]);
  expect([...asked.values()].filter((times) => times !== 1)).toEqual([]);
  for (const [child, pool] of poolOf) {
    const counts = await usage(dataDir, pool);
    const rest = { failed: 0, unused: 0, released: 0, expired: 0 };
    if (alive.has(child)) {
      const calls = child.calls.length;
      expect(counts).toEqual({ ...rest, acquired: calls, succeeded: calls, active: 0 });
    } else {
      // What was under way in a process that was killed ends by its time limit.
      const calls = [...asked.keys()].filter((call) => call.startsWith(`call ${child.pid} `)).length;
      expect(counts).toEqual({
        ...rest,
        acquired: expect.any(Number),
        succeeded: expect.any(Number),
        active: counts.acquired - counts.succeeded,
      });
      expect(counts.succeeded).toBeLessThanOrEqual(calls);
      expect(counts.acquired).toBeLessThanOrEqual(calls + CALLERS);
    }
  }
});

test.each(['SIGKILL', 'close'] as const)(
  'processes that do nothing take the place of an owner that goes by %s',
  async (how) => {
    const dataDir = await filled({ default: [ONE] });
    const [owner, ...guests] = (await crowd(dataDir, 4)) as [SharedChild, ...SharedChild[]];
    const leases = await Promise.all(guests.map((guest) => guest.get({ acquire: {} })));
    if (how === 'close') await owner.get({ close: true });
    else await owner.kill();
    await successor(dataDir, guests);
    // Their leases go on, and each report counts once, by whatever way it comes.
    for (const [index, guest] of guests.entries()) {
      const leaseId = leases[index] as string;
      await guest.get({ renew: leaseId });
      expect(await guest.get({ report: leaseId })).toEqual({ duplicate: false });
      expect(await guest.get({ report: leaseId })).toEqual({ duplicate: true });
    }
    const wheres = await Promise.all(guests.map((guest) => guest.get({ where: true })));
    expect(wheres.filter((where) => where === `data dir ${dataDir}`)).toHaveLength(1);
    expect(wheres.filter((where) => where === `unix:${dataDir}/keybalancer.sock`)).toHaveLength(2);
    for (const guest of guests) await guest.get({ close: true });
    expect(await usage(dataDir)).toMatchObject({ acquired: 3, succeeded: 3, active: 0 });
  },
);

test('an acquire that waits at an owner that goes is told so at once, and its repeat waits at the next', async () => {
  const dataDir = await filled({ default: [] });
  const setup = await connect({ dataDir, visit: true });
  await setup.keyAdmin.createKey({ apiKey: ONE, key: { maxConcurrentLeases: 1 } });
  await setup.close();
  const [owner, guest] = (await crowd(dataDir, 2)) as [SharedChild, SharedChild];
  const held = (await guest.get({ acquire: {} })) as string;
  const waiting = guest.get({ acquire: { maxWaitMs: 30_000 } });
  const refused = expect(waiting).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  const visitor = await connect({ dataDir, visit: true });
  await expect.poll(async () => (await visitor.keyBalancer.getStats({})).total!.waitingAcquires).toBe(1n);
  await visitor.close();
  await owner.get({ close: true });
  await refused;
  const again = guest.get({ acquire: { maxWaitMs: 30_000 } });
  await guest.get({ report: held });
  expect(await again).toEqual(expect.any(String));
});

const SNAPSHOT = { health: 'snapshot', keys: 2, reset: false };

test.each([
  // The first word of a stream that is resumed is a heartbeat.
  ['close', { health: 'heartbeat', keys: 0, reset: false }],
  ['SIGKILL', { ...SNAPSHOT, reset: true }],
] as const)('a watch goes on when the owner goes by %s', async (how, next) => {
  const dataDir = await filled({ default: [ONE, TWO] });
  const [owner, watcher] = (await crowd(dataDir, 2)) as [SharedChild, SharedChild];
  await watcher.get({ watch: true });
  await expect.poll(() => watcher.health).toEqual([SNAPSHOT]);
  if (how === 'close') await owner.get({ close: true });
  else await owner.kill();
  await expect.poll(() => watcher.health).toEqual([SNAPSHOT, next]);
});

test('a process that cannot be the owner says why, and goes on with whoever can', async () => {
  const dataDir = await filled({ default: [ONE] });
  const owner = new SharedChild();
  const stranger = new SharedChild();
  await owner.get({ connect: dataDir });
  await stranger.get({ connect: dataDir, embedded: { masterKey: { value: 'ff'.repeat(32) } } });
  await owner.kill();
  await expect
    .poll(() => stranger.news)
    .toEqual([{ warning: expect.stringContaining('cannot take its place: the master key') }]);
  await expect(stranger.get({ acquire: {} })).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    reason: 'MASTER_KEY_UNUSABLE',
    message: expect.stringContaining('there is no other yet: the master key'),
  });
  const next = new SharedChild();
  await next.get({ connect: dataDir });
  expect(await stranger.get({ acquire: {} })).toEqual(expect.any(String));
});
