import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Balancer } from '../../../src/client/balancer.ts';
import { Cli, cli } from '../../support/cli.ts';
import { readLogs } from '../../support/otlp-logs.ts';
import { importKeys } from '../../support/server-clients.ts';
import { ServerProcess } from '../../support/server-process.ts';
import { eventsOf, SinkServer, type WebhookEvent } from '../../support/sink.ts';
import { tempDir } from '../../support/temp-dir.ts';

/** A server with keys, a sink, and what a bridge between them is told. */
async function setUp(keys: number) {
  const dataDir = tempDir();
  const server = await ServerProcess.start({ dataDir });
  const balancer = server.connect(server.socket);
  const keyIds = await importKeys(balancer, keys);
  const sink = await SinkServer.start();
  const stateFile = join(tempDir(), 'bridge.state');
  const bridge = (...more: string[]): Cli =>
    new Cli(
      [
        'bridge',
        '--data-dir',
        dataDir,
        '--webhook',
        `${sink.url}/hook`,
        '--state-file',
        stateFile,
        '--interval',
        '0.2',
        ...more,
      ],
      { env: { HOOK_SECRET: 'a secret of the hook', HOOK_AUTH: 'Authorization: Bearer hook-token-1234567890' } },
    );
  const taken = (): WebhookEvent[] => sink.taken.flatMap(eventsOf);
  return { dataDir, server, balancer, keyIds, sink, stateFile, bridge, taken };
}

/** Sets whether a key is disabled: a change of state that the server tells of. */
async function disable({ keyAdmin }: Balancer, keyId: string, disabled = true): Promise<void> {
  await keyAdmin.updateKey({ key: { keyId, disabled }, updateMask: { paths: ['disabled'] } });
}

const disabledIn = (events: readonly WebhookEvent[]): string[] =>
  events.flatMap(({ change, snapshot }) =>
    [...(change?.key === undefined ? [] : [change.key]), ...(snapshot?.keys ?? [])]
      .filter(({ state }) => state === 'KEY_STATE_DISABLED_ADMIN')
      .map(({ keyId }) => keyId),
  );

const gapsIn = (events: readonly WebhookEvent[]): string[] => events.flatMap(({ gap }) => (gap ? [gap.reason] : []));

test('it tells how all stands, then each change once, signed and with the headers, and ends by SIGTERM', async () => {
  const { balancer, keyIds, sink, bridge, taken } = await setUp(2);
  const running = bridge(
    '--webhook-secret-env',
    'HOOK_SECRET',
    '--header-env',
    'HOOK_AUTH',
    '--header',
    'X-Team: payments',
  );
  await expect.poll(taken).toHaveLength(3);
  expect(taken().map(({ snapshot }) => [snapshot!.pools.length, snapshot!.keys.length, snapshot!.more])).toEqual([
    [1, 0, true],
    [0, 1, true],
    [0, 1, false],
  ]);
  await disable(balancer, keyIds[1]!);
  await expect.poll(taken).toHaveLength(4);
  expect(taken()[3]).toMatchObject({
    change: { kind: 'HEALTH_EVENT_KIND_KEY_CHANGED', key: { keyId: keyIds[1] }, previousState: 'KEY_STATE_AVAILABLE' },
  });
  await expect
    .poll(() => running.stdout)
    .toMatch(/ reached=yes delivered=4 waiting=0 gaps=0 merged=0 refused=0 sink=ok\n/);
  running.child.kill('SIGTERM');
  const { exitCode, stdout, stderr } = await running.ended;
  expect([exitCode, stderr]).toEqual([0, '']);
  for (const { headers, body } of sink.calls) {
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
    const signature = createHmac('sha256', 'a secret of the hook').update(signed).digest('base64');
    expect(headers).toMatchObject({
      'webhook-signature': `v1,${signature}`,
      authorization: 'Bearer hook-token-1234567890',
      'x-team': 'payments',
    });
    expect(body.toString()).not.toContain('test-key');
  }
  expect(stdout).not.toMatch(/hook-token|a secret of the hook|\/hook/);
});

test('every change arrives though the bridge is killed again and again, and what it had sent already has its id again', async () => {
  const { balancer, keyIds, sink, bridge, taken } = await setUp(60);
  // Outside of the bridge: what was changed.
  const ledger: string[] = [];
  let running = bridge('--batch-size', '7');
  await expect.poll(taken).toHaveLength(61);
  // It dies when it has sent some, before it hears that the sink has them.
  let killAt = sink.calls.length + 1;
  const killed: string[][] = [];
  sink.answer = (call) => {
    if (sink.calls.length < killAt) return undefined;
    killAt = Number.POSITIVE_INFINITY;
    killed.push(eventsOf(call).map(({ id }) => id));
    running.child.kill('SIGKILL');
    return () => {};
  };
  for (const keyId of keyIds) {
    await disable(balancer, keyId);
    ledger.push(keyId);
    if (ledger.length % 20 !== 0) continue;
    await running.ended;
    killAt = ledger.length === 60 ? Number.POSITIVE_INFINITY : sink.calls.length + 3;
    running = bridge('--batch-size', '7');
  }
  await expect.poll(() => new Set(disabledIn(taken()))).toEqual(new Set(ledger));
  expect(killed).toHaveLength(3);
  const ids = new Set(taken().map(({ id }) => id));
  for (const id of killed.flat()) expect(ids).toContain(id);
  // Each event by one id, whatever was sent twice.
  const contents = new Map<string, string>();
  for (const { id, ...event } of sink.calls.flatMap(eventsOf)) {
    const text = JSON.stringify(event);
    expect(contents.get(id) ?? text).toBe(text);
    contents.set(id, text);
  }
});

test('a sink that is down, slow and unwilling gets everything in the end, and the bridge says what is wrong', async () => {
  const { balancer, keyIds, sink, bridge, taken } = await setUp(30);
  await sink.close();
  const running = bridge('--timeout', '3', '--json');
  const said = (kind: string) =>
    running.stdout
      .split('\n')
      .filter((line) => line.includes(`"kind":"${kind}"`))
      .map((line) => JSON.parse(line) as { message: string; failing: unknown; waiting: number });
  await expect.poll(() => said('sink-failing')).toMatchObject([{ message: expect.stringContaining('ECONNREFUSED') }]);
  await expect
    .poll(() => said('status').at(-1))
    .toMatchObject({
      reached: true,
      waiting: 31,
      failing: { why: expect.stringContaining('ECONNREFUSED'), nextTry: expect.any(String) },
    });
  const bad: (number | (() => void))[] = [() => {}, 429, 500, 413, 413];
  sink.answer = () => bad.shift();
  await sink.open();
  for (const keyId of keyIds.slice(0, 5)) await disable(balancer, keyId);
  await expect.poll(() => new Set(disabledIn(taken()))).toEqual(new Set(keyIds.slice(0, 5)));
  await expect.poll(() => said('status').at(-1)).toMatchObject({ waiting: 0, failing: null });
  expect(
    said('sink-failing')
      .map(({ message }) => message)
      .join('\n'),
  ).toMatch(/no answer within 3 s.* 429 .* 500 /s);
  expect(said('too-large')).toMatchObject([
    { events: 31, most: 15 },
    { events: 15, most: 7 },
  ]);
  expect(said('sink-mended')).toHaveLength(1);
  running.child.kill('SIGINT');
  expect(await running.ended).toMatchObject({ exitCode: 0, stderr: '' });
});

test('over a restart of the server in good order it goes on, and says so only if something happened meanwhile', async () => {
  const { dataDir, server, bridge, keyIds, taken } = await setUp(2);
  const running = bridge();
  await expect.poll(taken).toHaveLength(3);
  await server.stop();
  await expect.poll(() => running.stderr).toContain('the server is not reached, trying again');
  const again = await ServerProcess.start({ dataDir });
  await expect.poll(() => running.stderr).toContain('the server is reached again');
  const balancer = again.connect(again.socket);
  await disable(balancer, keyIds[0]!);
  await expect.poll(() => disabledIn(taken())).toEqual([keyIds[0]]);
  expect(gapsIn(taken())).toEqual([]);
  // Now something happens while the bridge is away.
  running.child.kill('SIGTERM');
  await running.ended;
  await disable(balancer, keyIds[1]!);
  bridge();
  await expect.poll(() => disabledIn(taken())).toEqual(keyIds);
  expect(gapsIn(taken())).toEqual(['resumed']);
});

test('after a crash of the server it says that something may be missing, and tells how all stands', async () => {
  const { dataDir, server, bridge, taken } = await setUp(2);
  const running = bridge();
  await expect.poll(taken).toHaveLength(3);
  await server.kill();
  await ServerProcess.start({ dataDir });
  await expect.poll(taken).toHaveLength(7);
  expect(gapsIn(taken())).toEqual(['reset']);
  expect(taken()[4]!.snapshot).toMatchObject({ reset: true });
  expect(running.stderr).toContain('the server cannot tell what happened since the last event');
});

test('what a sink does not take before the end is kept, and goes first the next time', async () => {
  const { sink, stateFile, bridge, taken } = await setUp(3);
  sink.answer = () => 503;
  const running = bridge();
  await expect.poll(() => sink.calls).not.toHaveLength(0);
  const sent = eventsOf(sink.calls[0]!);
  running.child.kill('SIGTERM');
  expect(await running.ended).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining(`4 events not delivered yet; they are kept in ${stateFile}`),
  });
  sink.answer = () => undefined;
  bridge();
  await expect.poll(taken).toHaveLength(4);
  expect(taken().slice(0, sent.length)).toEqual(sent);
  expect(readFileSync(stateFile, 'utf8')).not.toContain('test-key');
});

test('a pool and kinds can be chosen, and a snapshot has only what they are about', async () => {
  const { balancer, keyIds, bridge, taken } = await setUp(1);
  await balancer.keyAdmin.createPool({ pool: { pool: 'other' } });
  bridge('--pool', 'default', '--kind', 'pool-exhausted', '--kind', 'pool-recovered');
  await expect.poll(taken).toMatchObject([{ snapshot: { keys: [], pools: [{ pool: 'default' }] } }]);
  await disable(balancer, keyIds[0]!);
  await disable(balancer, keyIds[0]!, false);
  await expect
    .poll(() => taken().map(({ change }) => change?.kind))
    .toEqual([undefined, 'HEALTH_EVENT_KIND_POOL_EXHAUSTED', 'HEALTH_EVENT_KIND_POOL_RECOVERED']);
});

test('a collector gets the same as log records by OTLP, and what it says it did not keep is counted', async () => {
  const { dataDir, balancer, keyIds, sink } = await setUp(1);
  sink.answer = () => (response) => response.writeHead(200).end(Buffer.from([0x0a, 2, 0x08, 1]));
  const running = new Cli(['bridge', '--data-dir', dataDir, '--otlp-endpoint', sink.url, '--interval', '0.2'], {
    env: { OTEL_SERVICE_NAME: 'keys', OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test' },
  });
  const records = () => sink.calls.flatMap(({ body }) => readLogs(body));
  await expect
    .poll(() => records().map(({ eventName }) => eventName))
    .toEqual(['keybalancer.pool.snapshot', 'keybalancer.key.snapshot']);
  await disable(balancer, keyIds[0]!);
  await expect.poll(() => records().map(({ eventName }) => eventName)).toContain('keybalancer.key.changed');
  expect(records().find(({ eventName }) => eventName === 'keybalancer.key.changed')).toMatchObject({
    attributes: { 'keybalancer.key_id': keyIds[0], 'keybalancer.key.state': 'disabled_admin' },
    resource: { 'service.name': 'keys', 'deployment.environment.name': 'test' },
  });
  expect(new Set(sink.calls.map(({ path }) => path))).toEqual(new Set(['/v1/logs']));
  await expect.poll(() => running.stdout).toMatch(/refused=[23] sink=ok/);
  expect(running.stderr).toContain('without --state-file, a restart of the bridge begins with a snapshot');
  expect(running.stderr).toContain('the sink took a batch, but 1 event of it not: it does not say why');
});

test('while the sink does not answer, the server merges, and what is told and what is merged add up to all that happened', async () => {
  const { balancer, keyIds, sink, bridge, taken } = await setUp(40);
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const running = bridge('--timeout', '600', '--batch-size', '1000');
  await expect.poll(taken).toHaveLength(41);
  sink.answer = () => (response) => {
    void held.then(() => response.writeHead(200).end());
  };
  const times = 80;
  await Promise.all(
    keyIds.map(async (keyId) => {
      for (let at = 1; at <= times; at++) await disable(balancer, keyId, at % 2 === 1);
    }),
  );
  release();
  const changes = () => sink.calls.flatMap(eventsOf).flatMap(({ change }) => (change === undefined ? [] : [change]));
  const ofKeys = () => changes().filter(({ key }) => key !== undefined);
  await expect
    .poll(() => ofKeys().reduce((sum, { merged }) => sum + 1 + Number(merged), 0))
    .toBe(keyIds.length * times);
  expect(ofKeys().length).toBeLessThan(keyIds.length * times);
  const gaps = sink.calls.flatMap(eventsOf).flatMap(({ gap }) => (gap ? [gap] : []));
  expect(new Set(gaps.map(({ reason }) => reason))).toEqual(new Set(['merged']));
  const merged = changes().reduce((sum, each) => sum + Number(each.merged), 0);
  expect(gaps.reduce((sum, each) => sum + each.changes, 0)).toBe(merged);
  await expect.poll(() => running.stdout).toContain(` waiting=0 gaps=${gaps.length} merged=${merged} `);
});

test('a command line that cannot work is refused', async () => {
  const hook = ['--webhook', 'http://127.0.0.1:9/secret-path'];
  const otlp = ['--otlp-endpoint', 'http://127.0.0.1:9/secret-path'];
  const cases: [string[], string][] = [
    [[], 'give one of --otlp-endpoint and --webhook'],
    [[...hook, ...otlp], 'give one of --otlp-endpoint and --webhook'],
    [[...otlp, '--webhook-secret-env', 'A'], '--webhook-secret-env signs requests to a --webhook'],
    [[...hook, '--kind', 'key'], '--kind is "key"; allowed: key-added, key-changed'],
    [[...hook, '--header', 'secret-value'], '--header is no header; allowed: NAME: VALUE'],
  ];
  const results = await Promise.all(cases.map(([args]) => cli(['bridge', '--data-dir', tempDir(), ...args])));
  for (const [index, { exitCode, stdout, stderr }] of results.entries()) {
    expect([exitCode, stdout, stderr]).toEqual([2, '', expect.stringContaining(cases[index]![1])]);
    expect(stderr).not.toMatch(/secret-(path|value)/);
  }
});

test('a server that is not there at the beginning, and a pool that is not, are told of at once', async () => {
  const nowhere = await cli(['bridge', '--data-dir', tempDir(), '--webhook', 'http://127.0.0.1:9/']);
  expect(nowhere).toMatchObject({
    exitCode: 3,
    stdout: '',
    stderr: expect.stringContaining('no KeyBalancer answers at unix:'),
  });
  const { bridge } = await setUp(1);
  expect(await bridge('--pool', 'nonsense').ended).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining('pool "nonsense" does not exist'),
  });
});
