import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { z } from 'zod';
import { formatHostPort, type HostPort, isLoopback, parseHostPort } from './host-port.ts';
import { type Flags, SETTINGS, type Setting, type SettingName } from './settings.ts';

/** What cannot be used of flags and environment: each problem in a sentence, none with a secret. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** A door that others could read along at. */
export class ExposureError extends Error {
  override readonly name = 'ExposureError';
}

export interface ServerConfig {
  dataDir: string;
  /** undefined: off. */
  grpc: HostPort | undefined;
  /** undefined: off. */
  http: HostPort | undefined;
  durability: 'full' | 'normal';
  masterKey: { value?: string; file?: string };
  insecure: boolean;
  geminiBaseUrl: string;
  /** Whether Gemini is asked before a suspected key is disabled. */
  verify: boolean;
  logLevel: LogLevel;
}

/** Where a client command looks for keys. */
export interface ClientConfig {
  /** undefined: by the data dir. */
  address: string | undefined;
  dataDir: string;
  masterKey: { value?: string; file?: string };
  /** Where a data dir that is opened without a server asks Gemini. */
  geminiBaseUrl: string;
}

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const TRUE = ['true', '1', 'yes', 'on'];
const FALSE = ['false', '0', 'no', 'off'];

/** Makes a value of text, or refuses it and says what is allowed. */
function parsed<T>(allowed: string, parse: (text: string) => T | undefined) {
  return z.string({ error: allowed }).transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom', message: allowed });
    return z.NEVER;
  });
}

function path(what: string) {
  const allowed = `the path of a ${what}`;
  return parsed(allowed, (text) => (text === '' || text.includes('\0') ? undefined : resolve(text)));
}

const door = parsed(
  'HOST:PORT with a port of 0 to 65535, such as 127.0.0.1:50051 or [::1]:0, or off',
  (text): HostPort | 'off' | undefined => (text === 'off' ? text : parseHostPort(text)),
);

/** The one schema: text of flags and environment to values. Each message says what is allowed. */
const SCHEMA = z.object({
  dataDir: path('directory'),
  grpc: door,
  http: door,
  durability: z.enum(['full', 'normal'], { error: 'full or normal' }),
  masterKey: z.string().min(1, { error: SETTINGS.masterKey.description }).optional(),
  masterKeyFile: path('file').optional(),
  geminiBaseUrl: parsed('an http or https URL without user, query and fragment', baseUrl),
  verify: parsed('on or off', truth),
  insecure: parsed('true or false', truth),
  logLevel: z.enum(LOG_LEVELS, { error: LOG_LEVELS.join(', ') }),
  address: parsed('HOST:PORT with a port of 1 to 65535, or unix:PATH', serverAddress).optional(),
});

type Values = z.output<typeof SCHEMA>;

const SERVER_SETTINGS = [
  'dataDir',
  'grpc',
  'http',
  'durability',
  'masterKey',
  'masterKeyFile',
  'geminiBaseUrl',
  'verify',
  'insecure',
  'logLevel',
] as const satisfies SettingName[];

const CLIENT_SETTINGS = [
  'dataDir',
  'masterKey',
  'masterKeyFile',
  'geminiBaseUrl',
  'address',
] as const satisfies SettingName[];

/** Flags, else environment, else defaults. Throws a ConfigError that names all that is wrong. */
export function readServerConfig(flags: Flags, env: NodeJS.ProcessEnv = process.env): ServerConfig {
  const { values, given } = read(SERVER_SETTINGS, flags, env);
  return {
    dataDir: values.dataDir,
    grpc: values.grpc === 'off' ? undefined : values.grpc,
    http: values.http === 'off' ? undefined : values.http,
    durability: values.durability,
    masterKey: masterKeySource(values, given),
    insecure: values.insecure,
    geminiBaseUrl: values.geminiBaseUrl,
    verify: values.verify,
    logLevel: values.logLevel,
  };
}

/** As readServerConfig. A data dir named by a flag wins over an address of the environment. */
export function readClientConfig(flags: Flags, env: NodeJS.ProcessEnv = process.env): ClientConfig {
  const { values, given } = read(CLIENT_SETTINGS, flags, env);
  const [address, dataDir] = [given.get('address')?.origin, given.get('dataDir')?.origin];
  if (address === SETTINGS.address.flag && dataDir === SETTINGS.dataDir.flag) {
    throw new ConfigError(['--address and --data-dir both say where to look; give one of them']);
  }
  return {
    address: dataDir === SETTINGS.dataDir.flag ? undefined : values.address,
    dataDir: values.dataDir,
    masterKey: masterKeySource(values, given),
    geminiBaseUrl: values.geminiBaseUrl,
  };
}

export interface Doors {
  grpc: HostPort | undefined;
  http: HostPort | undefined;
}

/** The doors that other machines can reach, as they were asked for: "--grpc 0.0.0.0:50051". */
export function exposedDoors(doors: Doors): string[] {
  return (['grpc', 'http'] as const).flatMap((name) => {
    const address = doors[name];
    return address === undefined || isLoopback(address.host) ? [] : [`--${name} ${formatHostPort(address)}`];
  });
}

/** Refuses a door that is open to other machines in plain text: it hands out API keys. Throws an ExposureError. */
export function checkExposure({ insecure, ...doors }: Doors & { insecure: boolean }): void {
  const exposed = exposedDoors(doors);
  if (insecure || exposed.length === 0) return;
  throw new ExposureError(
    `${exposed.join(' and ')} can be reached from other machines, and without TLS everyone on the way could read the API keys; ` +
      'use a loopback address behind a proxy that does TLS, or --insecure if the network is trusted',
  );
}

interface Given {
  /** The flag or variable that it came by. */
  origin: string;
  text: string;
}

function read(
  names: readonly SettingName[],
  flags: Flags,
  env: NodeJS.ProcessEnv,
): { values: Values; given: Map<SettingName, Given> } {
  const given = new Map<SettingName, Given>();
  for (const name of names) {
    const found = find(SETTINGS[name], flags[name], env);
    if (found !== undefined) given.set(name, found);
  }
  const texts = Object.fromEntries([...given].map(([name, { text }]) => [name, text]));
  const result = SCHEMA.safeParse({ ...defaults(env), ...texts });
  if (result.success) return { values: result.data, given };
  throw new ConfigError(
    result.error.issues.map((issue) => {
      const name = issue.path[0] as SettingName;
      const { origin, text } = given.get(name) ?? { origin: SETTINGS[name].variable, text: '' };
      const setting: Setting = SETTINGS[name];
      const value = setting.secret ? 'not usable' : JSON.stringify(withoutCredentials(text));
      return `${origin} is ${value}; allowed: ${issue.message}`;
    }),
  );
}

function find(setting: Setting, flag: string | boolean | undefined, env: NodeJS.ProcessEnv): Given | undefined {
  if (setting.flag !== undefined && flag !== undefined) return { origin: setting.flag, text: String(flag) };
  const text = env[setting.variable];
  // An empty variable is how compose files and shells say "not set". But an empty master key is a secret that was
  // not filled in, and to go on would seal the keys with another one.
  if (text === undefined || (text === '' && setting.variable !== SETTINGS.masterKey.variable)) return undefined;
  return { origin: setting.variable, text };
}

function defaults(env: NodeJS.ProcessEnv) {
  // The XDG specification says to ignore a relative path.
  const xdg = env.XDG_DATA_HOME;
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), '.local', 'share');
  return {
    dataDir: join(base, 'keybalancer'),
    grpc: SETTINGS.grpc.fallback,
    http: SETTINGS.http.fallback,
    durability: SETTINGS.durability.fallback,
    geminiBaseUrl: SETTINGS.geminiBaseUrl.fallback,
    verify: SETTINGS.verify.fallback,
    insecure: SETTINGS.insecure.fallback,
    logLevel: SETTINGS.logLevel.fallback,
  };
}

/** A flag wins over the environment. Two variables would leave it open which one was meant. */
function masterKeySource(values: Values, given: Map<SettingName, Given>): { value?: string; file?: string } {
  const { masterKey: value, masterKeyFile: file } = values;
  if (given.get('masterKeyFile')?.origin === SETTINGS.masterKeyFile.flag && file !== undefined) return { file };
  if (value !== undefined && file !== undefined) {
    throw new ConfigError(['KEYBALANCER_MASTER_KEY and KEYBALANCER_MASTER_KEY_FILE are both set; keep one of them']);
  }
  return value !== undefined ? { value } : file !== undefined ? { file } : {};
}

function truth(text: string): boolean | undefined {
  if (TRUE.includes(text.toLowerCase())) return true;
  return FALSE.includes(text.toLowerCase()) ? false : undefined;
}

function baseUrl(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null || !['http:', 'https:'].includes(url.protocol)) return undefined;
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') return undefined;
  return text.replace(/\/+$/, '');
}

function serverAddress(text: string): string | undefined {
  if (text.startsWith('unix:')) return text.length > 'unix:'.length ? text : undefined;
  const address = parseHostPort(text);
  return address === undefined || address.port === 0 ? undefined : text;
}

/** Cuts what a URL may carry of secrets. */
function withoutCredentials(text: string): string {
  return text.replace(/\/\/[^/]*@/, '//…@').replace(/[?#].*$/s, '?…');
}
