/**
 * Writes docs/demo.svg, docs/monitor.svg and docs/health.svg (or into the directory that is named): the demo, and the command line that
 * looks at its server, as they are in a terminal. Needs tmux. Takes half a minute.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as after } from 'node:timers/promises';
import { promisify } from 'node:util';
import { terminalPicture } from './terminal-picture.ts';

const ROOT = resolve(import.meta.dirname, '..');
const TARGET = process.argv[2] ?? join(ROOT, 'docs');
const SECONDS = 30;
const PATIENCE_MS = 120_000;

const dir = mkdtempSync(join(tmpdir(), 'kb-'));
const socket = join(dir, 'tmux');

async function tmux(...args: string[]): Promise<string> {
  return (await promisify(execFile)('tmux', ['-S', socket, '-f', '/dev/null', ...args])).stdout;
}

/** A terminal of its own for a program, under a name. */
async function open(name: string, columns: number, ...command: string[]): Promise<void> {
  await tmux(
    'new-session',
    '-d',
    '-x',
    String(columns),
    '-y',
    '30',
    '-s',
    name,
    '-e',
    `TMPDIR=${dir}`,
    '-e',
    'TERM=xterm-256color',
    ...command,
  );
  await tmux('set-option', '-t', name, 'remain-on-exit', 'on');
  await tmux('set-option', '-t', name, 'status', 'off');
}

/** What a terminal has shown once it shows something, with its colours: tmux scrolls it up a line where its program has ended. */
async function screen(name: string, shows: RegExp): Promise<string> {
  let text = '';
  const look = async (): Promise<string | undefined> => {
    text = await tmux('capture-pane', '-p', '-t', name);
    return shows.test(text) ? tmux('capture-pane', '-p', '-e', '-S', '-', '-t', name) : undefined;
  };
  return until(() => `${name} shows ${shows}, and not\n${text}`, look);
}

async function until<T>(what: () => string, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (const end = performance.now() + PATIENCE_MS; performance.now() < end; await after(100)) {
    const seen = await look();
    if (seen !== undefined) return seen;
  }
  throw new Error(`waited in vain: ${what()}`);
}

/** Of the demo's server, which is in the only directory that it makes; under a short name. */
function dataDir(): string | undefined {
  const demo = readdirSync(dir).find((name) => name.startsWith('keybalancer-demo-'));
  if (demo === undefined) return undefined;
  const sockets = readdirSync(join(dir, demo), { recursive: true, encoding: 'utf8' });
  const found = sockets.find((name) => name.endsWith('keybalancer.sock'));
  if (found === undefined) return undefined;
  const short = join(dir, 'keybalancer');
  symlinkSync(resolve(dir, demo, found, '..'), short);
  return short;
}

function write(name: string, picture: string, title: string): void {
  writeFileSync(join(TARGET, name), terminalPicture(picture.replaceAll(dir, '/var/lib'), title));
  process.stdout.write(`${join(TARGET, name)}\n`);
}

if (!existsSync(TARGET)) throw new Error(`${TARGET} does not exist; allowed: a directory to write pictures into`);
try {
  const main = join(ROOT, 'src/cli/main.ts');
  await open('demo', 100, process.execPath, join(ROOT, 'demo/main.ts'), '--seconds', String(SECONDS));
  const data = await until(() => 'the demo has a server', dataDir);
  await open('monitor', 120, process.execPath, main, 'monitor', '--data-dir', data);
  write('demo.svg', await screen('demo', / 2\d of \d+ s/), 'npm run demo: backends, keys, and what Gemini answers');
  write(
    'monitor.svg',
    await screen('monitor', /quarantined(?:.*\n)*.*EVENTS/),
    'keybalancer monitor: pools, rates, what rests and until when',
  );
  await open('health', 240, process.execPath, main, 'health', '--data-dir', data);
  const health = await screen('health', /default(?:.*\n)*Pane is dead/);
  write('health.svg', health.replace(/\s*Pane is dead.*/, ''), 'keybalancer health: what rests, why, and until when');
} finally {
  await tmux('kill-server').catch(() => {});
  rmSync(dir, { recursive: true, force: true, maxRetries: 20 });
}
