import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { closest, distance } from 'fastest-levenshtein';
import { type ConfigFile, findConfigFile, readConfigFile } from './config-file.ts';
import { type FieldName, type Flags, SETTINGS, type Setting } from './settings.ts';

/** A mistyped variable differs from the meant one in so many letters at most. */
const MISSPELT = 2;

/** Where values come from, the strongest first. */
export const ORIGINS = ['flag', 'environment', 'file', 'default'] as const;
export type Origin = (typeof ORIGINS)[number];

/** A value as it was given. */
export interface Given {
  text: string;
  origin: Origin;
  /** How to speak of it: "--grpc", "KEYBALANCER_GRPC", "grpc in /etc/keybalancer/keybalancer.yaml". */
  by: string;
}

export interface Sources {
  /** Path of the config file that was read. */
  file: string | undefined;
  /** What is wrong with names of variables. */
  misspelt: readonly string[];
  /** undefined: nobody gave it, and it has no default value. */
  find: (name: FieldName) => Given | undefined;
}

/** Flags, else environment, else config file, else defaults. Throws a ConfigError where the file cannot be used. */
export function sourcesOf(flags: Flags, env: NodeJS.ProcessEnv): Sources {
  const file = configFile(flags, env);
  const defaults = defaultsIn(env);
  return {
    file: file?.path,
    misspelt: misspeltIn(env),
    find: (name) => {
      const setting: Setting = SETTINGS[name];
      const given = byFlag(setting, flags[name]) ?? byEnvironment(setting, env);
      if (given !== undefined) return given;
      const inFile = file?.values.get(name);
      if (inFile !== undefined) return { text: inFile, origin: 'file', by: `${setting.field} in ${file?.path}` };
      const fallback = defaults[name];
      return fallback === undefined ? undefined : { text: fallback, origin: 'default', by: 'the default' };
    },
  };
}

/** Whether the first came from a stronger place than the second. */
export function isStronger(given: Given | undefined, other: Given | undefined): boolean {
  if (given === undefined || other === undefined) return given !== undefined;
  return ORIGINS.indexOf(given.origin) < ORIGINS.indexOf(other.origin);
}

/** Variables with the name of none but nearly. Others are let be: Kubernetes sets some for a service of that name, as KEYBALANCER_PORT. */
function misspeltIn(env: NodeJS.ProcessEnv): string[] {
  const known = Object.values(SETTINGS).map(({ variable }: Setting) => variable);
  return Object.entries(env).flatMap(([name, value]) => {
    if (!name.startsWith('KEYBAL') || known.includes(name) || value === '') return [];
    const near = closest(name, known);
    return distance(name, near) > MISSPELT ? [] : [`${name} in the environment is no setting; did you mean ${near}?`];
  });
}

function configFile(flags: Flags, env: NodeJS.ProcessEnv): ConfigFile | undefined {
  const named = byFlag(SETTINGS.config, flags.config) ?? byEnvironment(SETTINGS.config, env);
  if (named?.text === 'off') return undefined;
  const path = named === undefined ? findConfigFile(env) : resolve(named.text);
  return path === undefined ? undefined : readConfigFile(path);
}

function byFlag({ flag }: Setting, value: string | boolean | undefined): Given | undefined {
  if (flag === undefined || value === undefined) return undefined;
  return { text: String(value), origin: 'flag', by: flag };
}

function byEnvironment({ variable, standard, secret }: Setting, env: NodeJS.ProcessEnv): Given | undefined {
  for (const by of standard === undefined ? [variable] : [variable, standard]) {
    const text = env[by];
    // An empty variable is how compose files and shells say "not set". But an empty master key is a secret that was
    // not filled in, and to go on would seal the keys with another one.
    if (text !== undefined && (text !== '' || secret)) return { text, origin: 'environment', by };
  }
  return undefined;
}

function defaultsIn(env: NodeJS.ProcessEnv): Partial<Record<FieldName, string>> {
  // The XDG specification says to ignore a relative path.
  const xdg = env.XDG_DATA_HOME;
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), '.local', 'share');
  const { grpc, http, durability, geminiBaseUrl, verify, insecure, logLevel, metricsPerKey } = SETTINGS;
  return {
    dataDir: join(base, 'keybalancer'),
    grpc: grpc.fallback,
    http: http.fallback,
    durability: durability.fallback,
    geminiBaseUrl: geminiBaseUrl.fallback,
    verify: verify.fallback,
    insecure: insecure.fallback,
    logLevel: logLevel.fallback,
    metricsPerKey: metricsPerKey.fallback,
  };
}
