import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MAIN } from '../support/build.ts';
import { cliHere } from '../support/cli-here.ts';
import { INHERITED } from '../support/inherited.ts';
import { dirOfNobody, lackOfNobody, NOBODY } from '../support/other-user.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';

const reason = lackOfNobody();

const KEY = 'AQ.test-key-000001';

const start = (dataDir: string, env = {}): Promise<ServerProcess> =>
  ServerProcess.start({ dataDir, user: NOBODY, more: ['--verify', 'off'], env });

async function serverWithKey(dataDir: string): Promise<ServerProcess> {
  const server = await start(dataDir);
  expect(await cliHere(['add-key', '-', '--data-dir', dataDir], { input: KEY })).toMatchObject({ exitCode: 0 });
  return server;
}

const ownersIn = (dir: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(dir).map((name) => {
      const { uid, gid, mode } = statSync(join(dir, name));
      return [name, `${uid}:${gid} ${(mode & 0o777).toString(8)}`];
    }),
  );

const NOBODYS = `${NOBODY.uid}:${NOBODY.gid} 600`;

describe.skipIf(reason !== '')('root, in the data dir of another user,', () => {
  test('is refused before anything is made there, so that its server starts, through which root may do all', async () => {
    const dataDir = dirOfNobody();
    const refusal = expect.stringMatching(
      new RegExp(
        `^keybalancer: data dir ${dataDir} belongs to user 65534, .* start its server first, .* as user 65534\n$`,
      ),
    );
    expect(await cliHere(['import', '-', '--data-dir', dataDir], { input: KEY })).toEqual({
      exitCode: 1,
      stdout: '',
      stderr: refusal,
    });
    expect(await ServerProcess.fail({ dataDir })).toMatchObject({ code: 1, stderr: refusal });
    expect(readdirSync(dataDir)).toEqual([]);

    const server = await serverWithKey(dataDir);
    expect(await server.stop()).toMatchObject({ code: 0 });
    for (const command of [['list'], ['check'], ['backup', join(tempDir(), 'copy.db')]]) {
      const { exitCode, stderr } = await cliHere([...command, '--data-dir', dataDir]);
      expect([exitCode, stderr]).toEqual([1, expect.stringContaining('belongs to user 65534')]);
    }
    const doctor = await cliHere(['doctor', '--data-dir', dataDir, '--gemini-base-url', 'http://127.0.0.1:1']);
    expect(doctor.stdout).toMatch(/^warning\tpermissions\t\S+ belongs to user 65534, and you are user 0/m);
    expect(doctor.stdout).not.toMatch(/\tdatabase\t/);
    expect(ownersIn(dataDir)).toEqual({ 'keybalancer.db': NOBODYS, 'master.key': NOBODYS });
    await start(dataDir);
    expect((await cliHere(['list', '--data-dir', dataDir])).stdout).toContain('key-00000001');
  });

  test('restores a backup whose files belong to that user, also where root had taken them or there were none', async () => {
    const dataDir = dirOfNobody();
    const backup = join(dataDir, 'backup.db');
    const server = await serverWithKey(dataDir);
    expect(await cliHere(['backup', backup, '--data-dir', dataDir])).toMatchObject({ exitCode: 0 });
    await server.stop();
    chownSync(join(dataDir, 'keybalancer.db'), 0, 0);
    const restore = ['restore', backup, '--confirm', '--json', '--data-dir'];
    const restored = await cliHere([...restore, dataDir]);
    expect(restored).toMatchObject({ exitCode: 0, stderr: '' });
    expect(ownersIn(dataDir)).toMatchObject({ 'keybalancer.db': NOBODYS, 'master.key': NOBODYS });
    expect(JSON.parse(restored.stdout)).toMatchObject({ keys: 1, replaced: expect.any(String) });
    await start(dataDir);

    const empty = dirOfNobody();
    copyFileSync(join(dataDir, 'master.key'), join(empty, 'master.key'));
    chownSync(join(empty, 'master.key'), NOBODY.uid, NOBODY.gid);
    expect(await cliHere(['check', backup, '--data-dir', empty])).toMatchObject({ exitCode: 0 });
    expect(ownersIn(empty)).toEqual({ 'keybalancer.db': NOBODYS, 'master.key': NOBODYS });
    expect(await cliHere([...restore, empty])).toMatchObject({ exitCode: 0, stderr: '' });
    expect(ownersIn(empty)).toEqual({ 'keybalancer.db': NOBODYS, 'master.key': NOBODYS });
    await start(empty);
    expect((await cliHere(['list', '--data-dir', empty])).stdout).toContain('key-00000001');
  });
});

describe.skipIf(reason !== '')('a server of another user', () => {
  test('says where it may not write a backup, and writes it there once it may', async () => {
    const dataDir = dirOfNobody();
    await serverWithKey(dataDir);
    const closed = tempDir();
    const file = join(closed, 'backup.db');
    const refused = {
      exitCode: 1,
      stdout: '',
      stderr: `keybalancer: no copy could be made in ${closed} by user 65534: permission denied\n`,
    };
    for (let time = 1; time <= 2; time++) {
      expect(await cliHere(['backup', file, '--data-dir', dataDir])).toEqual(refused);
    }
    const below = await cliHere(['backup', join(closed, 'below/backup.db'), '--data-dir', dataDir]);
    expect(below.stderr).toBe(refused.stderr.replace(closed, join(closed, 'below')));
    expect(readdirSync(closed)).toEqual([]);

    chownSync(closed, NOBODY.uid, NOBODY.gid);
    expect(await cliHere(['backup', file, '--data-dir', dataDir])).toMatchObject({ exitCode: 0, stderr: '' });
    expect(ownersIn(closed)).toEqual({ 'backup.db': NOBODYS });
  });

  test('warns of a master key of root that everybody can read, and not of one that its group can, as Kubernetes gives it', async () => {
    const dir = tempDir();
    chmodSync(dir, 0o755);
    const file = join(dir, 'master.key');
    writeFileSync(file, 'ab'.repeat(32));
    chownSync(file, 0, NOBODY.gid);
    const dataDir = dirOfNobody();
    const env = { KEYBALANCER_MASTER_KEY_FILE: file };
    for (const [mode, loose] of [
      [0o440, false],
      [0o444, true],
    ] as const) {
      chmodSync(file, mode);
      const server = await start(dataDir, env);
      const doctor = spawnSync(process.execPath, [MAIN, 'doctor', '--gemini-base-url', 'http://127.0.0.1:1'], {
        ...NOBODY,
        cwd: '/',
        env: { ...INHERITED, ...env, HOME: dataDir, KEYBALANCER_DATA_DIR: dataDir },
        encoding: 'utf8',
      });
      await server.stop();
      expect(server.stderr.includes(`master key file ${file} can be read by other users; chmod it to 600`)).toBe(loose);
      expect(/^\w+\tpermissions\t([^\t\n]*)/m.exec(doctor.stdout)?.[1]).toBe(
        loose ? `${file} is open to other users of this machine: mode 444` : 'nobody but its user can read it',
      );
    }
  });
});
