import type { Changes } from '../../engine/changes.ts';
import type { Clock } from '../../engine/clock.ts';
import type { Engine } from '../../engine/engine.ts';
import type { HealthLog } from './health-log.ts';
import type { Rows } from './journal.ts';
import type { LeaseFinder } from './lease-finder.ts';
import type { Replays } from './replays.ts';
import type { RowWriter } from './row-writer.ts';
import { keyView } from './views.ts';

interface Parts {
  engine: Engine;
  clock: Clock;
  boot: number;
  writer: RowWriter;
  finder: LeaseFinder;
  replays: Replays;
  healthLog: HealthLog;
}

/** What one commit writes, gathered from all who remember something, and told to them when it is stored. */
export class StoredChanges {
  readonly #parts: Parts;
  #changes: Changes | undefined;
  #replays: NonNullable<Rows['replays']> = [];

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  rowsOf(changes: Changes): Rows {
    const { engine, clock, boot, writer, finder, replays, healthLog } = this.#parts;
    const at = { now: clock.now(), wallOffset: clock.wallOffset() };
    const wallNow = at.now + at.wallOffset;
    this.#changes = changes;
    healthLog.prepare(changes, engine, wallNow, (key) => keyView(key, at));
    const rows = writer.rowsOf(changes, at);
    rows.boots = [{ boot, startTime: finder.startTime, watermark: engine.lastSeq }];
    rows.revision = healthLog.revision;
    const reclaimed = finder.unwritten();
    if (reclaimed.length > 0) rows.reclaimed = reclaimed;
    if (replays.unwritten) rows.replays = replays.rows();
    const prune = finder.prune(wallNow);
    if (prune !== undefined) {
      rows.prune = { ...prune, removedKeys: healthLog.horizon };
      rows.meta = { removed_horizon: String(healthLog.horizon) };
    }
    this.#replays = rows.replays ?? [];
    return rows;
  }

  stored(): void {
    const { writer, finder, replays, healthLog } = this.#parts;
    writer.stored(this.#changes!);
    finder.written();
    replays.written(this.#replays);
    healthLog.publish();
  }
}
