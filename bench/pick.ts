/**
 * What a pick costs: nanoseconds for a turn of the scheduler alone, with a project for each key and for each ten, and for a whole
 * acquire and report in memory, by the number of keys. Printed, never asserted.
 *
 *   node bench/pick.ts
 */
import { acquireNow, serveWaiting } from '../src/engine/acquire.ts';
import { Changes } from '../src/engine/changes.ts';
import { Engine } from '../src/engine/engine.ts';
import { Lane } from '../src/engine/lane.ts';
import type { Order } from '../src/engine/order.ts';
import { DEFAULT_POOL } from '../src/engine/settings.ts';
import { settle } from '../src/engine/settle.ts';
import { Outcome } from '../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { newKey, order } from '../test/engine/rig.ts';

const WEIGHTS = [2, 1, 0.5, 1];
/** Keys of one project that rest together. */
const LARGE_GROUP = 5_000;
/** Each figure is the best of so many: what the machine does besides only ever adds. */
const RUNS = 5;

function measure(times: number, work: () => void): number {
  let best = Infinity;
  for (let run = 0; run < RUNS; run++) {
    const started = performance.now();
    for (let i = 0; i < times; i++) work();
    best = Math.min(best, ((performance.now() - started) * 1e6) / times);
  }
  return Math.round(best);
}

function laneOf(keys: number, groupOf: (slot: number) => number): Lane {
  const lane = new Lane(
    1,
    '',
    Int32Array.from({ length: keys }, (_, slot) => slot),
    keys,
  );
  for (let slot = 0; slot < keys; slot++) lane.join(slot, 0, WEIGHTS[slot % WEIGHTS.length]!, groupOf(slot));
  // Past the first turns, in which all keys are equal.
  for (let i = 0; i < 2 * keys; i++) lane.take(lane.peek(), true);
  return lane;
}

function engineOf(keys: number): Engine {
  const engine = new Engine(1);
  const pool = engine.addPool({ ...DEFAULT_POOL, maxConcurrentLeases: 4 });
  for (let ordinal = 1; ordinal <= keys; ordinal++) {
    engine.addKey(
      pool,
      newKey(ordinal, {
        project: `project-${ordinal % Math.ceil(keys / 3)}`,
        weight: WEIGHTS[ordinal % WEIGHTS.length]!,
      }),
      0,
    );
  }
  return engine;
}

const SUCCESS = {
  outcome: Outcome.SUCCESS,
  finding: undefined,
  inputTokens: 100,
  outputTokens: 100,
  cachedTokens: 0,
  keepLease: false,
};

/** Of a turn, and of a key that leaves and joins again. */
function measureLane(keys: number, groupOf: (slot: number) => number, times: number): [number, number] {
  const lane = laneOf(keys, groupOf);
  const pick = measure(times, () => {
    lane.take(lane.peek(), true);
  });
  let slot = 0;
  const leaveAndJoin = measure(times, () => {
    slot = (slot + 7_919) % keys;
    lane.leave(slot);
    lane.join(slot, 0, WEIGHTS[slot % WEIGHTS.length]!, groupOf(slot));
  });
  return [pick, leaveAndJoin];
}

for (const keys of [10_000, 100_000]) {
  const lane = laneOf(keys, (slot) => Math.max(0, slot - LARGE_GROUP + 1));
  const closeAndOpen = measure(100_000, () => {
    lane.close(0);
    lane.open(0);
  });
  console.log(
    `${String(keys).padStart(9)} keys: closing and opening a group of ${LARGE_GROUP} among them ${closeAndOpen} ns`,
  );
}

for (const keys of [100, 10_000, 1_000_000]) {
  const times = keys === 1_000_000 ? 300_000 : 1_000_000;
  const [pick, leaveAndJoin] = measureLane(keys, (slot) => slot, times);
  const [pickOfTen, leaveAndJoinOfTen] = measureLane(keys, (slot) => Math.floor(slot / 10), times);
  console.log(
    `${String(keys).padStart(9)} keys: pick ${pick} ns, leave and join ${leaveAndJoin} ns; ` +
      `in groups of 10 pick ${pickOfTen} ns, leave and join ${leaveAndJoinOfTen} ns`,
  );

  const engine = engineOf(keys);
  const pool = engine.pool('default');
  let now = 1;
  const acquireAndReport = (wanted: Order) => (): void => {
    now += 0.01;
    engine.advance(now);
    const { batches } = acquireNow(engine, pool, wanted, now)!;
    settle(engine, batches[0]![0]!, SUCCESS, now);
    serveWaiting(engine, pool, now);
    if (engine.changes.leases.size > 500) engine.changes = new Changes();
  };
  const whole = measure(
    times / 5,
    acquireAndReport(order({ model: 'gemini-2.5-flash', excludeKeyIds: [], requireProject: '' })),
  );
  const excluding = measure(
    times / 5,
    acquireAndReport(
      order({
        model: 'gemini-2.5-flash',
        excludeKeyIds: ['key-00000001', 'key-00000002', 'key-00000003'],
        requireProject: '',
      }),
    ),
  );
  const requiring = measure(
    times / 5,
    acquireAndReport(order({ model: 'gemini-2.5-flash', excludeKeyIds: [], requireProject: 'project-1' })),
  );
  console.log(
    `${''.padStart(9)}       acquire and report ${whole} ns (3 keys excluded ${excluding} ns, a project of 3 keys required ${requiring} ns)`,
  );
}
