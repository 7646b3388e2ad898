/** One thing that can be set from outside: how it is called on the command line, in the environment and in a config file. */
export interface Setting {
  /** Long option, with its dashes. undefined: never on the command line, because an argument can be seen by every user of the machine. */
  flag?: string;
  /** What the help calls the option's value; undefined: a switch. */
  argument?: string;
  /** Environment variable. */
  variable: string;
  /** Variable by which other programs have it too, looked at where `variable` is not set. */
  standard?: string;
  /** Field of a config file. undefined: never in a file. */
  field?: string;
  description: string;
  /** What is allowed, in words. */
  allowed: string;
  /** What holds when it is not set, in words. */
  fallback: string;
  /** Its value is shown nowhere. */
  secret?: boolean;
  /** Who reads it: the server, commands that ask one, or both. */
  readBy: 'server' | 'commands' | 'both';
  /** A running server takes it over when its configuration is read again; else it needs a restart. */
  live?: boolean;
}

/**
 * Every setting. Apart from the schema in schema.ts, which reads their values, so that `--help` need not load a validator.
 */
export const SETTINGS = {
  config: {
    flag: '--config',
    argument: 'FILE',
    variable: 'KEYBALANCER_CONFIG',
    description: 'config file: YAML, TOML or JSON, by the end of its name',
    allowed: 'the path of a file whose name ends in .yaml, .yml, .toml or .json',
    fallback:
      'keybalancer.yaml, .yml, .toml or .json in $XDG_CONFIG_HOME/keybalancer (~/.config/keybalancer), else in /etc/keybalancer',
    readBy: 'both',
  },
  dataDir: {
    flag: '--data-dir',
    argument: 'DIR',
    variable: 'KEYBALANCER_DATA_DIR',
    field: 'data_dir',
    description: 'where keys, counters and the unix socket are',
    allowed: 'the path of a directory',
    fallback: '$XDG_DATA_HOME/keybalancer, else ~/.local/share/keybalancer',
    readBy: 'both',
  },
  grpc: {
    flag: '--grpc',
    argument: 'HOST:PORT|off',
    variable: 'KEYBALANCER_GRPC',
    field: 'grpc',
    description: 'where to serve gRPC; port 0 takes a free one',
    allowed: 'HOST:PORT with a port of 0 to 65535, such as 127.0.0.1:50051 or [::1]:0, or off',
    fallback: '127.0.0.1:50051',
    readBy: 'server',
  },
  http: {
    flag: '--http',
    argument: 'HOST:PORT|off',
    variable: 'KEYBALANCER_HTTP',
    field: 'http',
    description: 'where to serve HTTP (Connect, /healthz, /metrics); port 0 takes a free one',
    allowed: 'HOST:PORT with a port of 0 to 65535, such as 127.0.0.1:50051 or [::1]:0, or off',
    fallback: '127.0.0.1:8051',
    readBy: 'server',
  },
  durability: {
    flag: '--durability',
    argument: 'full|normal',
    variable: 'KEYBALANCER_DURABILITY',
    field: 'durability',
    description: 'what a commit survives: full, the loss of power; normal, the end of the process',
    allowed: 'full or normal',
    fallback: 'full',
    readBy: 'server',
  },
  masterKey: {
    variable: 'KEYBALANCER_MASTER_KEY',
    description: 'master key that seals the API keys: 64 hexadecimal digits, or base64 of 32 bytes',
    allowed: '64 hexadecimal digits, or base64 of 32 bytes',
    fallback: 'master.key in the data dir, made on the first start',
    secret: true,
    readBy: 'both',
  },
  masterKeyFile: {
    flag: '--master-key-file',
    argument: 'FILE',
    variable: 'KEYBALANCER_MASTER_KEY_FILE',
    field: 'master_key_file',
    description: 'file that holds the master key',
    allowed: 'the path of a file',
    fallback: 'master.key in the data dir, made on the first start',
    readBy: 'both',
  },
  geminiBaseUrl: {
    flag: '--gemini-base-url',
    argument: 'URL',
    variable: 'KEYBALANCER_GEMINI_BASE_URL',
    field: 'gemini_base_url',
    description: 'where the server itself asks Gemini whether a key is valid',
    allowed: 'an http or https URL without user, query and fragment',
    fallback: 'https://generativelanguage.googleapis.com',
    readBy: 'both',
  },
  verify: {
    flag: '--verify',
    argument: 'on|off',
    variable: 'KEYBALANCER_VERIFY',
    field: 'verify',
    description:
      'whether Gemini is asked before a key is disabled; off, where the server has no way out: reports decide',
    allowed: 'on or off',
    fallback: 'on',
    readBy: 'server',
  },
  insecure: {
    flag: '--insecure',
    variable: 'KEYBALANCER_INSECURE',
    field: 'insecure',
    description: 'serve without TLS on addresses that others can reach',
    allowed: 'true or false',
    fallback: 'false',
    readBy: 'server',
  },
  logLevel: {
    flag: '--log-level',
    argument: 'LEVEL',
    variable: 'KEYBALANCER_LOG_LEVEL',
    field: 'log_level',
    description: 'least severe level to log: trace, debug, info, warn, error, fatal or silent',
    allowed: 'trace, debug, info, warn, error, fatal, silent',
    fallback: 'info',
    readBy: 'server',
    live: true,
  },
  otlpEndpoint: {
    flag: '--otlp-endpoint',
    argument: 'URL|off',
    variable: 'KEYBALANCER_OTLP_ENDPOINT',
    standard: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    field: 'otlp_endpoint',
    description:
      'OpenTelemetry collector that traces, metrics and logs are sent to, by OTLP as http/protobuf; more by the OTEL_ variables that docs/telemetry.md names',
    allowed: 'an http or https URL without user, query and fragment, or off',
    fallback: 'none, and nothing is sent',
    readBy: 'server',
  },
  metricsPerKey: {
    flag: '--metrics-per-key',
    argument: 'on|off',
    variable: 'KEYBALANCER_METRICS_PER_KEY',
    field: 'metrics_per_key',
    description:
      'whether metrics have series of single keys, by key id, for the first 10,000 of them; off, where that would be too many',
    allowed: 'on or off',
    fallback: 'off',
    readBy: 'server',
    live: true,
  },
  address: {
    flag: '--address',
    argument: 'HOST:PORT|unix:PATH',
    variable: 'KEYBALANCER_ADDRESS',
    field: 'address',
    description: 'server to ask, or several with commas between, tried in their order',
    allowed: 'HOST:PORT with a port of 1 to 65535, or unix:PATH; several with commas between',
    fallback: 'the server of the data dir, else the data dir itself',
    readBy: 'commands',
  },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof SETTINGS;

export type FieldName = Exclude<SettingName, 'config'>;

/** What is set: all but where to look for that. */
export const FIELDS = Object.keys(SETTINGS).filter((name) => name !== 'config') as FieldName[];

/** Those that `keybalancer serve` reads, or those of commands that ask a server. */
export function settingsReadBy(who: 'server' | 'commands'): FieldName[] {
  return FIELDS.filter((name) => {
    const { readBy }: Setting = SETTINGS[name];
    return readBy === who || readBy === 'both';
  });
}

/** Values as commander hands them over; a setting that was not given is absent. */
export type Flags = Partial<Record<SettingName, string | boolean>>;
