import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { secretInFile } from '../../src/cli/read-secret.ts';
import { cli } from '../support/cli.ts';
import { tempDir } from '../support/temp-dir.ts';

test('row 2: a key is added from a variable or from a file, and shown nowhere', async () => {
  const dir = tempDir();
  const env = { KEYBALANCER_DATA_DIR: join(dir, 'data'), GEMINI_API_KEY: 'AQ.test-key-000001' };
  const file = join(dir, 'key');
  writeFileSync(file, 'AQ.test-key-000002\n');
  const fromEnv = await cli(['add-key', '--from-env', 'GEMINI_API_KEY'], { env });
  const fromFile = await cli(['add-key', '--from-file', file], { env });
  expect([fromEnv.exitCode, fromFile.exitCode]).toEqual([0, 0]);
  const said = fromEnv.stdout + fromEnv.stderr + fromFile.stdout + fromFile.stderr;
  expect(said).not.toContain('AQ.');
  expect(said).not.toContain('history of the shell');
});

test.each([
  ['has two lines', 'AQ.a\nAQ.b\n', '2 lines in the file of --from-file, where one API key is expected'],
  ['is empty', '\n', 'no API key in the file of --from-file'],
  ['is long', 'AQ.'.repeat(10_000), '--from-file is longer than any API key'],
])('a file that %s is refused', (_, content, says) => {
  const file = join(tempDir(), 'key');
  writeFileSync(file, content);
  expect(() => secretInFile(file, '--from-file', 'API key')).toThrow(says);
});

test('a file that cannot be read is refused with why', () => {
  expect(() => secretInFile(tempDir(), '--from-file', 'API key')).toThrow('--from-file cannot be read: EISDIR');
});
