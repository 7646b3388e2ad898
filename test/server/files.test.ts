import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import { importKeys } from '../support/server-clients.ts';
import { type ServeOptions, ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Starts in vain; gives the one line that it says. */
async function complaint(options: ServeOptions): Promise<string> {
  const { code, stdout, stderr } = await ServerProcess.fail(options);
  expect({ code, stdout }, stderr).toEqual({ code: 1, stdout: '' });
  const lines = stderr
    .trim()
    .split('\n')
    .filter((line) => !line.startsWith('{'));
  expect(lines, stderr).toHaveLength(1);
  return lines[0]!;
}

describe('the data dir', () => {
  test('and all that is in it are for nobody else, whatever the umask and modes of before', async () => {
    const dataDir = join(tempDir(), 'deep', 'data');
    mkdirSync(dataDir, { recursive: true, mode: 0o755 });
    const server = await ServerProcess.start({ dataDir });
    await importKeys(server.connect(server.socket), 10);
    const modes = readdirSync(dataDir).map((name) => [name, (statSync(join(dataDir, name)).mode & 0o777).toString(8)]);
    expect(statSync(dataDir).mode & 0o777).toBe(0o700);
    expect(Object.fromEntries(modes)).toEqual({
      'keybalancer.db': '600',
      'keybalancer.db-wal': '600',
      'keybalancer.sock': '600',
      'master.key': '600',
      'owner.json': '600',
    });
    await server.stop();
    expect(readdirSync(dataDir).sort()).toEqual(['keybalancer.db', 'master.key']);
  });

  test('that is a file is refused', async () => {
    const dataDir = join(tempDir(), 'file');
    writeFileSync(dataDir, '');
    expect(await complaint({ dataDir })).toBe(`keybalancer: data dir ${dataDir} cannot be made: a file is in the way`);
  });

  test('that cannot be written is refused', async () => {
    const dataDir = tempDir();
    // Permissions do not hold root back: there a read-only mount has to.
    if (process.getuid!() === 0) {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'tmpfs', dataDir]);
      onTestFinished(() => void execFileSync('umount', [dataDir]));
      expect(await complaint({ dataDir })).toContain(
        `data dir ${dataDir} is not writable: the file system is read-only`,
      );
    } else {
      chmodSync(dataDir, 0o500);
      const inside = join(dataDir, 'inside');
      expect(await complaint({ dataDir: inside })).toContain(`data dir ${inside} cannot be made: permission denied`);
    }
  });

  test('of a newer version is refused, and left as it is', async () => {
    const dataDir = tempDir();
    const server = await ServerProcess.start({ dataDir });
    await importKeys(server.connect(), 3);
    await server.stop();
    const path = join(dataDir, 'keybalancer.db');
    const edit = (version: number): void => {
      const db = new Database(path);
      db.pragma(`user_version = ${version}`);
      db.close();
    };
    const db = new Database(path);
    const version = db.pragma('user_version', { simple: true }) as number;
    db.close();
    edit(version + 1);
    expect(await complaint({ dataDir })).toMatch(/newer/);
    edit(version);
    const again = await ServerProcess.start({ dataDir });
    expect((await again.connect().keyBalancer.getStats({})).total!.totalKeys).toBe(3n);
  });
});

describe('an address', () => {
  test.each(['grpc', 'http'] as const)('of --%s that is taken is refused by its name', async (door) => {
    const holder = createServer();
    holder.listen(0, '127.0.0.1');
    await once(holder, 'listening');
    onTestFinished(() => void holder.close());
    const address = `127.0.0.1:${(holder.address() as { port: number }).port}`;
    const line = await complaint({ dataDir: tempDir(), [door]: address });
    expect(line).toContain(address);
    expect(line).toMatch(/in use/);
  });

  test('that other machines can reach is refused without --insecure, before anything is made', async () => {
    const dataDir = join(tempDir(), 'data');
    const line = await complaint({ dataDir, grpc: '0.0.0.0:0' });
    expect(line).toContain('TLS');
    expect(line).toContain('--insecure');
    expect(() => statSync(dataDir)).toThrow();
    const server = await ServerProcess.start({ dataDir, grpc: '0.0.0.0:0', more: ['--insecure'] });
    expect(server.grpc).toMatch(/^0\.0\.0\.0:\d+$/);
  });
});
