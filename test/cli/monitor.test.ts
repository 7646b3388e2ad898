import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { frame } from '../../src/cli/monitor/frame.ts';
import { MonitorState } from '../../src/cli/monitor/monitor-state.ts';
import { connect } from '../../src/client/connect.ts';
import {
  ErrorClass,
  GetStatsResponseSchema,
  HealthEventKind,
  KeyState,
  Outcome,
  WatchHealthResponseSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { MAIN } from '../support/build.ts';
import { Cli, cli, startServe } from '../support/cli.ts';
import { dirWithKeys } from '../support/key-dirs.ts';
import { isInstalled } from '../support/programs.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';

const NOW = Date.UTC(2026, 10, 25, 12);
const THERE = { lostSince: undefined, trouble: '' };

function poolCount(succeeded: number, keys = 2) {
  const total = { totalKeys: BigInt(keys), availableKeys: BigInt(keys) };
  return create(GetStatsResponseSchema, {
    pools: [{ pool: 'default', ...total, usage: { acquired: BigInt(succeeded), succeeded: BigInt(succeeded) } }],
  });
}

function change(keyId: string, state: KeyState, kind: HealthEventKind = HealthEventKind.KEY_CHANGED) {
  const untilTime = timestampFromMs(NOW + 59_000);
  const cooldowns = state === KeyState.COOLING ? [{ cause: ErrorClass.BILLING, untilTime }] : [];
  const value = { kind, pool: 'default', key: { keyId, pool: 'default', state, cooldowns } };
  return create(WatchHealthResponseSchema, { eventTime: timestampFromMs(NOW), event: { case: 'change', value } });
}

const textOf = (state: MonitorState, size = { rows: 24, columns: 100 }): string =>
  frame(state, { where: 'here', feed: THERE, now: NOW }, size)
    .map(({ text }) => text)
    .join('\n');

test('rates are what was counted between two looks, and begin anew when the counters do', () => {
  const state = new MonitorState();
  state.counted(poolCount(100), 1_000);
  expect(state.pools[0]!.rates).toBeUndefined();
  state.counted(poolCount(150), 3_000);
  expect(state.pools[0]!.rates).toMatchObject({ acquires: 25, successes: 25, failures: 0 });
  state.counted(poolCount(0), 4_000);
  expect(state.pools[0]!.rates).toBeUndefined();
});

test('the screen shows what rests with the time left, and it is gone when the key is back', () => {
  const state = new MonitorState();
  state.counted(poolCount(0), 1_000);
  state.told(change('key-00000001', KeyState.COOLING));
  expect(textOf(state)).toMatch(/^59 s +default: 1 key, billing is off or used up$/m);
  expect(textOf(state)).toContain('key-00000001: cooling, billing is off or used up');
  state.told(change('key-00000001', KeyState.AVAILABLE));
  expect(textOf(state)).not.toContain('RESTING');
  expect(textOf(state)).toContain('key-00000001: available again');
});

test('the screen is as large as the terminal and never larger, whatever there is to show', () => {
  const kinds = [HealthEventKind.KEY_ADDED, HealthEventKind.KEY_CHANGED, HealthEventKind.KEY_REMOVED];
  const states = [KeyState.AVAILABLE, KeyState.COOLING, KeyState.QUARANTINED, KeyState.DISABLED_ADMIN];
  const changes = fc.array(fc.tuple(fc.nat(40), fc.constantFrom(...states), fc.constantFrom(...kinds)), {
    maxLength: 100,
    size: 'max',
  });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 200 }),
      changes,
      fc.nat(30),
      (rows, columns, told, pools) => {
        const state = new MonitorState();
        const stats = Array.from({ length: pools }, (_, i) => ({ pool: `pool-${i}`, totalKeys: BigInt(i % 3) }));
        state.counted(create(GetStatsResponseSchema, { pools: stats }), 1);
        for (const [key, keyState, kind] of told) state.told(change(`key-${key}`, keyState, kind));
        const lines = frame(
          state,
          { where: 'somewhere', feed: { lostSince: NOW, trouble: 'gone' }, now: NOW },
          { rows, columns },
        );
        expect(lines).toHaveLength(rows);
        for (const { text } of lines) expect(text.length).toBeLessThanOrEqual(columns);
      },
    ),
  );
});

test('what others named cannot steer the terminal', () => {
  const state = new MonitorState();
  state.counted(create(GetStatsResponseSchema, { pools: [{ pool: 'evil\u001b[2J\u202e' }] }), 1);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(textOf(state)).not.toMatch(/[\u001b\u202e]/);
});

test('row 20: monitor writes a line each interval into a pipe, over a restart of the server, until it is ended', async () => {
  const dataDir = tempDir();
  await cli(['import', '-', '--data-dir', dataDir], { input: 'AQ.test-key-000001\nAQ.test-key-000002\n' });
  const server = await startServe(dataDir);
  const monitor = new Cli(['monitor', '--data-dir', dataDir, '--interval', '0.1']);
  await expect.poll(() => monitor.stdout).toMatch(/reached=yes keys=2 available=2 .* acquires\/s=0 /);
  server.child.kill('SIGKILL');
  await expect.poll(() => monitor.stdout).toMatch(/reached=no since=\S+ why="/);
  const lost = monitor.stdout.length;
  await startServe(dataDir);
  await expect.poll(() => monitor.stdout.slice(lost)).toMatch(/reached=yes keys=2 /);
  monitor.child.kill('SIGINT');
  expect(await monitor.ended).toMatchObject({ exitCode: 0, stderr: '' });
});

test('row 20: monitor --json has counters, rates, what rests and exhausted pools, a line each', async () => {
  const dataDir = tempDir();
  await cli(['import', '-', '--data-dir', dataDir], { input: 'AQ.test-key-000001\n' });
  const server = await startServe(dataDir, '--verify', 'off');
  const balancer = await connect({ address: server.grpc });
  onTestFinished(() => balancer.close());
  const monitor = new Cli(['monitor', '--json', '--data-dir', dataDir, '--interval', '0.1']);
  await expect.poll(() => monitor.stdout).toContain('\n');
  const { lease } = await balancer.keyBalancer.acquireKey({ model: 'm' });
  const body =
    '{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}';
  await balancer.keyBalancer.reportResult({
    leaseId: lease!.leaseId,
    outcome: Outcome.FAILURE,
    error: { httpStatus: 400, body },
  });
  const newest = () => JSON.parse(monitor.stdout.trimEnd().split('\n').at(-1)!);
  await expect.poll(newest).toMatchObject({
    reached: true,
    pools: [{ pool: 'default', totalKeys: 1, availableKeys: 0 }],
    resting: [{ pool: 'default', keys: 1, cause: 'ERROR_CLASS_KEY_INVALID', firstBack: null }],
    exhausted: expect.arrayContaining([{ pool: 'default', since: expect.any(String) }]),
  });
  expect(monitor.stdout).not.toContain('test-key');
});

test('monitor of a data dir that nobody uses says so, and does not take it', async () => {
  const dataDir = tempDir();
  expect(await cli(['monitor', '--data-dir', dataDir])).toMatchObject({
    exitCode: 3,
    stderr: expect.stringContaining(`no KeyBalancer answers at unix:${dataDir}/keybalancer.sock`),
  });
  expect(await cli(['monitor', '--interval', 'soon'])).toMatchObject({ exitCode: 2 });
});

const tmux = isInstalled('tmux');
if (!tmux) process.stdout.write('skipped: monitor in a real terminal, since tmux is not installed\n');

test.skipIf(!tmux)('row 20: monitor fills a real terminal, also of 40x10, and gives it back', async () => {
  const dataDir = tempDir();
  await cli(['import', '-', '--data-dir', dataDir], { input: 'AQ.test-key-000001\n' });
  await startServe(dataDir);
  const socket = join(tempDir(), 'tmux');
  const run = async (...args: string[]) => (await promisify(execFile)('tmux', ['-S', socket, ...args])).stdout;
  onTestFinished(async () => {
    await run('kill-server').catch(() => {});
  });
  await run('-f', '/dev/null', 'new-session', '-d', '-x', '100', '-y', '24', 'sh');
  await run('send-keys', `echo before; '${process.execPath}' '${MAIN}' monitor --data-dir '${dataDir}'`, 'Enter');
  const screen = () => run('capture-pane', '-p');
  await expect.poll(screen).toMatch(/^KeyBalancer .*\nPOOL +KEYS +AVAIL .*REFUSED\/S.*\ndefault +1 +1 /);
  await run('resize-window', '-x', '40', '-y', '10');
  await expect
    .poll(screen)
    .toMatch(/^KeyBalancer [^\n]{0,28}\nPOOL +KEYS +AVAIL[^\n]{0,22}\ndefault +1 +1 [^q]*q or Ctrl-C ends\n$/);
  await run('send-keys', 'q');
  await expect.poll(screen).toMatch(/before/);
});

test.skipIf(!tmux)('row 20: monitor draws without colours where NO_COLOR is set', async () => {
  const dataDir = await dirWithKeys(1);
  await ServerProcess.start({ dataDir });
  const socket = join(tempDir(), 'tmux');
  const run = async (...args: string[]) => (await promisify(execFile)('tmux', ['-S', socket, ...args])).stdout;
  onTestFinished(async () => {
    await run('kill-server').catch(() => {});
  });
  const line = `'${process.execPath}' '${MAIN}' monitor --data-dir '${dataDir}'`;
  for (const [pane, env, escapes] of [
    ['plain', ['-e', 'NO_COLOR=1'], false],
    ['bold', ['-e', 'NO_COLOR='], true],
  ] as const) {
    await run('-f', '/dev/null', 'new-session', '-d', '-s', pane, '-x', '100', '-y', '24', ...env, line);
    await expect.poll(() => run('capture-pane', '-p', '-t', pane)).toMatch(/default +1 +1 /);
    expect((await run('capture-pane', '-e', '-p', '-t', pane)).includes('\u001b[')).toBe(escapes);
  }
});
