import type { HostPort } from '../host-port.ts';
import { ConfigError } from './config-error.ts';
import { type OtlpConfig, otlpConfig } from './otlp.ts';
import { type LogLevel, SCHEMA, type Values } from './schema.ts';
import { type FieldName, type Flags, SETTINGS, type Setting, settingsReadBy } from './settings.ts';
import { type Given, isStronger, type Origin, type Sources, sourcesOf } from './sources.ts';

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
  /** undefined: no telemetry is sent. */
  otlp: OtlpConfig | undefined;
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

/** A setting as it counts. */
export interface EffectiveSetting {
  name: FieldName;
  /** null: not set, or a secret. */
  value: string | null;
  origin: Origin;
  /** How it was given: a flag, a variable, a field of a file; "" for a default. */
  by: string;
}

/** Flags, else environment, else config file, else defaults. Throws a ConfigError that names all that is wrong. */
export function readServerConfig(flags: Flags, env: NodeJS.ProcessEnv = process.env): ServerConfig {
  const { values, given } = read('server', sourcesOf(flags, env));
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
    otlp: otlpConfig(values.otlpEndpoint, env),
  };
}

/** As readServerConfig. A data dir that is named in a stronger place than the address wins over it. */
export function readClientConfig(flags: Flags, env: NodeJS.ProcessEnv = process.env): ClientConfig {
  const { values, given } = read('commands', sourcesOf(flags, env));
  const [address, dataDir] = [given.get('address'), given.get('dataDir')];
  if (address?.origin === 'flag' && dataDir?.origin === 'flag') {
    throw new ConfigError(['--address and --data-dir both say where to look; give one of them']);
  }
  return {
    address: isStronger(dataDir, address) ? undefined : values.address,
    dataDir: values.dataDir,
    masterKey: masterKeySource(values, given),
    geminiBaseUrl: values.geminiBaseUrl,
  };
}

/** Every setting as the server would have it, secrets masked. Throws a ConfigError where one cannot be used. */
export function effectiveConfig(
  flags: Flags,
  env: NodeJS.ProcessEnv = process.env,
): { file: string | undefined; settings: EffectiveSetting[] } {
  const sources = sourcesOf(flags, env);
  const [server, commands] = [read('server', sources), read('commands', sources)];
  masterKeySource(server.values, server.given);
  const settings = (Object.keys(SETTINGS) as (keyof typeof SETTINGS)[]).flatMap((name): EffectiveSetting[] => {
    if (name === 'config') return [];
    const given = server.given.get(name) ?? commands.given.get(name);
    const { secret }: Setting = SETTINGS[name];
    if (given === undefined) return [{ name, value: null, origin: 'default', by: '' }];
    const { origin, by, text } = given;
    return [{ name, value: secret ? null : text, origin, by: origin === 'default' ? '' : by }];
  });
  return { file: sources.file, settings };
}

function read(
  who: 'server' | 'commands',
  { find, misspelt }: Sources,
): { values: Values; given: Map<FieldName, Given> } {
  const given = new Map<FieldName, Given>();
  for (const name of settingsReadBy(who)) {
    const found = find(name);
    if (found !== undefined) given.set(name, found);
  }
  const texts = Object.fromEntries([...given].map(([name, { text }]) => [name, text]));
  // What only the other kind of program reads must be no reason for this one to fail.
  const result = SCHEMA.partial().safeParse(texts);
  if (result.success && misspelt.length === 0) return { values: result.data as Values, given };
  throw new ConfigError([
    ...misspelt,
    ...(result.error?.issues ?? []).map((issue) => {
      const name = issue.path[0] as FieldName;
      const { by, text } = given.get(name)!;
      const setting: Setting = SETTINGS[name];
      const value = setting.secret ? 'not usable' : JSON.stringify(withoutCredentials(text));
      return `${by} is ${value}; allowed: ${issue.message}`;
    }),
  ]);
}

/** The stronger place wins. Two variables would leave it open which one was meant. */
function masterKeySource(values: Values, given: Map<FieldName, Given>): { value?: string; file?: string } {
  const { masterKey: value, masterKeyFile: file } = values;
  const [byValue, byFile] = [given.get('masterKey'), given.get('masterKeyFile')];
  if (value === undefined && file === undefined) return {};
  if (value === undefined || isStronger(byFile, byValue)) return { file: file! };
  if (file !== undefined && byFile?.origin === byValue?.origin) {
    throw new ConfigError(['KEYBALANCER_MASTER_KEY and KEYBALANCER_MASTER_KEY_FILE are both set; keep one of them']);
  }
  return { value };
}

/** Cuts what a URL may carry of secrets. */
function withoutCredentials(text: string): string {
  return text.replace(/\/\/[^/]*@/, '//…@').replace(/[?#].*$/s, '?…');
}
