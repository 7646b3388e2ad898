import { timestampMs } from '@bufbuild/protobuf/wkt';
import {
  type GetStatsResponse,
  type HealthChange,
  HealthEventKind,
  type KeyHealth,
  KeyState,
  type PoolStats,
  type WatchHealthResponse,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { Resting, type RestingGroup } from '../resting.ts';
import { causeInWords, keyTurnInWords } from '../words.ts';

/** What a pool does a second, of the time between the last two counts. */
export interface PoolRates {
  acquires: number;
  successes: number;
  failures: number;
  rejections: number;
}

export interface MonitoredPool {
  stats: PoolStats;
  /** undefined: not counted twice yet. */
  rates: PoolRates | undefined;
}

export interface MonitorEvent {
  /** Unix milliseconds. */
  time: number;
  text: string;
  /** Whether it is good news. */
  mood: 'good' | 'bad' | 'plain';
}

const MOST_EVENTS = 200;

/** What is known of a balancer that is watched. Keys that simply serve are not kept, so that a large pool costs no memory. */
export class MonitorState {
  readonly events: MonitorEvent[] = [];
  readonly #resting = new Map<string, KeyHealth>();
  readonly #exhausted = new Map<string, number>();
  #pools: MonitoredPool[] = [];
  #countedAt = 0;
  #version = '';
  #startTime: number | undefined;

  get pools(): readonly MonitoredPool[] {
    return this.#pools;
  }

  get version(): string {
    return this.#version;
  }

  /** Unix milliseconds; undefined: not known yet. */
  get startTime(): number | undefined {
    return this.#startTime;
  }

  /** Pools, and models of pools as "pool, model", that ran dry, with when that was. */
  get exhausted(): ReadonlyMap<string, number> {
    return this.#exhausted;
  }

  resting(): RestingGroup[] {
    const resting = new Resting();
    for (const health of this.#resting.values()) resting.add({ pool: health.pool, health });
    return resting.groups();
  }

  /** `now`: milliseconds of a clock that is never set back. */
  counted({ pools, server }: GetStatsResponse, now: number): void {
    const seconds = (now - this.#countedAt) / 1000;
    const before = new Map(this.#pools.map(({ stats }) => [stats.pool, stats]));
    this.#pools = pools.map((stats) => ({ stats, rates: ratesOf(before.get(stats.pool), stats, seconds) }));
    this.#countedAt = now;
    // Those that ran dry before anybody watched.
    for (const { pool, totalKeys, availableKeys } of pools) {
      if (availableKeys > 0n || totalKeys === 0n) this.#exhausted.delete(pool);
      else if (!this.#exhausted.has(pool)) this.#exhausted.set(pool, Date.now());
    }
    this.#version = server?.version ?? '';
    this.#startTime = server?.startTime && timestampMs(server.startTime);
  }

  told({ event, eventTime }: WatchHealthResponse): void {
    const time = eventTime === undefined ? Date.now() : timestampMs(eventTime);
    if (event.case === 'snapshot') {
      if (event.value.reset) {
        this.#resting.clear();
        this.#exhausted.clear();
      }
      for (const key of event.value.keys) this.#keep(key);
    } else if (event.case === 'change') this.#changed(event.value, time);
  }

  /** A new snapshot is about to come, which says all. */
  forget(): void {
    this.#resting.clear();
    this.#exhausted.clear();
  }

  note(text: string, mood: MonitorEvent['mood'], time = Date.now()): void {
    this.events.push({ time, text, mood });
    if (this.events.length > MOST_EVENTS) this.events.shift();
  }

  #changed({ kind, pool, model, key, previousState }: HealthChange, time: number): void {
    const what = model === '' ? pool : `${pool}, ${model}`;
    switch (kind) {
      case HealthEventKind.POOL_EXHAUSTED:
        this.#exhausted.set(what, time);
        this.note(`pool ${what} has no available key`, 'bad', time);
        return;
      case HealthEventKind.POOL_RECOVERED:
        this.#exhausted.delete(what);
        this.note(`pool ${what} serves again`, 'good', time);
        return;
      case HealthEventKind.POOL_CHANGED:
        this.note(`pool ${pool} was changed`, 'plain', time);
        return;
      case HealthEventKind.KEY_REMOVED:
        if (key === undefined) return;
        this.#resting.delete(key.keyId);
        this.note(`${key.keyId} was removed`, 'plain', time);
        return;
      case HealthEventKind.KEY_ADDED:
        if (key === undefined) return;
        this.#keep(key);
        this.note(`${key.keyId} was added to ${pool}`, 'plain', time);
        return;
      default:
        if (key === undefined) return;
        this.#rested(key, time);
        this.#keep(key);
        if (key.state !== previousState)
          this.note(keyTurnInWords(key), key.state === KeyState.AVAILABLE ? 'good' : 'bad', time);
    }
  }

  /** A key that serves on for other models. */
  #rested({ keyId, state, cooldowns }: KeyHealth, time: number): void {
    if (state !== KeyState.AVAILABLE) return;
    const before = this.#resting.get(keyId)?.cooldowns.map(({ model }) => model) ?? [];
    const fresh = cooldowns.find(({ model }) => !before.includes(model));
    if (fresh !== undefined) this.note(`${keyId}: rests for ${fresh.model}, ${causeInWords(fresh.cause)}`, 'bad', time);
  }

  #keep(key: KeyHealth): void {
    if (key.state === KeyState.AVAILABLE && key.cooldowns.length === 0) this.#resting.delete(key.keyId);
    else this.#resting.set(key.keyId, key);
  }
}

/** undefined where the counts began anew in between. */
function ratesOf(before: PoolStats | undefined, after: PoolStats, seconds: number): PoolRates | undefined {
  if (before === undefined || seconds <= 0) return undefined;
  const of = (count: (stats: PoolStats) => bigint | undefined): number =>
    Number((count(after) ?? 0n) - (count(before) ?? 0n)) / seconds;
  const rates = {
    acquires: of(({ usage }) => usage?.acquired),
    successes: of(({ usage }) => usage?.succeeded),
    failures: of(({ usage }) => usage?.failed),
    rejections: of(({ acquiresRejected }) => acquiresRejected),
  };
  return Object.values(rates).some((rate) => rate < 0) ? undefined : rates;
}
