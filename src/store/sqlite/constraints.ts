import type { Clock } from '../../engine/clock.ts';
import type { Engine } from '../../engine/engine.ts';
import type { Gate, Project } from '../../engine/key.ts';
import { LIMIT_NAMES } from '../../engine/quota/limits.ts';
import type { Moment } from '../../engine/quota/moment.ts';
import type { CooldownTotal, QuotaTotal } from '../store.ts';
import { pause } from './admin-context.ts';

/** Models told of in each pool; clients choose model names. */
const MAX_MODELS = 64;
/** Others run after so many looks at keys and limits, which is about a millisecond. */
const SLICE = 10_000;
/** What a limit costs more than a look at a key. */
const LIMIT_LOOKS = 10;

/** Cooldowns by what rests and why. Only what rests is walked over; what is half-open is over until a call says otherwise. */
export function cooldownTotals(engine: Engine, now: number): CooldownTotal[] {
  const totals = new Map<string, CooldownTotal>();
  for (const { kind: scope, rests } of engine.restDeadlines.items()) {
    for (const { cause, until } of rests) {
      if (until <= now) continue;
      const name = `${scope} ${cause}`;
      const total = totals.get(name) ?? { scope, cause, count: 0, longestMs: 0 };
      totals.set(name, total);
      total.count++;
      total.longestMs = Math.max(total.longestMs, until - now);
    }
  }
  return [...totals.values()];
}

/** What is used and left of the limits that are known. A project counts in each pool where it has keys, since they share its quota. */
export async function quotaTotals(engine: Engine, clock: Clock): Promise<QuotaTotal[]> {
  const sums = new QuotaSums();
  let looks = 0;
  const rest = async (): Promise<void> => {
    looks = 0;
    await pause();
  };
  for (const project of [...engine.projects.values()]) {
    looks += 1 + sums.add(project, engine.moment(clock.now()));
    if (looks >= SLICE) await rest();
  }
  for (const { project } of engine.keys.values()) {
    // Others were asked above.
    if (project.name === '') looks += sums.add(project, engine.moment(clock.now()));
    if (++looks >= SLICE) await rest();
  }
  return sums.totals;
}

class QuotaSums {
  readonly #byPool = new Map<string, Map<string, QuotaTotal[]>>();

  get totals(): QuotaTotal[] {
    return [...this.#byPool.values()].flatMap((models) => [...models.values()].flat());
  }

  /** Returns what that took, in looks. */
  add({ gates, places }: Project, at: Moment): number {
    let looks = 0;
    for (const gate of gates?.values() ?? []) {
      if (!gate.meter.isLimited) continue;
      looks += LIMIT_LOOKS * places.length;
      for (const { pool } of places) this.#addGate(pool.name, gate, at);
    }
    return looks;
  }

  #addGate(pool: string, { model, meter }: Gate, at: Moment): void {
    let models = this.#byPool.get(pool);
    if (models === undefined) {
      models = new Map();
      this.#byPool.set(pool, models);
    }
    const isTold = models.has(model) || models.size < MAX_MODELS;
    // No model is called "".
    const sums = models.get(isTold ? model : '') ?? [];
    models.set(isTold ? model : '', sums);
    for (const limit of LIMIT_NAMES) {
      const value = meter.limit(limit, at)?.value;
      if (value === undefined) continue;
      let sum = sums.find((each) => each.limit === limit);
      if (sum === undefined) {
        sum = { pool, model: isTold ? model : undefined, limit, used: 0, left: 0 };
        sums.push(sum);
      }
      const used = meter.used(limit, at);
      sum.used += used;
      sum.left += Math.max(0, value - used);
    }
  }
}
