import { timestampMs } from '@bufbuild/protobuf/wkt';
import { ErrorClass, type Key, KeyState } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/** Keys of a pool that are out of use for the same reason. A key with several cooldowns is in several groups. */
export interface RestingGroup {
  pool: string;
  state: KeyState;
  cause: ErrorClass;
  /** "": every model. */
  model: string;
  projectWide: boolean;
  keys: number;
  /** Unix milliseconds when the first and the last of them come back; undefined: not by themselves. */
  firstBack: number | undefined;
  lastBack: number | undefined;
}

/** Groups keys as they are read, so that a large pool takes no more room than it has reasons. */
export class Resting {
  readonly #groups = new Map<string, RestingGroup>();

  add({ pool, health }: Key): void {
    if (health === undefined) return;
    for (const { model, cause, projectWide, untilTime } of health.cooldowns) {
      const back = untilTime === undefined ? undefined : timestampMs(untilTime);
      this.#count({ pool, state: health.state, cause, model, projectWide }, back);
    }
    if (health.cooldowns.length > 0 || health.state === KeyState.AVAILABLE) return;
    // The last failure is why, unless it was an administrator's wish.
    const cause = health.state === KeyState.DISABLED_ADMIN ? ErrorClass.UNSPECIFIED : health.lastErrorClass;
    this.#count({ pool, state: health.state, cause, model: '', projectWide: false }, undefined);
  }

  /** By pool, the largest first. */
  groups(): RestingGroup[] {
    return [...this.#groups.values()].sort((a, b) => a.pool.localeCompare(b.pool) || b.keys - a.keys);
  }

  #count(what: Omit<RestingGroup, 'keys' | 'firstBack' | 'lastBack'>, back: number | undefined): void {
    const id = JSON.stringify(Object.values(what));
    let group = this.#groups.get(id);
    if (group === undefined) {
      group = { ...what, keys: 0, firstBack: back, lastBack: back };
      this.#groups.set(id, group);
    }
    group.keys++;
    if (back === undefined) return;
    group.firstBack = Math.min(group.firstBack ?? back, back);
    group.lastBack = Math.max(group.lastBack ?? back, back);
  }
}
