import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cliHere } from '../support/cli-here.ts';
import { dirWithKeys } from '../support/key-dirs.ts';
import { ServerProcess } from '../support/server-process.ts';
import { tempDir } from '../support/temp-dir.ts';

async function database(...at: string[]) {
  const { exitCode, stdout, stderr } = await cliHere(['db-info', '--json', ...at]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  return JSON.parse(stdout).database;
}

const NEVER = { schemaVersion: expect.any(Number), durability: 'full', lastBackup: null, lastCheck: null };
const IN_ORDER = { endTime: expect.stringMatching(/^\d{4}-/), problems: 0, keys: 2 };

test('db-info tells of the schema, the log, and the last backup and check, also after a restart', async () => {
  const dataDir = await dirWithKeys(2);
  const at = ['--data-dir', dataDir];
  expect(await database(...at)).toMatchObject({ ...NEVER, logBytes: expect.any(Number) });
  const server = await ServerProcess.start({ dataDir, durability: 'normal' });
  expect(await database(...at)).toMatchObject({ ...NEVER, durability: 'normal' });
  expect((await cliHere(['db-info', ...at])).stdout).toMatch(
    /\nlast backup\tnone; `keybalancer backup FILE` makes one\n/,
  );
  await cliHere(['check', ...at]);
  await cliHere(['backup', join(tempDir(), 'copy.db'), ...at]);
  expect(await database(...at)).toMatchObject({ lastBackup: IN_ORDER, lastCheck: IN_ORDER });
  expect(await database('--address', server.grpc)).toBeNull();
  await server.kill();
  expect(await database(...at)).toMatchObject({ lastBackup: IN_ORDER, lastCheck: IN_ORDER });
  expect((await cliHere(['db-info', ...at])).stdout).toMatch(/\nlast backup\t.* ago: in order, 2 keys\nlast check\t/);
});

test('a backup that could not be written is not remembered', async () => {
  const dataDir = await dirWithKeys(2);
  const at = ['--data-dir', dataDir];
  const failed = await cliHere(['backup', join(tempDir(), 'not', 'there.db'), ...at]);
  expect(failed).toMatchObject({ exitCode: 1, stdout: '' });
  expect(await database(...at)).toMatchObject(NEVER);
});
