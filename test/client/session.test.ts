import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { create } from '@bufbuild/protobuf';
import { durationMs } from '@bufbuild/protobuf/wkt';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { BalancerError } from '../../src/engine/errors.ts';
import { AcquireKeyResponseSchema, type Operation, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { serve } from './balancers.ts';
import { listen, remote, SessionDesk } from './scripted-balancer.ts';

interface Desk {
  desk: SessionDesk;
  address: string;
  balancer: Balancer;
}

async function open(settings: Partial<SessionDesk['settings']> = {}): Promise<Desk> {
  const desk = new SessionDesk();
  Object.assign(desk.settings, settings);
  const { address } = await listen({ session: desk.session });
  return { desk, address, balancer: remote(address) };
}

/** With the server's settings known to the client. */
async function acquainted(settings: Partial<SessionDesk['settings']> = {}): Promise<Desk> {
  const opened = await open(settings);
  opened.desk.obliging = true;
  await opened.balancer.keyBalancer.renewLease({ leaseId: 'any' });
  opened.desk.obliging = false;
  opened.desk.messages.length = 0;
  return opened;
}

const MINUTE = { maxWait: { seconds: 60n } };
const success = (leaseId: string) => ({ leaseId, outcome: Outcome.SUCCESS });
const modelOf = ({ operation }: Operation): unknown =>
  operation.case === 'acquire' ? operation.value.model : undefined;
const codeOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => 'OK',
    (error) => error.code,
  );

test('operations of one tick leave in one message, of at most a thousand', async () => {
  const { desk, balancer } = await acquainted();
  desk.obliging = true;
  const few = [
    balancer.keyBalancer.acquireKey({}),
    balancer.keyBalancer.reportResult(success('a')),
    balancer.keyBalancer.renewLease({ leaseId: 'a' }),
  ];
  await Promise.all(few);
  expect(desk.messages.map((message) => message.map(({ operation }) => operation.case).sort())).toEqual([
    ['acquire', 'renew', 'report'],
  ]);
  desk.messages.length = 0;
  await Promise.all(Array.from({ length: 2_500 }, () => balancer.keyBalancer.acquireKey({})));
  expect(desk.messages.map(({ length }) => length)).toEqual([1_000, 1_000, 500]);
});

test('a message is never too large for a server, whatever its operations hold', async () => {
  // It takes 4 MiB, and knows no single calls.
  const { desk, balancer } = await acquainted();
  desk.obliging = true;
  const error = { httpStatus: 400, body: 'x'.repeat(16_000) };
  const reports = Array.from({ length: 400 }, (_, index) =>
    balancer.keyBalancer.reportResult({ leaseId: `${index}`, outcome: Outcome.FAILURE, error }),
  );
  expect(await Promise.all(reports)).toHaveLength(400);
  expect(desk.of('report')).toHaveLength(400);
});

test('an operation that fits no message is refused as by itself, and harms no other', async () => {
  const balancer = remote((await serve()).grpc!);
  await balancer.keyAdmin.createKey({ apiKey: 'AQ.a-key' });
  const giant = { leaseId: 'a', outcome: Outcome.FAILURE, error: { body: 'x'.repeat(5 * 1024 * 1024) } };
  const other = balancer.keyBalancer.acquireKey({});
  expect(await codeOf(balancer.keyBalancer.reportResult(giant))).toBe('RESOURCE_EXHAUSTED');
  expect(await codeOf(other)).toBe('OK');
});

test('a request that is no message is refused as by itself, and harms no other', async () => {
  const server = await serve();
  const [session, unary] = [remote(server.grpc!), remote(server.grpc!, { transport: 'unary' })];
  await session.keyAdmin.createKey({ apiKey: 'AQ.a-key' });
  const refusals: unknown[] = [];
  for (const { keyBalancer } of [session, unary]) {
    const bad = [{ priority: 2 ** 40 }, { pool: 7 as never }, { estimatedTokens: 1n << 80n }];
    const calls = bad.map((request) => keyBalancer.acquireKey(request));
    const good = keyBalancer.acquireKey({});
    const settled = await Promise.allSettled(calls);
    refusals.push(settled.map((each) => (each.status === 'rejected' ? each.reason.code : 'OK')));
    expect((await good).lease).toBeDefined();
  }
  expect(refusals[0]).toEqual(refusals[1]);
  expect(refusals[0]).not.toContain('OK');
});

test('answers find their calls in any order', async () => {
  const { desk, balancer } = await acquainted();
  const models = ['a', 'b', 'c'];
  const calls = models.map((model) => balancer.keyBalancer.acquireKey({ model }));
  await expect.poll(() => desk.operations).toHaveLength(3);
  const [a, b, c] = desk.operations as [Operation, Operation, Operation];
  desk.last.answer(c, a);
  desk.last.answer(b);
  expect((await Promise.all(calls)).map(({ lease }) => lease?.leaseId)).toEqual(['lease-a', 'lease-b', 'lease-c']);
});

test('an acquire does not take a relaxed report along, whose commit it would wait for', async () => {
  const { desk, balancer } = await acquainted();
  desk.obliging = true;
  const report = balancer.keyBalancer.reportResult(success('a'), { relaxed: true });
  await Promise.all([report, balancer.keyBalancer.acquireKey({})]);
  expect(desk.messages.map(([first]) => first?.operation.case)).toEqual(['acquire', 'report']);
});

test('relaxed reports of several ticks go together after 10 ms', async () => {
  const { desk, balancer } = await acquainted();
  desk.obliging = true;
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const reports: Promise<unknown>[] = [];
  for (const leaseId of ['a', 'b', 'c']) {
    reports.push(balancer.keyBalancer.reportResult(success(leaseId), { relaxed: true }));
    await new Promise(setImmediate);
  }
  vi.advanceTimersByTime(10);
  await Promise.all(reports);
  expect(desk.messages.map(({ length }) => length)).toEqual([3]);
});

test('a relaxed report goes by itself where nothing else does, and when the client is closed', async () => {
  const { desk, balancer } = await acquainted();
  desk.obliging = true;
  await balancer.keyBalancer.reportResult(success('a'), { relaxed: true });
  const last = balancer.keyBalancer.reportResult(success('b'), { relaxed: true });
  await balancer.close();
  await last;
  expect(desk.of('report')).toHaveLength(2);
});

const REMOTE = JSON.stringify(new URL('../../src/client/remote.ts', import.meta.url).href);

async function script(address: string, body: string): Promise<string> {
  const program = `
    import { connectRemote } from ${REMOTE};
    const balancer = connectRemote(${JSON.stringify(address)});
    ${body}`;
  const run = promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program]);
  return (await run).stdout;
}

test('a process ends by itself, without closing its client, and its last relaxed report has gone', async () => {
  const { desk, address } = await open();
  desk.obliging = true;
  const body = `
    await balancer.keyBalancer.acquireKey({});
    balancer.keyBalancer.reportResult({ leaseId: 'a', outcome: 1 }, { relaxed: true }).then(() => console.log('reported'));`;
  expect(await script(address, body)).toBe('reported\n');
  // Without a stream nothing but the end of the process itself sends it.
  const only = `balancer.keyBalancer.reportResult({ leaseId: 'b', outcome: 1 }, { relaxed: true }).then(() => console.log('reported'));`;
  expect(await script(address, only)).toBe('reported\n');
  expect(desk.of('report')).toHaveLength(2);
  await expect.poll(() => desk.streams.every(({ finished }) => finished)).toBe(true);
});

test('a stream without work ends, and the next call opens another', async () => {
  const { desk, balancer } = await acquainted();
  await expect.poll(() => desk.last.finished).toBe(true);
  desk.obliging = true;
  await balancer.keyBalancer.acquireKey({});
  expect(desk.streams).toHaveLength(2);
});

test('an acquire whose caller leaves is cancelled, and a lease that comes all the same is reported unused', async () => {
  const { desk, balancer } = await acquainted();
  const controller = new AbortController();
  const left = balancer.keyBalancer.acquireKey({ model: 'left', ...MINUTE }, { signal: controller.signal });
  const other = balancer.keyBalancer.acquireKey({ model: 'other', ...MINUTE });
  await expect.poll(() => desk.of('acquire')).toHaveLength(2);
  controller.abort(new Error('enough'));
  await expect(left).rejects.toMatchObject({
    code: 'CANCELLED',
    reason: 'OPERATION_CANCELLED',
    cause: new Error('enough'),
  });
  await expect.poll(() => desk.of('cancel')).toHaveLength(1);
  const [target] = desk.of('acquire').filter((operation) => modelOf(operation) === 'left');
  expect(desk.of('cancel')[0]!.operation.value).toMatchObject({ targetCorrelationId: target!.correlationId });
  desk.obliging = true;
  desk.last.answer(...desk.of('acquire'));
  expect((await other).lease?.leaseId).toBe('lease-other');
  await expect
    .poll(() => desk.of('report').map(({ operation }) => operation.value))
    .toMatchObject([{ leaseId: 'lease-left', outcome: Outcome.UNUSED }]);
});

test('a lease that comes after the deadline is given back, unless a request id can still ask for it', async () => {
  const { desk, balancer } = await acquainted();
  const late = [
    balancer.keyBalancer.acquireKey({ model: 'a' }, { timeoutMs: 50 }),
    balancer.keyBalancer.acquireKey({ model: 'b', requestId: 'b' }, { timeoutMs: 50 }),
  ];
  const message = `no answer from ${balancer.where} within 0.05 s`;
  for (const call of late) await expect(call).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED', message });
  desk.obliging = true;
  desk.last.answer(...desk.of('acquire').toReversed());
  await expect
    .poll(() => desk.of('report').map(({ operation }) => operation.value))
    .toMatchObject([{ leaseId: 'lease-a', outcome: Outcome.UNUSED }]);
});

test('the wait that the server is asked for ends before the deadline of the call', async () => {
  const { desk, balancer } = await acquainted();
  const call = codeOf(balancer.keyBalancer.acquireKey(MINUTE, { timeoutMs: 5_000 }));
  await expect.poll(() => desk.of('acquire')).toHaveLength(1);
  const { operation } = desk.of('acquire')[0]!;
  const waitMs = operation.case === 'acquire' ? durationMs(operation.value.maxWait!) : 0;
  expect(waitMs).toBeLessThanOrEqual(4_500);
  expect(waitMs).toBeGreaterThan(0);
  desk.last.answer(...desk.of('acquire'));
  expect(await call).toBe('OK');
});

test('no more is open than the server allows, and reports pass acquires that wait', async () => {
  const { desk, balancer } = await acquainted({ maxOpenOperations: 20, maxWaiting: 3 });
  const waiting = Array.from({ length: 50 }, () => codeOf(balancer.keyBalancer.acquireKey(MINUTE)));
  await expect.poll(() => desk.of('acquire')).toHaveLength(3);
  const reports = Array.from({ length: 50 }, (_, index) =>
    codeOf(balancer.keyBalancer.reportResult(success(`${index}`))),
  );
  for (let answered = 0; answered < 50; ) {
    await expect.poll(() => desk.of('report').length).toBeGreaterThan(answered);
    const arrived = desk.of('report').slice(answered);
    desk.last.answer(...arrived);
    answered += arrived.length;
  }
  expect(new Set(await Promise.all(reports))).toEqual(new Set(['OK']));
  expect(desk.of('acquire')).toHaveLength(3);
  desk.obliging = true;
  desk.last.answer(...desk.of('acquire'));
  expect(new Set(await Promise.all(waiting))).toEqual(new Set(['OK']));
  expect(desk.mostOpen).toBeLessThanOrEqual(20);
  expect(desk.mostWaiting).toBe(3);
});

test('an acquire that finds no room in its time to wait takes what is there then', async () => {
  const { desk, balancer } = await acquainted({ maxWaiting: 1 });
  const calls = [MINUTE, { maxWait: { nanos: 50_000_000 } }].map((wait) =>
    codeOf(balancer.keyBalancer.acquireKey(wait)),
  );
  await expect.poll(() => desk.of('acquire')).toHaveLength(2);
  expect(desk.of('acquire').map(({ operation }) => (operation.value as { maxWait?: unknown }).maxWait)).toEqual([
    expect.anything(),
    undefined,
  ]);
  desk.last.answer(...desk.of('acquire'));
  expect(await Promise.all(calls)).toEqual(['OK', 'OK']);
});

test('ten thousand acquires wait in the client; more are refused, and a report still goes', async () => {
  const { desk, balancer } = await acquainted({ maxWaiting: 1 });
  const controller = new AbortController();
  const first = codeOf(balancer.keyBalancer.acquireKey(MINUTE));
  await expect.poll(() => desk.of('acquire')).toHaveLength(1);
  const { signal } = controller;
  const queued = Array.from({ length: 10_000 }, () => codeOf(balancer.keyBalancer.acquireKey(MINUTE, { signal })));
  await expect(balancer.keyBalancer.acquireKey(MINUTE)).rejects.toMatchObject({
    code: 'RESOURCE_EXHAUSTED',
    reason: 'QUEUE_FULL',
    retryAfterMs: 100,
  });
  desk.obliging = true;
  await balancer.keyBalancer.reportResult(success('a'));
  expect(desk.of('acquire')).toHaveLength(1);
  controller.abort();
  expect(new Set(await Promise.all(queued))).toEqual(new Set(['CANCELLED']));
  desk.last.answer(desk.of('acquire')[0]!);
  expect(await first).toBe('OK');
  expect(desk.of('acquire')).toHaveLength(1);
});

test('a server that goes away answers what is open and takes reports; other calls open a stream elsewhere', async () => {
  const [here, there] = [new SessionDesk(), new SessionDesk()];
  const addresses = [await listen({ session: here.session }), await listen({ session: there.session })];
  const balancer = remote(addresses.map(({ address }) => address));
  const early = balancer.keyBalancer.acquireKey({ model: 'early', ...MINUTE });
  await expect.poll(() => here.of('acquire')).toHaveLength(1);
  here.last.say({ goAway: { grace: { seconds: 60n } } });
  here.last.answer(here.of('acquire')[0]!);
  expect((await early).lease?.leaseId).toBe('lease-early');
  here.obliging = true;
  there.obliging = true;
  const late = balancer.keyBalancer.acquireKey({ model: 'late' });
  await balancer.keyBalancer.reportResult(success('lease-early'));
  expect((await late).lease?.leaseId).toBe('lease-late');
  expect(here.of('report')).toHaveLength(1);
  expect(there.operations.map(modelOf)).toEqual(['late']);
  here.last.end();
  await balancer.keyBalancer.reportResult(success('lease-late'));
  expect(there.of('report')).toHaveLength(1);
});

test('a stream that breaks rejects what is open with UNAVAILABLE, and the next call opens another', async () => {
  const { desk, balancer } = await acquainted();
  const calls = [balancer.keyBalancer.acquireKey({}), balancer.keyBalancer.reportResult(success('a'))].map(codeOf);
  await expect.poll(() => desk.operations).toHaveLength(2);
  desk.last.end();
  expect(await Promise.all(calls)).toEqual(['UNAVAILABLE', 'UNAVAILABLE']);
  desk.obliging = true;
  await balancer.keyBalancer.acquireKey({});
  expect(desk.streams).toHaveLength(2);
});

test('a fault in one operation is its own: the others of its stream are answered by themselves', async () => {
  const desk = new SessionDesk();
  const { address } = await listen({
    session: desk.session,
    acquireKey: async () => create(AcquireKeyResponseSchema, { lease: { leaseId: 'alone' } }),
    reportResult: async () => {
      throw new Error('a bug');
    },
  });
  const balancer = remote(address);
  const good = balancer.keyBalancer.acquireKey({});
  const bad = codeOf(balancer.keyBalancer.reportResult(success('a')));
  await expect.poll(() => desk.operations).toHaveLength(2);
  desk.last.end(new Error('a bug'));
  expect((await good).lease?.leaseId).toBe('alone');
  expect(await bad).toBe('INTERNAL');
});

test('a server that drains refuses a stream, and says so', async () => {
  const { address } = await listen({
    // biome-ignore lint/correctness/useYield: it refuses.
    session: async function* () {
      throw new BalancerError('DRAINING', 'this server is shutting down');
    },
  });
  await expect(remote(address).keyBalancer.acquireKey({})).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    reason: 'DRAINING',
  });
});

test('closing gives up what waits, gives its lease back, and lets reports end', async () => {
  const { desk, balancer } = await acquainted();
  const waiting = codeOf(balancer.keyBalancer.acquireKey({ model: 'waiting', ...MINUTE }));
  const report = codeOf(balancer.keyBalancer.reportResult(success('a')));
  await expect.poll(() => desk.operations).toHaveLength(2);
  const closing = balancer.close();
  expect(await waiting).toBe('FAILED_PRECONDITION');
  expect(await codeOf(balancer.keyBalancer.acquireKey({}))).toBe('FAILED_PRECONDITION');
  await expect.poll(() => desk.of('cancel')).toHaveLength(1);
  desk.obliging = true;
  desk.last.answer(...desk.of('acquire'), ...desk.of('report'));
  await closing;
  expect(await report).toBe('OK');
  expect(desk.of('report').map(({ operation }) => operation.value)).toMatchObject([
    { leaseId: 'a' },
    { leaseId: 'lease-waiting', outcome: Outcome.UNUSED },
  ]);
});

test('a call refused on the stream is refused as by itself', async () => {
  const server = await serve();
  const [session, unary] = [remote(server.grpc!), remote(server.grpc!, { transport: 'unary' })];
  await session.keyAdmin.createKey({ apiKey: 'AQ.the-only-key', key: { maxConcurrentLeases: 1 } });
  await session.keyAdmin.createPool({ pool: { pool: 'empty' } });
  const { lease } = await session.keyBalancer.acquireKey({ requestId: 'first' });
  const requests: [string, (balancer: Balancer) => Promise<unknown>][] = [
    ['no key', ({ keyBalancer }) => keyBalancer.acquireKey({ model: 'models/gemini-2.5-flash' })],
    ['no pool', ({ keyBalancer }) => keyBalancer.acquireKey({ pool: 'none' })],
    ['empty pool', ({ keyBalancer }) => keyBalancer.acquireKey({ pool: 'empty', model: 'm' })],
    ['no such key', ({ keyBalancer }) => keyBalancer.acquireKey({ requireKeyId: 'none' })],
    ['bad pool', ({ keyBalancer }) => keyBalancer.acquireKey({ pool: 'A B' })],
    ['bad model', ({ keyBalancer }) => keyBalancer.acquireKey({ model: 'a b' })],
    ['bad wait', ({ keyBalancer }) => keyBalancer.acquireKey({ maxWait: { seconds: -1n } })],
    ['bad exclusions', ({ keyBalancer }) => keyBalancer.acquireKey({ excludeKeyIds: Array(65).fill('a') })],
    ['bound', ({ keyBalancer }) => keyBalancer.acquireKey({ bindToSession: true })],
    ['reused', ({ keyBalancer }) => keyBalancer.acquireKey({ requestId: 'first', model: 'm' })],
    ['no outcome', ({ keyBalancer }) => keyBalancer.reportResult({ leaseId: lease!.leaseId })],
    ['no lease', ({ keyBalancer }) => keyBalancer.reportResult(success('none'))],
    ['usage', ({ keyBalancer }) => keyBalancer.reportResult({ ...success('a'), usage: { inputTokens: -1n } })],
    ['no renewal', ({ keyBalancer }) => keyBalancer.renewLease({ leaseId: 'none' })],
    ['bad ttl', ({ keyBalancer }) => keyBalancer.renewLease({ leaseId: lease!.leaseId, leaseTtl: { nanos: 1 } })],
  ];
  for (const [name, request] of requests) {
    const refusals = await Promise.all(
      [session, unary].map((balancer) =>
        request(balancer).then(
          () => undefined,
          ({ message, code, reason, metadata, violations, retryAfterMs }) => ({
            ...{ message, code, reason, metadata, violations },
            retries: retryAfterMs !== undefined,
          }),
        ),
      ),
    );
    expect(refusals[0], name).toBeDefined();
    expect(refusals[0], name).toEqual(refusals[1]);
  }
});
