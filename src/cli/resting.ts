import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import { ErrorClass, type Key, KeyState, type Verification } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/** Keys of a pool that are out of use for the same reason. A key with several cooldowns is in several groups. */
export interface RestingGroup {
  pool: string;
  state: KeyState;
  cause: ErrorClass;
  /** "": every model. */
  model: string;
  projectWide: boolean;
  /** Of quarantined keys. */
  verification: VerificationState | undefined;
  keys: number;
  /** Unix milliseconds when the first and the last of them come back; undefined: not by themselves. */
  firstBack: number | undefined;
  lastBack: number | undefined;
  /** When the first of them is tried by one call, or Gemini asked about it; undefined: not before the end. */
  firstTry: number | undefined;
}

/** How far Gemini was asked about suspected keys. */
export interface VerificationState {
  on: boolean;
  refusals: number;
  /** Attempts in a row without an answer, and why there was none. */
  unanswered: number;
  unansweredClass: ErrorClass;
}

/** Groups keys as they are read, so that a large pool takes no more room than it has reasons. */
export class Resting {
  readonly #groups = new Map<string, RestingGroup>();
  readonly #learned = new Map<string, number>();

  add({ pool, health }: Pick<Key, 'pool' | 'health'>): void {
    if (health === undefined) return;
    const { state, cooldowns, verification } = health;
    if (health.projectLearned) this.#learned.set(health.project, (this.#learned.get(health.project) ?? 0) + 1);
    if (state === KeyState.AVAILABLE || state === KeyState.COOLING) {
      for (const { model, cause, projectWide, untilTime, probeTime } of cooldowns) {
        const what = { pool, state, cause, model, projectWide, verification: undefined };
        this.#count(what, ms(untilTime), ms(probeTime));
      }
    }
    // What takes a key out of use as a whole counts alone: no end of a cooldown brings the key back.
    if (state === KeyState.AVAILABLE || (state === KeyState.COOLING && cooldowns.length > 0)) return;
    const what = { pool, state, cause: causeOf(state, health.lastErrorClass), model: '', projectWide: false };
    this.#count({ ...what, verification: verificationState(verification) }, undefined, ms(verification?.nextTime));
  }

  /** By pool, the largest first. */
  groups(): RestingGroup[] {
    return [...this.#groups.values()].sort((a, b) => a.pool.localeCompare(b.pool) || b.keys - a.keys);
  }

  /** Projects that Gemini's errors named and nobody set, with the number of their keys: the largest first. */
  learnedProjects(): { project: string; keys: number }[] {
    const projects = [...this.#learned].map(([project, keys]) => ({ project, keys }));
    return projects.sort((a, b) => b.keys - a.keys || a.project.localeCompare(b.project));
  }

  #count(
    what: Omit<RestingGroup, 'keys' | 'firstBack' | 'lastBack' | 'firstTry'>,
    back: number | undefined,
    tried: number | undefined,
  ): void {
    const id = JSON.stringify(Object.values(what));
    let group = this.#groups.get(id);
    if (group === undefined) {
      group = { ...what, keys: 0, firstBack: back, lastBack: back, firstTry: tried };
      this.#groups.set(id, group);
    }
    group.keys++;
    if (tried !== undefined) group.firstTry = Math.min(group.firstTry ?? tried, tried);
    if (back === undefined) return;
    group.firstBack = Math.min(group.firstBack ?? back, back);
    group.lastBack = Math.max(group.lastBack ?? back, back);
  }
}

/** The last failure is why, unless it was an administrator's wish, or a call that ended later failed for another reason. */
function causeOf(state: KeyState, lastErrorClass: ErrorClass): ErrorClass {
  if (state === KeyState.DISABLED_ADMIN) return ErrorClass.UNSPECIFIED;
  const suspected = lastErrorClass === ErrorClass.KEY_INVALID || lastErrorClass === ErrorClass.KEY_SUSPENDED;
  return state === KeyState.QUARANTINED && !suspected ? ErrorClass.UNSPECIFIED : lastErrorClass;
}

function verificationState(verification: Verification | undefined): VerificationState | undefined {
  if (verification === undefined) return undefined;
  const { nextTime, refusals, unanswered, unansweredClass } = verification;
  return { on: nextTime !== undefined, refusals, unanswered, unansweredClass };
}

function ms(time: Timestamp | undefined): number | undefined {
  return time === undefined ? undefined : timestampMs(time);
}
