/** A metric as it is told of: under its OpenTelemetry name by OTLP, and under what prometheusName makes of it at /metrics. */
export interface Metric {
  /** Without "keybalancer.", which all begin with. */
  name: string;
  kind: 'gauge' | 'counter';
  /** A unit of UCUM, as the conventions want it; "": a number of what `labels` say. */
  unit: string;
  labels: readonly string[];
  /** What it says, in a sentence. */
  help: string;
  /** Only where series of each key are asked for. */
  perKey?: boolean;
}

/** Every metric of the server. Labels have few values each, but for key ids and, in bounds, projects and models. */
export const CATALOG = {
  keys: { name: 'keys', kind: 'gauge', unit: '{key}', labels: ['pool', 'state'], help: 'Keys by pool and state.' },
  activeLeases: {
    name: 'active_leases',
    kind: 'gauge',
    unit: '{lease}',
    labels: ['pool'],
    help: 'Leases that are held now.',
  },
  waitingAcquires: {
    name: 'waiting_acquires',
    kind: 'gauge',
    unit: '{acquire}',
    labels: ['pool'],
    help: 'Acquires that wait for a key now.',
  },
  acquired: leases('acquired', 'Leases handed out.'),
  succeeded: leases(
    'succeeded',
    'Leases reported as a success; with auto_success also those that ended by time, unreported until then.',
  ),
  failed: leases('failed', 'Leases reported as a failure.'),
  expired: leases('expired', 'Leases that ended by time, unreported until then.'),
  unused: leases('unused', 'Leases reported as not used.'),
  released: leases(
    'released',
    'Leases that their session, an administrator or the deletion of their key ended, unreported until then.',
  ),
  late: leases('late', 'Leases reported after they had ended; each counts by its report too.'),
  calls: {
    name: 'calls.reported',
    kind: 'counter',
    unit: '{call}',
    labels: ['pool'],
    help: 'Calls to the provider that were reported; several to a kept lease.',
  },
  tokens: {
    name: 'tokens',
    kind: 'counter',
    unit: '{token}',
    labels: ['pool', 'kind'],
    help: 'Tokens that were reported, by kind.',
  },
  refusals: {
    name: 'acquire.refusals',
    kind: 'counter',
    unit: '{acquire}',
    labels: ['pool', 'reason'],
    help: 'Acquires that were refused a key, by reason.',
  },
  failures: {
    name: 'failures',
    kind: 'counter',
    unit: '{call}',
    labels: ['pool', 'class'],
    help: 'Reported failures by what the server made of them.',
  },
  acquireLatency: latency('acquire.latency', ['pool'], 'from an acquire to its lease, waiting included'),
  acquireSamples: samples('acquire.latency', ['pool'], 'from an acquire to its lease, waiting included'),
  providerLatency: latency('provider.latency', ['pool'], 'that the provider took, as reported'),
  providerSamples: samples('provider.latency', ['pool'], 'that the provider took, as reported'),
  cooldowns: {
    name: 'cooldowns',
    kind: 'gauge',
    unit: '{cooldown}',
    labels: ['scope', 'cause'],
    help: 'Cooldowns that run now, by what rests (key, project, or model for everyone) and why.',
  },
  longestCooldown: {
    name: 'cooldown.longest',
    kind: 'gauge',
    unit: 's',
    labels: ['scope', 'cause'],
    help: 'Time until the last of these cooldowns ends.',
  },
  quotaUsed: {
    name: 'quota.used',
    kind: 'gauge',
    unit: '',
    labels: ['pool', 'model', 'limit'],
    help: 'Requests or tokens that count against known limits, over the projects with keys in the pool.',
  },
  quotaLeft: {
    name: 'quota.left',
    kind: 'gauge',
    unit: '',
    labels: ['pool', 'model', 'limit'],
    help: 'Requests or tokens that these limits still allow, over the same projects.',
  },
  commits: { name: 'store.commits', kind: 'counter', unit: '{commit}', labels: [], help: 'Group commits.' },
  commitOperations: {
    name: 'store.commit.operations',
    kind: 'counter',
    unit: '{operation}',
    labels: [],
    help: 'Operations that group commits carried.',
  },
  commitFailures: {
    name: 'store.commit.failures',
    kind: 'counter',
    unit: '{commit}',
    labels: [],
    help: 'Group commits that failed.',
  },
  commitLatency: latency('store.commit.latency', [], 'of a group commit'),
  commitSamples: samples('store.commit.latency', [], 'of a group commit'),
  databaseSize: { name: 'store.database', kind: 'gauge', unit: 'By', labels: [], help: 'Size of the database.' },
  keysMemory: {
    name: 'store.keys_memory',
    kind: 'gauge',
    unit: 'By',
    labels: [],
    help: 'Memory that the keys hold, all structures counted.',
  },
  cacheEntries: {
    name: 'secret_cache.entries',
    kind: 'gauge',
    unit: '{key}',
    labels: [],
    help: 'Decrypted keys in the cache.',
  },
  cacheCapacity: {
    name: 'secret_cache.capacity',
    kind: 'gauge',
    unit: '{key}',
    labels: [],
    help: 'Most decrypted keys that the cache holds.',
  },
  cacheHits: {
    name: 'secret_cache.hits',
    kind: 'counter',
    unit: '{key}',
    labels: [],
    help: 'Keys found in the cache.',
  },
  cacheMisses: {
    name: 'secret_cache.misses',
    kind: 'counter',
    unit: '{key}',
    labels: [],
    help: 'Keys that had to be decrypted.',
  },
  watchers: { name: 'watchers', kind: 'gauge', unit: '{stream}', labels: [], help: 'Open WatchHealth streams.' },
  sessions: { name: 'sessions', kind: 'gauge', unit: '{stream}', labels: [], help: 'Open Session streams.' },
  eventLoopDelay: {
    name: 'event_loop.delay',
    kind: 'gauge',
    unit: 's',
    labels: ['quantile'],
    help: 'How late the event loop ran, by quantile since the figures were last read; 1 is the longest.',
  },
  residentMemory: {
    name: 'process.resident_memory',
    kind: 'gauge',
    unit: 'By',
    labels: [],
    help: 'Resident set of the process.',
  },
  buildInfo: {
    name: 'build_info',
    kind: 'gauge',
    unit: '',
    labels: ['version', 'node'],
    help: 'Always 1; the labels say what runs.',
  },
  startTime: {
    name: 'start_time',
    kind: 'gauge',
    unit: 's',
    labels: [],
    help: 'When the server started, in seconds since 1970.',
  },
  keyUp: {
    name: 'key.up',
    kind: 'gauge',
    unit: '',
    labels: ['pool', 'project', 'key_id', 'state'],
    help: 'Whether the key serves now: 1 or 0.',
    perKey: true,
  },
  keyLeases: {
    name: 'key.leases',
    kind: 'gauge',
    unit: '{lease}',
    labels: ['pool', 'project', 'key_id'],
    help: 'Leases of the key that are held now.',
    perKey: true,
  },
  keyErrors: {
    name: 'key.errors',
    kind: 'counter',
    unit: '{call}',
    labels: ['pool', 'project', 'key_id', 'domain'],
    help: 'Failures reported of the key, by whose they are: of caller, key, project or provider.',
    perKey: true,
  },
  keysUntold: {
    name: 'keys.untold',
    kind: 'gauge',
    unit: '{key}',
    labels: [],
    help: 'Keys without series of their own, since there are more than 10,000.',
    perKey: true,
  },
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof CATALOG;

/** A value for each of its labels. */
export type Labels<M extends MetricName> = Record<(typeof CATALOG)[M]['labels'][number], string>;

function leases<N extends string>(name: N, help: string) {
  return { name: `leases.${name}`, kind: 'counter', unit: '{lease}', labels: ['pool'], help } as const;
}

/** The store keeps percentiles, not buckets; they cannot be added up over servers. */
function latency<const L extends readonly string[]>(name: string, labels: L, what: string) {
  const help = `Time ${what}, by quantile since the start; 1 is the longest.`;
  return { name, kind: 'gauge', unit: 's', labels: [...labels, 'quantile'] as const, help } as const;
}

function samples<const L extends readonly string[]>(name: string, labels: L, what: string) {
  const help = `Measurements of the time ${what}.`;
  return { name: `${name}.samples`, kind: 'counter', unit: '', labels, help } as const;
}

export function fullName({ name }: Pick<Metric, 'name'>): string {
  return `keybalancer.${name}`;
}

/** As collectors name it for Prometheus too: with the unit, and counters as totals. */
export function prometheusName({ name, unit, kind }: Pick<Metric, 'name' | 'unit' | 'kind'>): string {
  return fullName({ name }).replaceAll('.', '_') + (UNITS[unit] ?? '') + (kind === 'counter' ? '_total' : '');
}

/** Units that a name of Prometheus carries. */
const UNITS: Readonly<Record<string, string>> = { s: '_seconds', By: '_bytes' };
