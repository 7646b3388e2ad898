/** One thing that can be set from outside: how it is called on the command line and in the environment. */
export interface Setting {
  /** Long option, with its dashes. undefined: the environment alone, because an argument can be seen by every user of the machine. */
  flag?: string;
  /** Placeholder of the option's value in the help; undefined: a switch. */
  argument?: string;
  /** Environment variable. */
  variable: string;
  description: string;
  /** What holds when it is not set, in words. */
  fallback: string;
  /** Its value is shown nowhere. */
  secret?: boolean;
}

/**
 * Every setting. Apart from the schema in config.ts, which reads their values, so that `--help` need not load a validator.
 */
export const SETTINGS = {
  dataDir: {
    flag: '--data-dir',
    argument: 'DIR',
    variable: 'KEYBALANCER_DATA_DIR',
    description: 'where keys, counters and the unix socket are',
    fallback: '$XDG_DATA_HOME/keybalancer, else ~/.local/share/keybalancer',
  },
  grpc: {
    flag: '--grpc',
    argument: 'HOST:PORT|off',
    variable: 'KEYBALANCER_GRPC',
    description: 'where to serve gRPC; port 0 takes a free one',
    fallback: '127.0.0.1:50051',
  },
  http: {
    flag: '--http',
    argument: 'HOST:PORT|off',
    variable: 'KEYBALANCER_HTTP',
    description: 'where to serve HTTP (Connect, /healthz, /metrics); port 0 takes a free one',
    fallback: '127.0.0.1:8051',
  },
  durability: {
    flag: '--durability',
    argument: 'full|normal',
    variable: 'KEYBALANCER_DURABILITY',
    description: 'what a commit survives: full, the loss of power; normal, the end of the process',
    fallback: 'full',
  },
  masterKey: {
    variable: 'KEYBALANCER_MASTER_KEY',
    description: 'master key that seals the API keys: 64 hexadecimal digits, or base64 of 32 bytes',
    fallback: 'master.key in the data dir, made on the first start',
    secret: true,
  },
  masterKeyFile: {
    flag: '--master-key-file',
    argument: 'FILE',
    variable: 'KEYBALANCER_MASTER_KEY_FILE',
    description: 'file that holds the master key',
    fallback: 'master.key in the data dir, made on the first start',
  },
  geminiBaseUrl: {
    flag: '--gemini-base-url',
    argument: 'URL',
    variable: 'KEYBALANCER_GEMINI_BASE_URL',
    description: 'where the server itself asks Gemini whether a key is valid',
    fallback: 'https://generativelanguage.googleapis.com',
  },
  verify: {
    flag: '--verify',
    argument: 'on|off',
    variable: 'KEYBALANCER_VERIFY',
    description:
      'whether Gemini is asked before a key is disabled; off, where the server has no way out: reports decide',
    fallback: 'on',
  },
  insecure: {
    flag: '--insecure',
    variable: 'KEYBALANCER_INSECURE',
    description: 'serve without TLS on addresses that others can reach',
    fallback: 'false',
  },
  logLevel: {
    flag: '--log-level',
    argument: 'LEVEL',
    variable: 'KEYBALANCER_LOG_LEVEL',
    description: 'least severe level to log: trace, debug, info, warn, error, fatal or silent',
    fallback: 'info',
  },
  address: {
    flag: '--address',
    argument: 'HOST:PORT|unix:PATH',
    variable: 'KEYBALANCER_ADDRESS',
    description: 'server to ask',
    fallback: 'the server of the data dir, else the data dir itself',
  },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof SETTINGS;

/** Values as commander hands them over; a setting that was not given is absent. */
export type Flags = Partial<Record<SettingName, string | boolean>>;
