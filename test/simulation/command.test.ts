import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { HELP, readOptions } from '../../simulation/options.ts';

const MAIN = fileURLToPath(new URL('../../simulation/main.ts', import.meta.url));

test('the command has a day of its own, and takes another', () => {
  expect(readOptions([])).toEqual({ seed: 1, window: 'sliding', json: false, out: '', help: false });
  expect(readOptions(['--seed', '7', '--window', 'aligned', '--json', '--out', 'a.svg'])).toEqual({
    seed: 7,
    window: 'aligned',
    json: true,
    out: 'a.svg',
    help: false,
  });
});

test.each([
  [['--seed', '1.5'], '--seed is "1.5"; allowed: a whole number from 0 to 4294967295'],
  [['--seed', ''], '--seed is ""'],
  [['--seed=-1'], '--seed is "-1"'],
  [['--window', 'round'], '--window is "round"; allowed: sliding, aligned'],
])('%j is refused with what is allowed', (args, message) => {
  expect(() => readOptions(args)).toThrow(message);
});

test('help comes at once, and a wrong option ends with 1 and its reason on standard error', () => {
  const command = (...args: string[]) => spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
  expect(command('--help')).toMatchObject({ status: 0, stdout: HELP, stderr: '' });
  expect(command('--window', 'round')).toMatchObject({ status: 1, stdout: '' });
  expect(command('--window', 'round').stderr).toMatch(/^simulate: --window is "round"/);
});
