import type { Logger } from '../logger.ts';
import { effectiveConfig } from './config.ts';
import { ConfigError } from './config-error.ts';
import { type LogLevel, SCHEMA } from './schema.ts';
import { type FieldName, type Flags, SETTINGS, type Setting, settingsReadBy } from './settings.ts';

/** Fields whose value changed with a reload. */
export interface Reloaded {
  applied: string[];
  restartNeeded: string[];
}

/** The configuration of a server that runs: what of it can change meanwhile. */
export class LiveConfig {
  readonly #flags: Flags;
  readonly #env: NodeJS.ProcessEnv;
  readonly #logger: Logger;
  /** Values as they were given, of what is in force. */
  readonly #inForce: Map<FieldName, string | null>;

  constructor(flags: Flags, env: NodeJS.ProcessEnv, logger: Logger) {
    this.#flags = flags;
    this.#env = env;
    this.#logger = logger;
    this.#inForce = valuesOf(flags, env);
  }

  /** Whether metrics have series of single keys. */
  get metricsPerKey(): boolean {
    return SCHEMA.shape.metricsPerKey.parse(this.#inForce.get('metricsPerKey'));
  }

  /** Throws a ConfigError, and changes nothing, where the new configuration cannot be used. */
  reload(): Reloaded {
    const values = valuesOf(this.#flags, this.#env);
    const reloaded: Reloaded = { applied: [], restartNeeded: [] };
    for (const [name, value] of values) {
      const setting: Setting = SETTINGS[name];
      const field = setting.field ?? setting.variable;
      if (name === 'logLevel') {
        // Also back from what setLogLevel() said.
        if (value === this.#logger.level) continue;
        this.#logger.level = value!;
      } else if (value === this.#inForce.get(name)) continue;
      if (!setting.live) {
        reloaded.restartNeeded.push(field);
        continue;
      }
      this.#inForce.set(name, value);
      reloaded.applied.push(field);
    }
    return reloaded;
  }

  /** Until the next reload. Returns what was in force. Throws a ConfigError for another word than the levels. */
  setLogLevel(text: string): LogLevel {
    const { data: level, success } = SCHEMA.shape.logLevel.safeParse(text);
    if (!success) throw new ConfigError([`level is ${JSON.stringify(text)}; allowed: ${SETTINGS.logLevel.allowed}`]);
    const previous = this.#logger.level as LogLevel;
    this.#logger.level = level;
    return previous;
  }
}

/** A master key of the environment cannot change in a process that runs. */
function valuesOf(flags: Flags, env: NodeJS.ProcessEnv): Map<FieldName, string | null> {
  const read = settingsReadBy('server');
  const { settings } = effectiveConfig(flags, env);
  return new Map(settings.filter(({ name }) => read.includes(name)).map(({ name, value }) => [name, value]));
}
