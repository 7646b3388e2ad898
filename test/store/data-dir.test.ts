import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DataDirInUseError, readOwner, socketPath } from '../../src/store/data-dir.ts';
import { openJournal } from '../../src/store/sqlite/open-journal.ts';
import { JournalChild } from '../support/journal-child.ts';
import { loadAll } from '../support/journals.ts';
import { leaseRow } from '../support/rows.ts';
import { tempDir } from '../support/temp-dir.ts';

const open = (dataDir: string) => openJournal({ dataDir, durability: 'full' });

describe('data dir', () => {
  test('is made with its parents, for its owner only, and so is all that is in it', async () => {
    const dataDir = join(tempDir(), 'a', 'b');
    const journal = await open(dataDir);
    await journal.commit({ leases: [leaseRow(1, 1)] });
    await journal.announce({ grpc: '127.0.0.1:1' });
    expect(statSync(dataDir).mode & 0o777).toBe(0o700);
    const modes = readdirSync(dataDir).map((name) => [name, (statSync(join(dataDir, name)).mode & 0o777).toString(8)]);
    expect(Object.fromEntries(modes)).toEqual({
      'keybalancer.db': '600',
      'keybalancer.db-wal': '600',
      'owner.json': '600',
    });
    await journal.close();
  });

  test('that is a file, or is under one, is refused by name', async () => {
    const file = join(tempDir(), 'file');
    writeFileSync(file, '');
    for (const dataDir of [file, join(file, 'below')]) {
      await expect(open(dataDir)).rejects.toMatchObject({
        name: 'DataDirError',
        message: `data dir ${dataDir} cannot be made: a file is in the way`,
      });
    }
  });

  test('whose database is none is refused by name, and nothing is done to it', async () => {
    const dataDir = tempDir();
    writeFileSync(join(dataDir, 'keybalancer.db'), 'these are my notes'.repeat(1000));
    await expect(open(dataDir)).rejects.toMatchObject({
      name: 'DataDirError',
      message: expect.stringContaining(`${dataDir} cannot be opened: file is not a database`),
    });
    expect(statSync(join(dataDir, 'keybalancer.db')).size).toBe(18_000);
  });

  test('whose database is a directory is refused by name', async () => {
    const dataDir = tempDir();
    mkdirSync(join(dataDir, 'keybalancer.db'));
    await expect(open(dataDir)).rejects.toMatchObject({
      name: 'DataDirError',
      message: expect.stringContaining(dataDir),
    });
  });

  test('says where its owner listens, until the owner closes it', async () => {
    const dataDir = tempDir();
    const journal = await open(dataDir);
    expect(readOwner(dataDir)).toMatchObject({ pid: process.pid });
    await journal.announce({ grpc: '127.0.0.1:50051', http: '127.0.0.1:8051', socket: '/run/kb.sock' });
    expect(readOwner(dataDir)).toMatchObject({
      pid: process.pid,
      startTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      grpc: '127.0.0.1:50051',
      http: '127.0.0.1:8051',
      socket: '/run/kb.sock',
    });
    await journal.close();
    expect(readOwner(dataDir)).toBeUndefined();
    expect(readdirSync(dataDir)).toEqual(['keybalancer.db']);
  });

  test('knows no owner from a file that says none', () => {
    const dataDir = tempDir();
    writeFileSync(join(dataDir, 'owner.json'), '{"pid":');
    expect(readOwner(dataDir)).toBeUndefined();
  });

  test('has a socket path only if a socket can have it', () => {
    const name = '/keybalancer.sock';
    const longest = `/${'d'.repeat(106 - name.length)}`;
    expect(socketPath(longest)).toBe(longest + name);
    expect(socketPath(`${longest}d`)).toBeUndefined();
    // Counted in bytes: each of these letters is two.
    expect(socketPath(`/${'ü'.repeat(53)}`)).toBeUndefined();
  });
});

describe('ownership', () => {
  test('a second owner is refused with the pid and addresses of the first', async () => {
    const dataDir = tempDir();
    const first = new JournalChild();
    expect(await first.say({ open: dataDir })).toEqual({ done: 1 });
    await first.say({ announce: { grpc: '127.0.0.1:50051' } });
    const refused = await open(dataDir).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(DataDirInUseError);
    expect((refused as DataDirInUseError).owner).toMatchObject({ pid: first.process.pid, grpc: '127.0.0.1:50051' });
    expect((refused as Error).message).toBe(
      `data dir ${dataDir} is in use by process ${first.process.pid} (127.0.0.1:50051); stop it, or use its address`,
    );
    expect(await first.say({ commit: { revision: 1 } })).toEqual({ done: 1 });
  });

  test('a second owner of the same process is refused too', async () => {
    const dataDir = tempDir();
    const journal = await open(dataDir);
    await expect(open(dataDir)).rejects.toThrow(`process ${process.pid}`);
    await journal.commit({ revision: 1 });
    await journal.close();
  });

  test('passes on when the owner closes', async () => {
    const dataDir = tempDir();
    const first = new JournalChild();
    await first.say({ open: dataDir });
    await first.say({ close: true });
    const second = await open(dataDir);
    expect(second.boot).toBe(2);
    await second.close();
  });

  test('passes on when the owner is killed, with all that it had committed', async () => {
    const dataDir = tempDir();
    const first = new JournalChild();
    await first.say({ open: dataDir });
    for (let seq = 1; seq <= 20; seq++) await first.say({ commit: { leases: [leaseRow(1, seq)] } });
    await first.kill();
    expect(readOwner(dataDir)).toMatchObject({ pid: first.process.pid });
    const second = await open(dataDir);
    expect(readOwner(dataDir)).toMatchObject({ pid: process.pid });
    expect((await loadAll(second)).leases).toHaveLength(20);
    await second.close();
  });

  test('is never had by two, however they race for it', async () => {
    const rivals = [new JournalChild(), new JournalChild(), new JournalChild()];
    for (let round = 0; round < 8; round++) {
      const dataDir = tempDir();
      const replies = await Promise.all(rivals.map((rival) => rival.say({ open: dataDir })));
      const owners = rivals.filter((_, index) => 'done' in replies[index]!);
      expect(owners.length).toBeLessThanOrEqual(1);
      for (const reply of replies) if ('error' in reply) expect(reply.error).toBe('DataDirInUseError');
      for (const owner of owners) expect(await owner.say({ close: true })).toMatchObject({ done: 1 });
    }
  });
});
