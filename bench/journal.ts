/**
 * How many lease-and-report pairs a second the journal commits, by the size of a commit, and what handing them to its thread
 * costs the main thread. Run: node bench/journal.ts [full|normal] [DIR]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Journal, Rows } from '../src/store/sqlite/journal.ts';
import { openJournal } from '../src/store/sqlite/open-journal.ts';

const KEYS = 10_000;
const COUNTS = {
  succeeded: 5,
  failed: 1,
  expired: 0,
  unused: 0,
  released: 0,
  late: 0,
  calls: 6,
  inputTokens: 1_234,
  outputTokens: 123,
  cachedTokens: 0,
};
const now = Date.now();
let seq = 0;

/** What so many acquires and the reports of as many earlier leases write. */
function pairs(size: number, boot: number): Rows {
  const numbers = Array.from({ length: size }, () => ++seq);
  const ordinal = (number: number): number => (number % KEYS) + 1;
  return {
    boots: [{ boot, startTime: now, watermark: seq }],
    leases: numbers.map((number) => ({
      boot,
      seq: number,
      ordinal: ordinal(number),
      model: 'gemini-2.5-flash',
      caller: 'local',
      acquireTime: now,
      expireTime: now + 120_000,
      state: 1,
      sessionId: '',
      lastOutcome: 0,
    })),
    endedLeases: numbers.map((number) => ({ boot, seq: number - size })),
    usage: numbers.map((number) => ({ ...COUNTS, ordinal: ordinal(number) })),
    health: numbers.map((number) => ({
      ordinal: ordinal(number),
      factor: 1,
      consecutiveFailures: 0,
      lastErrorClass: 0,
      lastSuccessTime: now,
      lastFailureTime: null,
      lastAcquireTime: now,
      revision: 1,
    })),
    lanes: [{ lane: 1, pool: 'default', model: '', virtualTimes: [seq], picks: seq, current: '' }],
    turns: numbers.map((number) => ({ lane: 1, ordinal: ordinal(number), pass: seq, lastPick: seq })),
    poolUsage: [{ ...COUNTS, pool: 'default', acquiresRejected: 0, failuresByClass: {} }],
  };
}

async function measure(journal: Journal, size: number): Promise<void> {
  const commits = Array.from({ length: Math.min(500, Math.ceil(40_000 / size)) }, () => pairs(size, journal.boot));
  let handing = 0;
  const started = performance.now();
  for (const rows of commits) {
    const before = performance.now();
    const committed = journal.commit(rows);
    handing += performance.now() - before;
    await committed;
  }
  const ms = performance.now() - started;
  const total = commits.length * size;
  console.log(
    `${String(size).padStart(5)} a commit: ${Math.round((total / ms) * 1000)} pairs/s, ` +
      `${(ms / commits.length).toFixed(2)} ms a commit, main thread ${((handing * 1000) / total).toFixed(2)} us a pair`,
  );
}

const durability = process.argv[2] === 'normal' ? 'normal' : 'full';
const dataDir = mkdtempSync(join(process.argv[3] ?? tmpdir(), 'keybalancer-bench-'));
try {
  const journal = await openJournal({ dataDir, durability });
  console.log(`durability ${durability}, ${KEYS} keys`);
  for (const size of [1, 10, 100, 1_000, 5_000]) await measure(journal, size);
  await journal.close();
} finally {
  rmSync(dataDir, { recursive: true });
}
