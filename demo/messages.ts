// What the demo's processes tell each other, as JSON over their IPC channels. Never a key.

/** A backend's part in the demo. */
export interface BackendPart {
  name: string;
  model: string;
  callsPerSecond: number;
  /** Calls that run at once, at most. */
  workers: number;
  /** Every so many calls names a model that does not exist; 0: none does. */
  typoEvery: number;
}

/** What a backend is to do; its only argument, as JSON. */
export interface BackendTask extends BackendPart {
  /** HOST:PORT of the server. */
  address: string;
  /** Base URL of the fake Gemini. */
  geminiUrl: string;
}

export interface CallCounts {
  /** Calls that ended. calls = succeeded + failed. */
  calls: number;
  succeeded: number;
  failed: number;
  /** Times that a call had a key and tried; those beyond a call's first are retries. */
  attempts: number;
  retries: number;
  /** Calls that failed, by why. */
  failures: Record<string, number>;
}

/** A backend says that it is there, then how far it is ten times a second, and last what came of it all. */
export type FromBackend = { type: 'ready' } | { type: 'counts' | 'done'; counts: CallCounts };
export type ToBackend = 'go' | 'stop';

/** What the watcher last heard of a key. */
export interface WatchedKey {
  keyId: string;
  /** Name of a KeyState. */
  state: string;
  project: string;
  weight: number;
  effectiveWeight: number;
  rests: Rest[];
}

export interface Rest {
  /** "": every model. */
  model: string;
  /** Name of an ErrorClass. */
  cause: string;
  /** Unix milliseconds. */
  until: number;
  projectWide: boolean;
}

/** `snapshot`: the state of every key as the watch began. `change`: one key's, after a change. */
export type FromWatcher = { type: 'snapshot' | 'change'; keys: WatchedKey[] };
