import { INTERNAL_BODY, KEY_INVALID_BODY, OVERLOADED_BODY, quotaBody, suspendedBody } from './error-bodies.ts';
import { type MinuteWindow, minuteWindow } from './minute-window.ts';
import { isDead, pairOf, type World } from './world.ts';

const SERVER_ERRORS = 0.02;

export type FailureKind = 'minute' | 'day' | 'server-error' | 'overloaded' | 'key-invalid' | 'key-suspended';

export interface Failure {
  readonly kind: FailureKind;
  readonly httpStatus: number;
  /** The pair whose limits it names; -1: none. */
  readonly pair: number;
  readonly breaksMinute: boolean;
  readonly breaksDay: boolean;
  /** JSON, as Gemini sends it. Made when read: not everybody reads it. */
  readonly body: () => string;
}

/**
 * Gemini as it is: knows each project's limits and tells them only by refusing. What it refuses counts against no limit;
 * what it takes in and then fails at (500) does.
 */
export class Gemini {
  readonly #world: World;
  readonly #minutes: readonly MinuteWindow[];
  readonly #daysLeft: Int32Array;
  #midnight: number;

  constructor(world: World) {
    this.#world = world;
    this.#minutes = world.limits.map(({ perMinute }) => minuteWindow(world.window, perMinute));
    this.#daysLeft = Int32Array.from(world.limits, ({ perDay }) => perDay);
    this.#midnight = world.midnight;
  }

  /** undefined: it answers. `luck` in [0, 1) decides whether it fails for no reason. `now` only goes forward. */
  generate(keyIndex: number, model: number, luck: number, now: number): Failure | undefined {
    const { keys, overload } = this.#world;
    const { project } = keys[keyIndex]!;
    const refused = this.listModels(keyIndex, now);
    if (refused !== undefined) return refused;
    if (model === overload.model && now >= overload.from && now < overload.until) return OVERLOADED;
    this.#turnDay(now);
    const pair = pairOf(project, model);
    const minute = this.#minutes[pair]!;
    const waitMs = minute.freeAt(now) - now;
    if (waitMs > 0 || this.#daysLeft[pair] === 0) return this.#exhausted(pair, model, waitMs, now);
    minute.count(now);
    this.#daysLeft[pair]!--;
    return luck < SERVER_ERRORS ? INTERNAL : undefined;
  }

  /** What models.list, which uses no quota, says of a key; undefined: it lives. */
  listModels(keyIndex: number, now: number): Failure | undefined {
    const key = this.#world.keys[keyIndex]!;
    if (!isDead(this.#world, key, now)) return undefined;
    return now >= key.diesAt ? KEY_INVALID : failure('key-suspended', 403, () => suspendedBody(key.project));
  }

  #exhausted(pair: number, model: number, waitMs: number, now: number): Failure {
    const limits = this.#world.limits[pair]!;
    const breaksMinute = waitMs > 0;
    const breaksDay = this.#daysLeft[pair] === 0;
    return {
      kind: breaksDay ? 'day' : 'minute',
      httpStatus: 429,
      pair,
      breaksMinute,
      breaksDay,
      body: () =>
        quotaBody(model, now, [
          ...(breaksMinute
            ? [{ kind: 'minuteLimit', limit: limits.perMinute, delayMs: Math.ceil(waitMs) } as const]
            : []),
          ...(breaksDay
            ? [{ kind: 'dayLimit', limit: limits.perDay, delayMs: Math.ceil(this.#midnight - now) } as const]
            : []),
        ]),
    };
  }

  #turnDay(now: number): void {
    if (now < this.#midnight) return;
    this.#midnight = Infinity;
    this.#world.limits.forEach(({ perDay }, pair) => {
      this.#daysLeft[pair] = perDay;
    });
  }
}

function failure(kind: FailureKind, httpStatus: number, body: () => string): Failure {
  return { kind, httpStatus, pair: -1, breaksMinute: false, breaksDay: false, body };
}

const OVERLOADED = failure('overloaded', 503, () => OVERLOADED_BODY);
const INTERNAL = failure('server-error', 500, () => INTERNAL_BODY);
const KEY_INVALID = failure('key-invalid', 400, () => KEY_INVALID_BODY);
