import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { tempDir } from '../support/temp-dir.ts';

const CLIENT = new URL('../../src/client/index.ts', import.meta.url).href;

test('a data dir opens in a program whatever flags Node runs it with, one given on the command line too', async () => {
  const program = `
    const { connect } = await import(${JSON.stringify(CLIENT)});
    const balancer = await connect({ dataDir: ${JSON.stringify(tempDir())} });
    await balancer.keyAdmin.createKey({ apiKey: 'AQ.test-of-flags' });
    await balancer.close();
    console.log('stored');
  `;
  const flags = ['--expose-gc', '--input-type=module', '-e', program];
  const { stdout } = await promisify(execFile)(process.execPath, flags);
  expect(stdout).toBe('stored\n');
});
