import { type Behaviour, type BehaviourSpec, type FakeMethod, specOf, touches } from './behaviour.ts';

/** What a behaviour that is a function gets to decide by. */
export interface FakeRequest {
  apiKey: string;
  project: string;
  method: FakeMethod;
  model: string | undefined;
  /** The body as JSON; undefined when it is none. */
  body: unknown;
  /** When it arrived, on the fake's clock. */
  at: number;
}

/** A behaviour, or a function that chooses one for each request. It must answer at once and not throw. */
export type Script = Behaviour | ((request: FakeRequest) => Behaviour);

export interface KeyOptions {
  /** Quota and files belong to it. Default: a project of the key's own; in setKey: the one it has. */
  project?: string;
  /** Default: 'healthy'; in setKey: the one it has. */
  behaviour?: Script;
  /** Behave so for this many requests that the behaviour touches, then as before. Default: for good. */
  times?: number;
}

/**
 * How a model behaves: in one project, or in every project; one model, or every model. For a request the narrowest rule holds
 * whole, project before model. A key's behaviour is asked first.
 */
export interface ModelOptions {
  project?: string;
  model?: string;
  behaviour: Script;
  /** As in KeyOptions. */
  times?: number;
}

/** A lasting script, and one that is used up first. */
class Slot {
  #lasting: Script = 'healthy';
  #passing: { script: Script; left: number } | undefined;

  set(script: Script, times: number | undefined): void {
    if (typeof script !== 'function') specOf(script);
    if (times === undefined) {
      this.#lasting = script;
      this.#passing = undefined;
      return;
    }
    if (!Number.isInteger(times) || times < 1)
      throw new TypeError(`times is ${times}; it must be a whole number of 1 or more`);
    this.#passing = { script, left: times };
  }

  take(request: FakeRequest): BehaviourSpec {
    const passing = this.#passing;
    const script = passing?.script ?? this.#lasting;
    const spec = specOf(typeof script === 'function' ? script(request) : script);
    if (!touches(spec, request.method)) return {};
    if (passing !== undefined) {
      passing.left -= 1;
      if (passing.left === 0) this.#passing = undefined;
    }
    return spec;
  }
}

interface KnownKey {
  project: string;
  slot: Slot;
}

/** Which keys there are, and how they behave now. */
export class KeyBook {
  readonly #keys = new Map<string, KnownKey>();

  set(apiKey: string, { project, behaviour, times }: KeyOptions): void {
    if (times !== undefined && behaviour === undefined)
      throw new TypeError('times is given without the behaviour that it counts');
    const known = this.#keys.get(apiKey);
    const slot = known?.slot ?? new Slot();
    if (behaviour !== undefined) slot.set(behaviour, times);
    // A number, as Google's errors name projects.
    this.#keys.set(apiKey, { project: project ?? known?.project ?? String(300_000_000_001 + this.#keys.size), slot });
  }

  projectOf(apiKey: string): string | undefined {
    return this.#keys.get(apiKey)?.project;
  }

  take(request: FakeRequest): BehaviourSpec {
    return this.#keys.get(request.apiKey)?.slot.take(request) ?? {};
  }
}

/** How models behave now, by project and model; '' stands for every one. */
export class ModelBook {
  readonly #slots = new Map<string, Slot>();

  set({ project = '', model = '', behaviour, times }: ModelOptions): void {
    const name = slotName(project, model);
    const slot = this.#slots.get(name) ?? new Slot();
    slot.set(behaviour, times);
    this.#slots.set(name, slot);
  }

  take(request: FakeRequest): BehaviourSpec {
    if (request.model === undefined) return {};
    const { project, model } = request;
    const slot =
      this.#slots.get(slotName(project, model)) ??
      this.#slots.get(slotName(project, '')) ??
      this.#slots.get(slotName('', model)) ??
      this.#slots.get(slotName('', ''));
    return slot?.take(request) ?? {};
  }
}

function slotName(project: string, model: string): string {
  return JSON.stringify([project, model]);
}
