import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test, vi } from 'vitest';
import { connect } from '../../src/client/connect.ts';
import { KeyState } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { startFakeGemini } from '../fake-gemini/index.ts';
import { cli } from '../support/cli.ts';
import { INHERITED } from '../support/inherited.ts';
import { apiKeys } from '../support/orders.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';
import { ownerOf, SharedChild } from './shared-child.ts';

const [ONE] = apiKeys(1) as [string];

const socketOf = (dataDir: string): string => `unix:${dataDir}/keybalancer.sock`;

/** A program that calls once, says where, and has nothing more to do once its input ends. */
function startProgram(dataDir: string, lastWords = '') {
  const file = join(tempDir(), 'program.mjs');
  writeFileSync(
    file,
    `import { connect } from ${JSON.stringify(new URL('../../src/client/connect.ts', import.meta.url).href)};
    const balancer = await connect({ dataDir: ${JSON.stringify(dataDir)} });
    await balancer.keyBalancer.getStats({});
    console.log(balancer.where);
    process.stdin.resume().once('end', () => { ${lastWords} });`,
  );
  const env = { ...INHERITED, KEYBALANCER_MASTER_KEY: '00'.repeat(32) };
  const program = spawn(process.execPath, [file], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => void program.kill('SIGKILL'));
  const ended = Promise.all([text(program.stdout), once(program, 'exit')]);
  return {
    pid: program.pid,
    end: async () => {
      program.stdin.end();
      const [said, exit] = await ended;
      return { said, exit };
    },
  };
}

test('of eight processes that begin at the same instant one is the owner, and the others load neither database nor server', async () => {
  const dataDir = join(tempDir(), 'new');
  const children = Array.from({ length: 8 }, () => new SharedChild());
  const wheres = await Promise.all(children.map((child) => child.get({ connect: dataDir })));
  const owner = children[wheres.indexOf(`data dir ${dataDir}`)]!;
  expect(owner.pid).toBe(ownerOf(dataDir));
  const guests = children.filter((child) => child !== owner);
  expect(wheres.filter((where) => where === socketOf(dataDir))).toHaveLength(7);
  expect(statSync(join(dataDir, 'keybalancer.sock')).mode & 0o777).toBe(0o600);

  const late = new SharedChild();
  await late.get({ connect: dataDir });
  const insides = (loaded: unknown) =>
    (loaded as string[]).filter((url) => /better-sqlite3|(?<!build)\/src\/(server|engine|store\/)/.test(url));
  expect(insides(await owner.get({ loaded: true }))).not.toEqual([]);
  expect(insides(await late.get({ loaded: true }))).toEqual([]);

  await owner.get({ addKey: ONE });
  const leases = await Promise.all(guests.map((guest) => guest.get({ acquire: {} })));
  expect(new Set(leases).size).toBe(7);
});

test('commands beside a worker use it, and those without one leave the data dir when they end', async () => {
  const dataDir = tempDir();
  const env = { KEYBALANCER_DATA_DIR: dataDir, KEYBALANCER_MASTER_KEY: '00'.repeat(32) };
  const worker = new SharedChild();
  await worker.get({ connect: dataDir });
  const added = await cli(['add-key', '-'], { env, input: ONE });
  expect(added).toMatchObject({ exitCode: 0, stderr: '' });
  expect(ownerOf(dataDir)).toBe(worker.pid);
  const leaseId = (await worker.get({ acquire: {} })) as string;
  const stats = JSON.parse((await cli(['stats', '--json'], { env })).stdout);
  expect(stats.total).toMatchObject({ totalKeys: '1', activeLeases: '1' });
  await worker.kill();
  expect(await cli(['list'], { env })).toMatchObject({ exitCode: 0, stderr: '' });
  expect(ownerOf(dataDir)).toBeUndefined();
  const next = new SharedChild();
  expect(await next.get({ connect: dataDir })).toBe(`data dir ${dataDir}`);
  expect(await next.get({ report: leaseId })).toEqual({ duplicate: false });
});

test("a visit that lasts lets workers join, and one of them takes its place; a visitor takes nobody's", async () => {
  const dataDir = tempDir();
  const long = new SharedChild();
  const worker = new SharedChild();
  const short = new SharedChild();
  expect(await long.get({ connect: dataDir, visit: true })).toBe(`data dir ${dataDir}`);
  expect(await worker.get({ connect: dataDir })).toBe(socketOf(dataDir));
  await long.get({ addKey: ONE });
  expect(await worker.get({ acquire: {} })).toEqual(expect.any(String));
  expect(await short.get({ connect: dataDir, visit: true })).toBe(socketOf(dataDir));
  await long.get({ close: true });
  await expect.poll(() => ownerOf(dataDir)).toBe(worker.pid);
  await worker.kill();
  await expect(short.get({ acquire: {} })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(ownerOf(dataDir)).toBe(worker.pid);
  const next = new SharedChild();
  await next.get({ connect: dataDir });
  expect(ownerOf(dataDir)).toBe(next.pid);
});

test('a server is joined, and its place taken when it does not come back', async () => {
  const dataDir = tempDir();
  const server = await ServerProcess.start({ dataDir });
  const worker = new SharedChild('');
  expect(await worker.get({ connect: dataDir })).toBe(socketOf(dataDir));
  await worker.get({ addKey: ONE });
  await server.stop();
  await expect.poll(() => worker.get({ where: true })).toBe(`data dir ${dataDir}`);
  await worker.get({ acquire: {} });
});

test('an owner and its guests that have nothing more to do end by themselves', async () => {
  const dataDir = tempDir();
  const owner = startProgram(dataDir);
  await expect.poll(() => ownerOf(dataDir)).toBe(owner.pid);
  const guest = startProgram(dataDir);
  expect(await guest.end()).toEqual({ said: `${socketOf(dataDir)}\n`, exit: [0, null] });
  // One that stays keeps nobody.
  const staying = new SharedChild();
  expect(await staying.get({ connect: dataDir })).toBe(socketOf(dataDir));
  expect(await owner.end()).toEqual({ said: `data dir ${dataDir}\n`, exit: [0, null] });
  await expect.poll(() => ownerOf(dataDir)).toBe(staying.pid);
  // Only the owner that ended took its socket away, not that of the one after it.
  await expect.poll(() => existsSync(join(dataDir, 'keybalancer.sock'))).toBe(true);
});

test.each(['', 'process.exit()'])(
  'an owner that ends without closing takes its socket away (%j)',
  async (lastWords) => {
    const dataDir = tempDir();
    const owner = startProgram(dataDir, lastWords);
    await expect.poll(() => existsSync(join(dataDir, 'keybalancer.sock'))).toBe(true);
    await owner.end();
    expect(existsSync(join(dataDir, 'keybalancer.sock'))).toBe(false);
  },
);

test('Gemini is asked about a suspected key by the owner alone, once', async () => {
  const fake = await startFakeGemini({ keys: { [ONE]: { behaviour: 'suspended' } } });
  onTestFinished(() => fake.close());
  const dataDir = tempDir();
  const children = Array.from({ length: 3 }, () => new SharedChild());
  for (const child of children) await child.get({ connect: dataDir, embedded: { geminiBaseUrl: fake.url } });
  await children[0]!.get({ addKey: ONE });
  const leases = await Promise.all(children.map((child) => child.get({ acquire: {} })));
  for (const [index, child] of children.entries()) await child.get({ reportSuspended: leases[index] as string });
  await expect.poll(() => fake.counts.byMethod['models.list']).toBe(1);
  const state = async () => children[1]!.get({ keyState: true });
  await expect.poll(state).toBe(KeyState.DISABLED_AUTO);
  // Nor by the next owner, who knows the answer.
  await children[0]!.kill();
  await expect.poll(() => ownerOf(dataDir)).not.toBe(children[0]!.pid);
  expect(await state()).toBe(KeyState.DISABLED_AUTO);
  expect(fake.counts.byMethod).toEqual({ 'models.list': 1 });
});

test('a second process on a data dir whose path is too long for a socket is told so at once', async () => {
  const dataDir = join(tempDir(), 'd'.repeat(100));
  mkdirSync(dataDir);
  const [owner, other] = [new SharedChild(), new SharedChild()];
  expect(await owner.get({ connect: dataDir })).toBe(`data dir ${dataDir}`);
  await expect(other.get({ connect: dataDir })).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    reason: 'DATA_DIR_IN_USE',
    message: expect.stringMatching(
      new RegExp(`in use by process ${owner.pid};.* a path of ${dataDir.length + 17} bytes, and 107 are allowed$`),
    ),
  });
  expect(owner.news).toEqual([]);
});

test('two in one process share a data dir, and the second goes on when the first closes', async () => {
  vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
  const dataDir = tempDir();
  const [first, second] = await Promise.all([connect({ dataDir }), connect({ dataDir })]);
  onTestFinished(() => second.close());
  expect(new Set([first.where, second.where])).toEqual(new Set([`data dir ${dataDir}`, socketOf(dataDir)]));
  const [owner, guest] = first.where.startsWith('data') ? [first, second] : [second, first];
  await owner.keyAdmin.createKey({ apiKey: ONE });
  const { lease } = await guest.keyBalancer.acquireKey({});
  await owner.close();
  await owner.close();
  await guest.keyBalancer.reportResult({ leaseId: lease!.leaseId, outcome: 1 });
  expect(guest.where).toBe(`data dir ${dataDir}`);
  await guest.close();
  await expect(guest.keyBalancer.getStats({})).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
});
