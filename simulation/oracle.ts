import { type MinuteWindow, minuteWindow } from './minute-window.ts';
import { type Advice, type Call, TRY_AGAIN } from './scheduler.ts';
import { LONGEST_TRANSIT_MS } from './travel.ts';
import type { Picker } from './waiting-room.ts';
import { isDead, MINUTE_MS, MODELS, PROJECTS, pairOf, type SimulatedKey, type World } from './world.ts';

/**
 * What nobody can build: it was told every limit, who dies when and what is overloaded, and never calls in vain. Of the
 * projects that may serve a model now it takes the one with the largest part of its day left, so that none is spent before
 * the others and bursts find all of them.
 *
 * A call arrives some time after it was granted. So what it books holds for the earliest and for the latest arrival.
 */
export class Oracle implements Picker {
  readonly lines = MODELS;
  readonly #world: World;
  readonly #minutes: readonly MinuteWindow[];
  /** By day and pair. */
  readonly #daysLeft: readonly Int32Array[];
  readonly #perDay: Int32Array;
  readonly #keysOf: readonly SimulatedKey[][];
  readonly #turns = new Uint32Array(PROJECTS);

  constructor(world: World) {
    this.#world = world;
    this.#minutes = world.limits.map(({ perMinute }) => minuteWindow(world.window, perMinute));
    this.#perDay = Int32Array.from(world.limits, ({ perDay }) => perDay);
    this.#daysLeft = [this.#perDay.slice(), this.#perDay.slice()];
    this.#keysOf = Array.from({ length: PROJECTS }, (_, project) =>
      world.keys.filter((key) => key.project === project),
    );
  }

  lineOf(model: number): number {
    return model;
  }

  pick({ model }: Call, now: number): number {
    const latest = now + LONGEST_TRANSIT_MS;
    if (this.#isOverloaded(model, now)) return -1;
    const today = this.#dayOf(now);
    const perDay = this.#perDay;
    let best = -1;
    let most = 0;
    for (let project = 0; project < PROJECTS; project++) {
      const pair = pairOf(project, model);
      const left = today[pair]! / perDay[pair]!;
      if (
        left <= most ||
        this.#dayLeft(pair, now) === 0 ||
        this.#minuteFreeAt(pair, now) > now ||
        this.#livingKey(project, latest) < 0
      )
        continue;
      best = project;
      most = left;
    }
    if (best < 0) return -1;
    this.#book(pairOf(best, model), now);
    this.#turns[best]!++;
    return this.#livingKey(best, latest);
  }

  askAgainAt({ model }: Call, now: number): number {
    const { overload, midnight } = this.#world;
    if (this.#isOverloaded(model, now)) return overload.until;
    let soonest = now < midnight ? midnight : Infinity;
    for (let project = 0; project < PROJECTS; project++) {
      const pair = pairOf(project, model);
      if (this.#dayLeft(pair, now) === 0 || this.#livingKey(project, now + LONGEST_TRANSIT_MS) < 0) continue;
      soonest = Math.min(soonest, this.#minuteFreeAt(pair, now));
    }
    return soonest;
  }

  report(): Advice {
    return TRY_AGAIN;
  }

  #isOverloaded(model: number, now: number): boolean {
    const { overload } = this.#world;
    return model === overload.model && now + LONGEST_TRANSIT_MS >= overload.from && now < overload.until;
  }

  #dayOf(arrival: number): Int32Array {
    return this.#daysLeft[arrival < this.#world.midnight ? 0 : 1]!;
  }

  #dayLeft(pair: number, now: number): number {
    return Math.min(this.#dayOf(now)[pair]!, this.#dayOf(now + LONGEST_TRANSIT_MS)[pair]!);
  }

  #minuteFreeAt(pair: number, now: number): number {
    const minuteEnds = (Math.floor(now / MINUTE_MS) + 1) * MINUTE_MS;
    // In which minute of the clock would it arrive?
    if (this.#world.window === 'aligned' && now + LONGEST_TRANSIT_MS >= minuteEnds) return minuteEnds;
    return this.#minutes[pair]!.freeAt(now);
  }

  #book(pair: number, now: number): void {
    const latest = now + LONGEST_TRANSIT_MS;
    this.#minutes[pair]!.count(latest);
    this.#dayOf(now)[pair]!--;
    if (this.#dayOf(latest) !== this.#dayOf(now)) this.#dayOf(latest)[pair]!--;
  }

  /** The project's keys take turns; -1: it has none that lives until then. */
  #livingKey(project: number, until: number): number {
    const keys = this.#keysOf[project]!;
    for (let step = 0; step < keys.length; step++) {
      const key = keys[(this.#turns[project]! + step) % keys.length]!;
      if (!isDead(this.#world, key, until)) return key.index;
    }
    return -1;
  }
}
