import { promises as dns } from 'node:dns';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { expect, onTestFinished, test, vi } from 'vitest';
import { parseAddress, parseAddresses } from '../../src/client/address.ts';
import { createKeyBalancer } from '../../src/client/index.ts';
import { GetStatsResponseSchema, WatchHealthResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { tempDir } from '../support/temp-dir.ts';
import { type Functions, type Listening, listen, remote, SessionDesk } from './scripted-balancer.ts';

interface Station extends Listening {
  desk: SessionDesk;
  /** Single calls that it answered. */
  asked: number;
  /** Tokens of the watches that it began. */
  watches: string[];
}

/** Answers sessions, GetStats and WatchHealth, and counts them. A watch is told where it is resumed, and then nothing. */
async function station(target?: string): Promise<Station> {
  const desk = new SessionDesk();
  desk.obliging = true;
  const getStats: NonNullable<Functions['getStats']> = async () => {
    found.asked++;
    return create(GetStatsResponseSchema);
  };
  const watchHealth: NonNullable<Functions['watchHealth']> = async function* ({ resumeToken }, { signal }) {
    found.watches.push(resumeToken);
    yield create(WatchHealthResponseSchema, { resumeToken: 'token' });
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  };
  const functions = { session: desk.session, getStats, watchHealth };
  const listening = await listen(functions, target === undefined ? {} : { target });
  const found: Station = { ...listening, desk, asked: 0, watches: [] };
  return found;
}

/** Addresses where nobody is: no test gets a port below 1024. */
const NOBODY = '127.0.0.1:1';
const NOBODY_EITHER = '127.0.0.1:2';

test('of several addresses the first that answers is used, for streams and for single calls', async () => {
  const [second, third] = [await station(), await station()];
  const { keyBalancer } = remote([NOBODY, second.address, third.address]);
  await Promise.all([keyBalancer.acquireKey({}), keyBalancer.reportResult({ leaseId: 'a', outcome: 1 })]);
  await keyBalancer.getStats({});
  expect(second.desk.operations).toHaveLength(2);
  expect(second.asked).toBe(1);
  expect(third.desk.streams).toHaveLength(0);
  expect(third.asked).toBe(0);
});

test('single calls find the address that answers by themselves', async () => {
  const second = await station();
  await remote([NOBODY, second.address], { transport: 'unary' }).keyBalancer.getStats({});
  expect(second.asked).toBe(1);
});

test('a watch finds the address that answers by itself, and the next one when that stops answering', async () => {
  const [second, third] = [await station(), await station()];
  const balancer = createKeyBalancer({ address: [NOBODY, second.address, NOBODY_EITHER, third.address] });
  onTestFinished(() => balancer.close());
  const watch = balancer.watchHealth()[Symbol.asyncIterator]();
  await watch.next();
  expect(second.watches).toEqual(['']);
  const next = watch.next();
  second.server.forceShutdown();
  await next;
  expect(third.watches).toEqual(['token']);
});

test('an address that says nothing is named by whoever waited for it, and left by those that come after', async () => {
  const mute = createServer(() => {});
  await new Promise<void>((resolve) => void mute.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void mute.close());
  const where = `127.0.0.1:${(mute.address() as AddressInfo).port}`;
  const alive = await station();
  const { keyBalancer } = remote([where, alive.address]);
  const ended: string[] = [];
  const patient = keyBalancer.acquireKey({}).then(() => ended.push('asked before'));
  await expect(keyBalancer.acquireKey({}, { timeoutMs: 100 })).rejects.toThrow(`no answer from ${where} within 0.1 s`);
  await keyBalancer.acquireKey({}).then(() => ended.push('asked after'));
  await patient;
  expect(ended).toEqual(['asked after', 'asked before']);
});

test('where an address stops answering the next is used, and after the last the first again', async () => {
  const [first, second] = [await station(`unix:${join(tempDir(), 'a.sock')}`), await station()];
  const { keyBalancer } = remote([first.address, second.address]);
  const lease = async (): Promise<unknown> => (await keyBalancer.acquireKey({})).lease?.leaseId;
  await lease();
  first.server.forceShutdown();
  await expect.poll(() => lease().catch(() => 'away')).not.toBe('away');
  expect(second.desk.of('acquire').length).toBeGreaterThan(0);
  const again = await station(first.address);
  second.server.forceShutdown();
  await expect.poll(() => lease().catch(() => 'away')).not.toBe('away');
  expect(again.desk.of('acquire').length).toBeGreaterThan(0);
});

test('a stream that ends for want of work is no reason to go elsewhere', async () => {
  const [first, second] = [await station(), await station()];
  const { keyBalancer } = remote([first.address, second.address]);
  await keyBalancer.acquireKey({});
  await expect.poll(() => first.desk.last.finished).toBe(true);
  await keyBalancer.getStats({});
  await keyBalancer.acquireKey({});
  expect(first.desk.streams).toHaveLength(2);
  expect(first.asked).toBe(1);
  expect(second.desk.streams).toHaveLength(0);
});

test('where no address answers, that is said', async () => {
  const addresses = [NOBODY, NOBODY_EITHER];
  const balancer = remote(addresses);
  expect(balancer.where).toBe(addresses.join(', '));
  const message = expect.stringMatching(/^no KeyBalancer answers at 127\.0\.0\.1:\d+ \(ECONNREFUSED\)$/);
  const calls = await Promise.allSettled([balancer.keyBalancer.acquireKey({}), balancer.keyBalancer.getStats({})]);
  expect(calls).toMatchObject(Array(2).fill({ reason: { code: 'UNAVAILABLE', message } }));
});

test('the records of a name are tried in their order, and one of them gets all calls', async () => {
  const here = await station();
  const port = here.address.split(':')[1]!;
  const lookup = vi.spyOn(dns, 'lookup').mockImplementation((async () => [
    { address: '127.0.0.9', family: 4 },
    { address: '127.0.0.1', family: 4 },
  ]) as never);
  onTestFinished(() => lookup.mockRestore());
  const { keyBalancer } = remote(`balancer.test:${port}`);
  for (let turn = 0; turn < 3; turn++) await keyBalancer.acquireKey({});
  expect(lookup.mock.calls[0]![0]).toBe('balancer.test');
  expect(here.desk.of('acquire')).toHaveLength(3);
  expect(here.desk.streams).toHaveLength(1);
});

test('a unix socket and a TCP address may stand in one list', async () => {
  const path = join(tempDir(), 'balancer.sock');
  const byPath = await station(`unix:${path}`);
  const { keyBalancer } = remote([`unix:${path}.none`, `unix:${path}`, NOBODY]);
  await keyBalancer.acquireKey({});
  await keyBalancer.getStats({});
  expect(byPath.desk.of('acquire')).toHaveLength(1);
  expect(byPath.asked).toBe(1);
});

test('an address that is given twice is one', () => {
  expect(parseAddresses(['a:1', 'b:1', 'a:1']).map(({ text }) => text)).toEqual(['a:1', 'b:1']);
});

test.each([[[]], [Array.from({ length: 65 }, (_, index) => `a:${index + 1}`)]])('the list %j is refused', (list) => {
  expect(() => parseAddresses(list)).toThrow(/^address is a list of \d+; allowed: 1 to 64 of HOST:PORT/);
});

test.each([
  ['localhost:1', true],
  ['127.1.2.3:1', true],
  ['[::1]:1', true],
  ['[0:0:0:0:0:0:0:1]:1', true],
  ['unix:/tmp/a.sock', true],
  ['localhost.example.com:1', false],
  ['127.0.0.1.example.com:1', false],
  ['10.0.0.1:1', false],
  ['[::2]:1', false],
  ['[fe80::1]:1', false],
])('whether %s stays on this machine: %s', (address, local) => {
  expect(parseAddress(address).local).toBe(local);
});
