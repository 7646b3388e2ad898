import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { cliHere } from '../support/cli-here.ts';
import { isInstalled } from '../support/programs.ts';
import { tempDir } from '../support/temp-dir.ts';

const COMMANDS = 'serve import add-key update-key list stats health monitor pool quota config completion'.split(' ');

const COMPLETE = fileURLToPath(new URL('../support/complete.bash', import.meta.url));

async function scriptFor(shell: string): Promise<string> {
  const { exitCode, stdout, stderr } = await cliHere(['completion', shell]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  const file = join(tempDir(), 'completion');
  writeFileSync(file, stdout);
  return file;
}

/** Line and what is offered for its last word; words that each must be among what is offered, and words that must not. */
const CASES: [string, string[], string[]][] = [
  ['', COMMANDS, ['--json']],
  ['sta', ['stats'], ['list']],
  ['pool ', ['list', 'show', 'create', 'update', 'delete'], ['serve', 'memory']],
  ['pool create x --sel', ['--selection'], ['--auto-success']],
  ['pool create x --selection ', ['weighted-lru', 'until-spent'], ['--json']],
  ['list --state q', ['quarantined'], ['available']],
  ['list --source pool --', ['--state', '--json', '--help'], ['--selection']],
  ['quota list --pr', ['--project'], ['--pool']],
  ['serve --durability ', ['full', 'normal'], ['--grpc']],
  ['completion ', ['bash', 'zsh', 'fish'], ['list']],
];

function inBash(script: string, lines: readonly string[], cwd = tempDir()): string[] {
  const out = execFileSync('bash', ['--norc', COMPLETE, script, ...lines], { cwd, encoding: 'utf8' });
  return out.split('\n').slice(0, -1);
}

test('bash completes commands, options and their words', async () => {
  const offers = inBash(
    await scriptFor('bash'),
    CASES.map(([line]) => line),
  );
  expectOffers(offers.map((line) => line.split(' ')));
});

test('bash completes what follows an equals sign, files and directories', async () => {
  const dir = tempDir();
  writeFileSync(join(dir, 'two words'), '');
  mkdirSync(join(dir, 'there'));
  const lines = ['serve --durability = n', 'serve --durability =', 'import t', 'list --data-dir t', 'list --pool t'];
  expect(inBash(await scriptFor('bash'), lines, dir)).toEqual([
    'normal',
    'full normal',
    'there two words',
    'there',
    '',
  ]);
});

const fish = isInstalled('fish');
if (!fish) process.stdout.write('skipped: completion in fish, which is not installed\n');

test.skipIf(!fish)('fish completes commands, options and their words', async () => {
  const script = await scriptFor('fish');
  const program = `source ${script}; for line in $argv; complete -C "keybalancer $line" | string split -f1 \\t | string join ' '; echo; end`;
  const out = execFileSync('fish', ['--no-config', '-c', program, ...CASES.map(([line]) => line)], {
    env: { PATH: process.env.PATH, HOME: tempDir() },
    encoding: 'utf8',
  });
  expectOffers(out.split('\n\n').map((offer) => offer.trim().split(/\s+/)));
});

function expectOffers(offers: string[][]): void {
  const missing = CASES.flatMap(([line, wanted, unwanted], i) => {
    const offered = offers[i] ?? [];
    const wrong = [
      ...wanted.filter((word) => !offered.includes(word)),
      ...unwanted.filter((word) => offered.includes(word)),
    ];
    return wrong.length === 0 ? [] : [{ line, wrong, offered }];
  });
  expect(missing).toEqual([]);
}

const zsh = isInstalled('zsh') && isInstalled('tmux');
if (!zsh) process.stdout.write('skipped: completion in zsh, which needs zsh and tmux\n');

describe.skipIf(!zsh)('zsh', () => {
  test('completes commands, options and their words as they are typed', async () => {
    const script = await scriptFor('zsh');
    const home = tempDir();
    writeFileSync(
      join(home, '.zshrc'),
      `autoload -Uz compinit && compinit -u -D\n. ${script}\nPS1='> '\nsetopt no_beep\n`,
    );
    const socket = join(home, 'tmux');
    const run = async (...args: string[]) => (await promisify(execFile)('tmux', ['-S', socket, ...args])).stdout;
    onTestFinished(async () => {
      await run('kill-server').catch(() => {});
    });
    const env = ['-e', `HOME=${home}`, '-e', `ZDOTDIR=${home}`];
    await run('-f', '/dev/null', 'new-session', '-d', '-x', '120', '-y', '60', ...env, 'zsh', '-i');
    const screen = () => run('capture-pane', '-p');
    await expect.poll(screen).toMatch(/^>$/m);
    const typed = async (line: string): Promise<void> => {
      await run('send-keys', 'C-u');
      await run('send-keys', '-l', `${line}`);
      await run('send-keys', 'Tab');
    };
    await typed('keybalancer expl');
    await expect.poll(screen).toMatch(/^> keybalancer explain\s*$/m);
    await typed('keybalancer pool ');
    await expect.poll(screen).toMatch(/create .*Add a pool[\s\S]*show .*Show one pool: its settings/);
    await typed('keybalancer pool create x --selection un');
    await expect.poll(screen).toMatch(/^> keybalancer pool create x --selection until-spent\s*$/m);
    await typed('keybalancer list --source pool --by');
    await expect.poll(screen).toMatch(/^> keybalancer list --source pool --by-source\s*$/m);
    await typed('keybalancer serve --durability=f');
    await expect.poll(screen).toMatch(/^> keybalancer serve --durability=full\s*$/m);
    await typed('keybalancer completion f');
    await expect.poll(screen).toMatch(/^> keybalancer completion fish\s*$/m);
  });
});

test.each([
  [['completion'], "missing required argument 'bash|zsh|fish'"],
  [['completion', 'tcsh'], 'SHELL is "tcsh"; allowed: bash, zsh, fish'],
])('%j is refused, with exit code 2', async (args, why) => {
  expect(await cliHere(args)).toEqual({ exitCode: 2, stdout: '', stderr: expect.stringContaining(why) });
});
