import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadMasterKey, MasterKeyError } from '../../src/store/master-key.ts';
import { openStore } from '../../src/store/open-store.ts';
import { acquireOrder, createKeyOrder } from '../support/orders.ts';
import { tempDir } from '../support/temp-dir.ts';

const KEY = Buffer.from(Array.from({ length: 32 }, (_, index) => 200 + index));
const API_KEY = 'AQ.master-key-test-0001';

describe('master key', () => {
  test.each([
    ['hexadecimal', KEY.toString('hex')],
    ['upper case', KEY.toString('hex').toUpperCase()],
    ['base64', KEY.toString('base64')],
    ['base64 without padding', KEY.toString('base64').replace('=', '')],
    ['base64url', KEY.toString('base64url')],
    ['a line', `${KEY.toString('base64')}\r\n`],
  ])('is read from a value in %s', (_, value) => {
    expect(loadMasterKey(tempDir(), { value }, false)).toEqual({
      key: KEY,
      createdFile: undefined,
      looseFile: undefined,
    });
  });

  test.each([
    ['nothing', ''],
    ['31 bytes', KEY.subarray(1).toString('base64')],
    ['33 bytes', Buffer.concat([KEY, KEY.subarray(0, 1)]).toString('base64')],
    ['63 digits', KEY.toString('hex').slice(1)],
    ['65 digits', `${KEY.toString('hex')}0`],
    ['something else', 'correct horse battery staple, correct horse!'],
  ])('is refused when its value is %s, without showing it', (_, value) => {
    const error = (() => {
      try {
        return loadMasterKey(tempDir(), { value }, true);
      } catch (thrown) {
        return thrown as Error;
      }
    })();
    expect(error).toBeInstanceOf(MasterKeyError);
    expect((error as Error).message).toContain('KEYBALANCER_MASTER_KEY');
    if (value !== '') expect((error as Error).message).not.toContain(value.slice(0, 8));
  });

  test('is read from a file, with a word if others can read it', () => {
    const dataDir = tempDir();
    const file = join(tempDir(), 'secret');
    writeFileSync(file, `${KEY.toString('hex')}\n`, { mode: 0o600 });
    expect(loadMasterKey(dataDir, { file }, false)).toEqual({ key: KEY, createdFile: undefined, looseFile: undefined });
    chmodSync(file, 0o640);
    expect(loadMasterKey(dataDir, { file }, false)).toMatchObject({ looseFile: file });
    expect(readdirSync(dataDir)).toEqual([]);
  });

  test('is never made in place of a file that was named', () => {
    const file = join(tempDir(), 'missing');
    expect(() => loadMasterKey(tempDir(), { file }, true)).toThrow(`master key file ${file} cannot be read`);
  });

  test('of a file that is a directory, or holds something else, is refused by path only', () => {
    const dir = tempDir();
    mkdirSync(join(dir, 'd'));
    expect(() => loadMasterKey(dir, { file: join(dir, 'd') }, true)).toThrow(join(dir, 'd'));
    const file = join(dir, 'f');
    writeFileSync(file, 'hunter2-hunter2');
    expect(() => loadMasterKey(dir, { file }, true)).toThrow(
      `the master key of ${file} is not 64 hexadecimal digits, nor base64 of 32 bytes`,
    );
  });

  test('is made once, for its owner only, and read from then on', () => {
    const dataDir = tempDir();
    const made = loadMasterKey(dataDir, {}, true);
    const path = join(dataDir, 'master.key');
    expect(made.createdFile).toBe(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(loadMasterKey(dataDir, {}, false)).toEqual({ key: made.key, createdFile: undefined, looseFile: undefined });
    expect(loadMasterKey(tempDir(), {}, true).key).not.toEqual(made.key);
  });

  test('that is missing where keys were sealed is not made anew', () => {
    const dataDir = tempDir();
    expect(() => loadMasterKey(dataDir, {}, false)).toThrow(`${join(dataDir, 'master.key')} is missing`);
    expect(readdirSync(dataDir)).toEqual([]);
  });
});

describe('a store and its master key', () => {
  const options = (dataDir: string, value: Buffer) => ({
    dataDir,
    durability: 'normal' as const,
    masterKey: { value: value.toString('hex') },
  });

  test('belong together: another key is refused at the start, and the right one still opens it', async () => {
    const dataDir = tempDir();
    const first = await openStore(options(dataDir, KEY));
    await first.createKey(createKeyOrder(API_KEY));
    await first.close();
    await expect(openStore(options(dataDir, Buffer.alloc(32)))).rejects.toMatchObject({
      name: 'MasterKeyError',
      message: expect.stringContaining('not the one'),
    });
    const again = await openStore(options(dataDir, KEY));
    expect((await again.acquire(acquireOrder())).apiKey).toBe(API_KEY);
    await again.close();
  });

  test('warn once about the key they made', async () => {
    const dataDir = tempDir();
    const warnings: string[] = [];
    const open = () =>
      openStore({ dataDir, durability: 'normal', masterKey: {}, warn: (message) => warnings.push(message) });
    await (await open()).close();
    await (await open()).close();
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(join(dataDir, 'master.key'));
    expect(warnings[0]).not.toContain(readFileSync(join(dataDir, 'master.key'), 'utf8').trim());
  });

  test('a store whose master.key is gone is refused, and makes no other', async () => {
    const dataDir = tempDir();
    const first = await openStore(options(dataDir, KEY));
    await first.createKey(createKeyOrder(API_KEY));
    await first.close();
    await expect(openStore({ dataDir, durability: 'normal', masterKey: {} })).rejects.toThrow('master.key is missing');
    expect(readdirSync(dataDir)).toEqual(['keybalancer.db']);
  });
});
