import type { Wrapping } from './errors.ts';
import type { KeyOptions, ModelOptions } from './scripts.ts';

export interface FakeGeminiOptions {
  /** The API keys that are accepted, each with its project and behaviour. Any text is a key. */
  keys?: Record<string, KeyOptions>;
  /** Take any other key too, as healthy and with a project of its own. Default: it is answered API_KEY_INVALID. */
  acceptUnknownKeys?: boolean;
  /** How models behave, see ModelOptions. Those named here exist. */
  models?: readonly ModelOptions[];
  /** Names of the models that exist besides; default: a handful of Gemini's. */
  modelNames?: readonly string[];
  /** How error bodies are wrapped unless a behaviour says otherwise; default 'json'. */
  wrapping?: Wrapping;
  /** TCP port at 127.0.0.1; default 0, which takes a free one. */
  port?: number;
  /** Milliseconds since 1970, for limits, files and the log. Delays take real time. Default Date.now. */
  now?: () => number;
  /** How many requests `counts.log` remembers; default 10,000. */
  logSize?: number;
  /** Largest body, and largest file, in bytes; default 64 MiB. */
  maxBodyBytes?: number;
}
