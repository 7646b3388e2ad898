import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { connect } from '../../src/client/connect.ts';
import { Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { Cli, cli, firstLine, startServe } from '../support/cli.ts';
import { cliHere } from '../support/cli-here.ts';
import { tempDir } from '../support/temp-dir.ts';

const key = (n: number): string => `AQ.test-key-${String(n).padStart(6, '0')}`;

describe('serve', () => {
  test('prints one line when it can serve, logs JSON, and ends with 0 on SIGTERM', async () => {
    const dataDir = join(tempDir(), 'data');
    const served = await startServe(dataDir);
    expect(served.stdout).toMatch(/^ready grpc=127\.0\.0\.1:[1-9]\d* http=127\.0\.0\.1:[1-9]\d*\n$/);
    expect((await fetch(`http://${served.http}/readyz`)).status).toBe(200);
    served.child.kill('SIGTERM');
    expect(await served.ended).toMatchObject({ exitCode: 0, stdout: served.stdout });
    const log = served.log();
    expect(log.map(({ msg }) => msg)).toEqual([
      expect.stringMatching(/made a master key/),
      'ready',
      'stopping; a second signal stops at once',
      'stopped',
    ]);
    expect(log[1]).toMatchObject({ level: 'info', grpc: served.grpc, http: served.http, dataDir });
    expect(existsSync(join(dataDir, 'keybalancer.sock'))).toBe(false);
  });

  test('with both doors off serves the socket of the data dir, and says so', async () => {
    const dataDir = tempDir();
    const served = new Cli(['serve', '--data-dir', dataDir, '--grpc', 'off', '--http', 'off']);
    await firstLine(served);
    expect(served.stdout).toBe(`ready socket=${join(dataDir, 'keybalancer.sock')}\n`);
    expect(await cliHere(['stats', '--data-dir', dataDir])).toMatchObject({ exitCode: 0 });
    served.child.kill('SIGINT');
    expect(await served.ended).toMatchObject({ exitCode: 0 });
  });

  test('goes on when nobody reads its output any more', async () => {
    const served = await startServe(tempDir());
    served.child.stdout.destroy();
    served.child.stderr.destroy();
    for (let n = 1; n <= 3; n++) expect((await fetch(`http://${served.http}/healthz`)).status).toBe(200);
    served.child.kill('SIGTERM');
    expect((await served.ended).exitCode).toBe(0);
  });

  test('ends at once on a second signal, says so by its exit code, and keeps what was acknowledged', async () => {
    const dataDir = tempDir();
    const served = await startServe(dataDir);
    await cliHere(['add-key', '-', '--address', served.grpc], { input: key(1) });
    // Both signals are there when it wakes up, so the stop in good order cannot have ended between them.
    served.child.kill('SIGSTOP');
    served.child.kill('SIGTERM');
    served.child.kill('SIGINT');
    served.child.kill('SIGCONT');
    const { exitCode } = await served.ended;
    const last = served.log().at(-1);
    expect(last).toMatchObject({ msg: 'stopped at once' });
    expect(exitCode).toBe(last?.signal === 'SIGINT' ? 130 : 143);
    expect(JSON.parse((await cliHere(['stats', '--data-dir', dataDir, '--json'])).stdout).total.totalKeys).toBe('1');
  });

  test('is refused on a data dir that a server owns, with its process and addresses', async () => {
    const dataDir = tempDir();
    const served = await startServe(dataDir);
    const second = await cli(['serve', '--data-dir', dataDir, '--grpc', '127.0.0.1:0', '--http', 'off']);
    expect(second).toMatchObject({ exitCode: 1, stdout: '' });
    expect(second.stderr).toMatch(/^keybalancer: data dir .* is in use by process \d+ \(.*\); .*\n$/);
    for (const part of [dataDir, ` ${served.child.pid} `, served.grpc, served.http])
      expect(second.stderr).toContain(part);
  });

  test('names the port that is in use', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => {
      taken.close();
    });
    await new Promise((resolve) => taken.once('listening', resolve));
    const address = `127.0.0.1:${(taken.address() as { port: number }).port}`;
    for (const doors of [
      ['--grpc', address, '--http', 'off'],
      ['--grpc', 'off', '--http', address],
    ]) {
      const { exitCode, stdout, stderr } = await cli(['serve', '--data-dir', tempDir(), ...doors]);
      expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
      const lines = stderr.trimEnd().split('\n');
      expect(lines.pop()).toBe(`keybalancer: cannot listen on ${address}: the port is in use by another program`);
      // Above it is the log, and no library's own words in it.
      for (const line of lines) expect(JSON.parse(line)).toMatchObject({ name: 'keybalancer' });
    }
  });

  test('refuses an address that others can reach before it makes anything, and takes it with --insecure', async () => {
    const dataDir = join(tempDir(), 'data');
    const doors = ['--data-dir', dataDir, '--grpc', '0.0.0.0:0', '--http', 'off'];
    const refused = await cli(['serve', ...doors]);
    expect(refused).toMatchObject({ exitCode: 1, stdout: '' });
    expect(refused.stderr).toMatch(/^keybalancer: --grpc 0\.0\.0\.0:0 can be reached.*TLS.*--insecure.*\n$/);
    expect(existsSync(dataDir)).toBe(false);
    const open = new Cli(['serve', ...doors], { env: { KEYBALANCER_INSECURE: '1' } });
    await firstLine(open);
    expect(open.log()).toContainEqual(
      expect.objectContaining({
        level: 'warn',
        exposed: ['--grpc 0.0.0.0:0'],
        msg: expect.stringContaining('plain text'),
      }),
    );
  });

  test('shows no master key that cannot be used, and leaves a fresh data dir fresh', async () => {
    const dataDir = join(tempDir(), 'data');
    const env = { KEYBALANCER_MASTER_KEY: 'not-a-master-key-at-all' };
    const refused = await cli(['serve', '--data-dir', dataDir], { env });
    expect(refused).toMatchObject({
      exitCode: 1,
      stdout: '',
      stderr: expect.stringContaining('KEYBALANCER_MASTER_KEY'),
    });
    expect(refused.stderr).not.toContain('not-a-master-key');
    const missing = await cli(['serve', '--data-dir', dataDir, '--master-key-file', join(dataDir, 'no')]);
    expect(missing).toMatchObject({ exitCode: 1, stderr: expect.stringContaining(join(dataDir, 'no')) });
    expect(existsSync(dataDir)).toBe(false);
  });
});

describe('beside a server', () => {
  test('the commands find it by address, by the environment and by the socket of its data dir', async () => {
    const dataDir = tempDir();
    const served = await startServe(dataDir);
    const add = await cliHere(['add-key', '-', '--address', served.grpc], { input: key(1) });
    const imported = await cliHere(['import', '-'], {
      input: `${key(2)}\n${key(3)}\n`,
      env: { KEYBALANCER_ADDRESS: served.grpc },
    });
    expect([add.exitCode, imported.exitCode]).toEqual([0, 0]);
    const several = await cliHere(['version', '--address', `127.0.0.1:1,${served.grpc}`]);
    expect(several.stdout).toContain(`at 127.0.0.1:1, ${served.grpc}`);
    const stats = await cliHere(['stats'], { env: { KEYBALANCER_DATA_DIR: dataDir } });
    expect(stats).toMatchObject({ exitCode: 0, stderr: '' });
    expect(stats.stdout).toContain(`where\tunix:${join(dataDir, 'keybalancer.sock')}`);
    expect(stats.stdout).toContain('default\t3\t3');
    served.child.kill('SIGTERM');
    const { stdout, stderr } = await served.ended;
    expect(add.stdout + imported.stdout + stats.stdout + stdout + stderr).not.toMatch(/AQ\.test-key/);
  });

  test('health tells what rests, why and until when, and fails when nothing is left', async () => {
    const served = await startServe(tempDir());
    const balancer = await connect({ address: served.grpc });
    onTestFinished(() => balancer.close());
    await balancer.keyBalancer.importKeys({ keys: [{ apiKey: key(1) }, { apiKey: key(2) }] });
    const health = (...args: string[]) => cliHere(['health', '--address', served.grpc, ...args]);

    const restOne = async (): Promise<void> => {
      const { lease } = await balancer.keyBalancer.acquireKey({});
      const error = { httpStatus: 429, status: 'RESOURCE_EXHAUSTED', retryDelay: { seconds: 600n } };
      await balancer.keyBalancer.reportResult({ leaseId: lease?.leaseId ?? '', outcome: Outcome.FAILURE, error });
    };
    await restOne();
    const half = await health('--json');
    expect(half).toMatchObject({ exitCode: 0, stderr: '' });
    const report = JSON.parse(half.stdout);
    expect(report).toMatchObject({
      healthy: true,
      where: served.grpc,
      pools: [{ pool: 'default', healthy: true, totalKeys: 2, availableKeys: 1, coolingKeys: 1 }],
      resting: [
        { pool: 'default', state: 'KEY_STATE_COOLING', cause: expect.stringMatching(/^ERROR_CLASS_/), keys: 1 },
      ],
    });
    const left = Date.parse(report.resting[0].firstBack) - Date.now();
    expect(left).toBeGreaterThan(500_000);
    expect(left).toBeLessThan(660_000);

    await restOne();
    const none = await health();
    expect(none.exitCode).toBe(1);
    expect(none.stdout).toMatch(/^default\t2\t0\t2\t0\t0\t0\t0\tno key available$/m);
    expect(none.stdout).toMatch(/^default\t2\tcooling\t.*left\)$/m);
    expect(none.stderr).toBe('keybalancer: pool default has no available key (2 keys resting or disabled)\n');
  });

  test('a command loads neither the engine nor the store', async () => {
    const served = await startServe(tempDir());
    const hook = `import { registerHooks } from 'node:module';
      registerHooks({ load: (url, context, next) => (process.stderr.write(url + '\\n'), next(url, context)) });`;
    const NODE_OPTIONS = `--import data:text/javascript;base64,${Buffer.from(hook).toString('base64')}`;
    const { stderr } = await cli(['stats', '--address', served.grpc], { env: { NODE_OPTIONS } });
    expect(stderr).toContain('/src/client/remote.js\n');
    expect(stderr).not.toMatch(/sqlite|\/src\/server\/service\/|\/src\/engine\/engine/);
  });

  test('that does not answer, the exit code is 3', async () => {
    expect(await cliHere(['stats', '--address', '127.0.0.1:1'])).toMatchObject({
      exitCode: 3,
      stdout: '',
      stderr: expect.stringMatching(/^keybalancer: no KeyBalancer answers at 127\.0\.0\.1:1/),
    });
  });

  test('at the HTTP port, a hint says which port is wanted', async () => {
    const served = await startServe(tempDir());
    expect(await cliHere(['stats', '--address', served.http])).toMatchObject({
      exitCode: 3,
      stdout: '',
      stderr: expect.stringMatching(/is it the HTTP port\?\)\n$/),
    });
  });

  test('a reader of the list that has seen enough is no failure', async () => {
    const served = await startServe(tempDir());
    const keys = Array.from({ length: 3_000 }, (_, n) => ({ apiKey: key(n) }));
    const balancer = await connect({ address: served.grpc });
    onTestFinished(() => balancer.close());
    await balancer.keyBalancer.importKeys({ keys });
    const list = new Cli(['list', '--address', served.grpc]);
    await firstLine(list);
    list.child.stdout.destroy();
    expect(await list.ended).toMatchObject({ exitCode: 0, stderr: '' });
  });

  test('an import that is interrupted says so, and what came before is there', async () => {
    const served = await startServe(tempDir());
    const importing = new Cli(['import', '-', '--address', served.grpc]);
    importing.child.stdin.write(Array.from({ length: 5_000 }, (_, n) => `${key(n)}\n`).join(''));
    const total = async (): Promise<number> => {
      const { stdout } = await cliHere(['stats', '--address', served.grpc, '--json']);
      return Number(JSON.parse(stdout).total.totalKeys);
    };
    await expect.poll(total, { interval: 100 }).toBe(4_000);
    importing.child.kill('SIGINT');
    const { exitCode, stdout, stderr } = await importing.ended;
    expect(exitCode).toBe(130);
    expect(stdout).toContain('4000 new');
    expect(stderr).toBe('keybalancer: interrupted\n');
    expect(await total()).toBe(4_000);
  });
});
