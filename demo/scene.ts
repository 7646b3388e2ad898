import type { DemoKey } from './keys.ts';
import type { BackendPart, CallCounts, WatchedKey } from './messages.ts';

/** How a key looks at this moment, as the watcher heard it. */
export interface SceneKey extends DemoKey {
  keyId: string;
  health: WatchedKey | undefined;
  /** Whether it never rested and never lost weight since the watch began. */
  stayedHealthy: boolean;
}

export interface SceneBackend {
  part: BackendPart;
  counts: CallCounts;
  /** Totals of calls as they were at the last moments, oldest first. */
  past: { at: number; calls: number }[];
}

export interface SceneEvent {
  /** Unix milliseconds. */
  at: number;
  text: string;
}

/** Calls a second are taken over this time. */
const RATE_MS = 1_000;
const SPARK_MS = 500;
const MOST_EVENTS = 50;
const MOST_SPARKS = 200;

/** All that is known of the running demo: what a view draws and what the end is judged by. */
export class Scene {
  readonly models: readonly string[];
  readonly backends: SceneBackend[];
  /** By key id. */
  readonly keys = new Map<string, SceneKey>();
  readonly events: SceneEvent[] = [];
  /** Calls of each half second. */
  readonly sparks: number[] = [];
  phase = '';
  /** When the backends began, Unix milliseconds; undefined: not yet. */
  startedAt: number | undefined;
  readonly seconds: number;
  /** Changes that WatchHealth told of. */
  changes = 0;
  /** Requests that reached Gemini, by API key: for the shares as they grow. */
  requestsByKey: Readonly<Record<string, number>> = {};
  /** Told of each event. */
  onEvent: (event: SceneEvent) => void = () => {};
  #sparkAt = 0;
  #sparkCalls = 0;

  constructor(parts: readonly BackendPart[], seconds: number) {
    this.seconds = seconds;
    this.models = parts.map(({ model }) => model);
    this.backends = parts.map((part) => ({
      part,
      counts: { calls: 0, succeeded: 0, failed: 0, attempts: 0, retries: 0, failures: {} },
      past: [],
    }));
  }

  tell(text: string): void {
    const event = { at: Date.now(), text };
    this.events.push(event);
    if (this.events.length > MOST_EVENTS) this.events.shift();
    this.onEvent(event);
  }

  get calls(): number {
    return this.backends.reduce((sum, { counts }) => sum + counts.calls, 0);
  }

  /** Takes in what a backend counted. */
  counted(backend: SceneBackend, counts: CallCounts): void {
    const now = Date.now();
    backend.counts = counts;
    backend.past.push({ at: now, calls: counts.calls });
    while (backend.past.length > 2 && backend.past[1]!.at <= now - RATE_MS) backend.past.shift();
    if (now - this.#sparkAt < SPARK_MS) return;
    const { calls } = this;
    if (this.#sparkAt > 0) this.sparks.push(calls - this.#sparkCalls);
    if (this.sparks.length > MOST_SPARKS) this.sparks.shift();
    this.#sparkAt = now;
    this.#sparkCalls = calls;
  }

  /** Takes in what WatchHealth said of a key. Returns how it was before; undefined: unknown. */
  heard(health: WatchedKey): WatchedKey | undefined {
    const key = this.keys.get(health.keyId);
    if (key === undefined) return undefined;
    const before = key.health;
    key.health = health;
    if (health.state !== 'AVAILABLE' || health.rests.length > 0 || health.effectiveWeight < health.weight) {
      key.stayedHealthy = false;
    }
    return before;
  }

  /** Requests that Gemini got by keys of a weight that stayed healthy, and how many keys those are. */
  picksOfWeight(weight: number): { keys: number; picks: number } {
    const keys = [...this.keys.values()].filter((key) => key.stayedHealthy && key.weight === weight);
    return { keys: keys.length, picks: keys.reduce((sum, key) => sum + (this.requestsByKey[key.apiKey] ?? 0), 0) };
  }
}

/** Calls a second of the last moments. */
export function rateOf({ past }: SceneBackend): number {
  const first = past[0];
  const last = past.at(-1);
  if (first === undefined || last === undefined || last.at === first.at) return 0;
  return ((last.calls - first.calls) * 1000) / (last.at - first.at);
}
