import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import type { Figures } from '../../demo/verdict.ts';
import { tempDir } from '../support/temp-dir.ts';

const DEMO = fileURLToPath(new URL('../../demo/main.ts', import.meta.url));
/** What every key of the demo begins with. */
const KEY = 'AQ.demo';

interface Run {
  code: number | null;
  stdout: string;
  stderr: string;
  /** Where the demo put its files. */
  dir: string;
}

/** Runs the demo to its end, its output in pipes. `onOutput` gets all of standard output so far. */
function runDemo(
  args: readonly string[],
  onOutput: (stdout: string, signal: (name: NodeJS.Signals) => void) => void = () => {},
): Promise<Run> {
  const dir = tempDir();
  const demo = spawn(process.execPath, [DEMO, ...args], {
    env: { ...process.env, TMPDIR: dir },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void demo.kill('SIGTERM'));
  const run: Run = { code: null, stdout: '', stderr: '', dir };
  demo.stdout.setEncoding('utf8').on('data', (text: string) => {
    run.stdout += text;
    onOutput(run.stdout, (name) => demo.kill(name));
  });
  demo.stderr.setEncoding('utf8').on('data', (text: string) => {
    run.stderr += text;
  });
  return new Promise((resolve) => demo.once('close', (code) => resolve({ ...run, code })));
}

function listens(address: string): Promise<boolean> {
  const [host, port] = address.split(':') as [string, string];
  return new Promise((resolve) => {
    const socket = connect(Number(port), host);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    onTestFinished(() => void socket.destroy());
  });
}

test('the demo prints its figures as one JSON object, in which nothing is lost and all adds up', async () => {
  const { code, stdout, stderr, dir } = await runDemo(['--json', '--seconds', '6']);
  // 0: the counts of all sides agree, and keys got shares as near to their weights as so many picks can come (verdict.test.ts).
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout.trimEnd().split('\n')).toHaveLength(1);
  const figures = JSON.parse(stdout) as Figures;
  expect(Object.keys(figures)).toEqual([
    'calls',
    'succeeded',
    'failed',
    'retries',
    'lostReports',
    'shares',
    'keysByState',
  ]);
  // More than keys, however slow the machine is.
  expect(figures.calls).toBeGreaterThan(40);
  expect(figures.succeeded + figures.failed).toBe(figures.calls);
  expect(figures.lostReports).toBe(0);
  // Each of the six keys that are no good took a try from somebody, who got another key.
  expect(figures.retries).toBeGreaterThanOrEqual(6);
  const states = Object.values(figures.keysByState);
  expect(states.reduce((sum, count) => sum + count, 0)).toBe(40);
  // Suspended ones are disabled as soon as the server has asked Gemini about them, one a second.
  const { QUARANTINED = 0, DISABLED_AUTO = 0 } = figures.keysByState;
  expect(QUARANTINED + DISABLED_AUTO).toBe(6);
  expect(DISABLED_AUTO).toBeGreaterThan(0);

  expect(Object.keys(figures.shares).sort()).toEqual(['0.5', '1', '2']);
  const shares = Object.values(figures.shares);
  expect(shares.reduce((sum, { wanted }) => sum + wanted, 0)).toBeCloseTo(1, 3);
  expect(shares.reduce((sum, { got }) => sum + got, 0)).toBeCloseTo(1, 3);

  expect(stdout).not.toContain(KEY);
  expect(readdirSync(dir)).toEqual([]);
});

test('where standard output is no terminal the demo tells what happens in plain lines, and sums it up', async () => {
  const { code, stdout, stderr, dir } = await runDemo(['--seconds', '4']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/^ +\d+\.\d s {2}keybalancer import keys\.txt: 40 new keys$/m);
  expect(stdout).toMatch(/^ +\d+\.\d s {2}key \d\d rests: the key was refused as invalid, \d+ s$/m);
  expect(stdout).toMatch(/^[\d,]+ calls of Gemini with 40 keys: [\d,]+ succeeded, 0 reports lost$/m);
  for (const part of ['What ran', 'What failed', 'Leases by weight', 'Keys at the end', 'Checked']) {
    expect(stdout).toContain(`\n${part}`);
  }
  expect(stdout).not.toContain('  NO  ');
  expect(stdout).not.toContain('\x1b');
  expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
  expect(stdout).not.toContain(KEY);
  expect(readdirSync(dir)).toEqual([]);
});

test('a demo that is interrupted leaves no file and nobody who listens', async () => {
  let interrupted = false;
  const { code, stdout, stderr, dir } = await runDemo(['--seconds', '60'], (sofar, signal) => {
    if (interrupted || !sofar.includes('backends call Gemini')) return;
    interrupted = true;
    signal('SIGINT');
  });
  expect({ code, stderr }).toEqual({ code: 130, stderr: 'demo: ended by SIGINT; nothing of the demo is left\n' });
  const address = /a server at (\S+),/.exec(stdout)?.[1];
  expect(await listens(address!)).toBe(false);
  expect(readdirSync(dir)).toEqual([]);
});

test('an option that is none, and a time that is too short, are refused by name', async () => {
  const short = await runDemo(['--seconds', '1']);
  expect(short).toMatchObject({
    code: 1,
    stdout: '',
    stderr: 'demo: --seconds is "1"; allowed: a number from 2 to 600\n',
  });
  const unknown = await runDemo(['--jsno']);
  expect(unknown).toMatchObject({ code: 1, stdout: '' });
  expect(unknown.stderr).toContain("'--jsno'");
});
