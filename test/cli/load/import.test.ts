import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { connect } from '../../../src/client/connect.ts';
import { Cli, startServe } from '../../support/cli.ts';
import { tempDir } from '../../support/temp-dir.ts';

const KEYS = Number(process.env.KEYBALANCER_LOAD_KEYS ?? 20_000);
/** More than a client of any number of keys needs. */
const MOST_CLIENT_KB = 512 * 1024;
const LINES_AT_ONCE = 10_000;

/** KEYS lines, each with a weight of 1 or 3. */
function keyFile(): string {
  const path = join(tempDir(), 'keys.txt');
  const file = openSync(path, 'w');
  for (let from = 0; from < KEYS; from += LINES_AT_ONCE) {
    const lines = Array.from({ length: Math.min(LINES_AT_ONCE, KEYS - from) }, (_, index) => {
      const number = from + index;
      return `AQ.key-of-a-large-pool-${String(number).padStart(12, '0')}:${number % 2 === 0 ? 1 : 3}\n`;
    });
    writeSync(file, lines.join(''));
  }
  closeSync(file);
  return path;
}

/** The most memory that a process has had; 0 once it is gone. */
function peakKb(pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

test('an import that is killed half-way and repeated adds every key once, in memory that does not grow with the file', {
  timeout: 300_000 + KEYS * 4,
}, async () => {
  const served = await startServe(tempDir());
  const balancer = await connect({ address: served.grpc });
  onTestFinished(() => balancer.close());
  const total = async () => (await balancer.keyBalancer.getStats({})).total!;
  const args = ['import', keyFile(), '--address', served.grpc, '--json'];

  const killed = new Cli(args, { input: '' });
  await expect
    .poll(async () => Number((await total()).totalKeys), { timeout: 60_000 + KEYS * 2, interval: 50 })
    .toBeGreaterThanOrEqual(KEYS / 2);
  killed.child.kill('SIGKILL');
  expect(await killed.ended).toMatchObject({ exitCode: undefined, stdout: '' });

  const began = performance.now();
  const repeated = new Cli(args, { input: '' });
  let clientKb = 0;
  const watch = setInterval(() => {
    clientKb = Math.max(clientKb, peakKb(repeated.child.pid!));
  }, 50);
  onTestFinished(() => clearInterval(watch));
  const { exitCode, stdout } = await repeated.ended;
  const seconds = (performance.now() - began) / 1000;
  const summary = JSON.parse(stdout) as Record<string, number>;
  const serverKb = peakKb(served.child.pid!);
  process.stdout.write(
    `the repeat of an import of ${KEYS} keys, ${summary.new} of them new: ${seconds.toFixed(1)} s, ` +
      `client ${Math.round(clientKb / 1024)} MiB, server ${Math.round(serverKb / 1024)} MiB at most\n`,
  );

  expect(exitCode).toBe(0);
  expect(summary.new! + summary.skipped!).toBe(KEYS);
  expect(summary.skipped).toBeGreaterThanOrEqual(KEYS / 2);
  const { totalKeys, availableKeys, averageWeight } = await total();
  expect({ totalKeys, availableKeys }).toEqual({ totalKeys: BigInt(KEYS), availableKeys: BigInt(KEYS) });
  expect(averageWeight).toBe(2);
  expect(clientKb).toBeLessThan(MOST_CLIENT_KB);
});
