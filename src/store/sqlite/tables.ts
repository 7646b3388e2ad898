import { LIMIT_NAMES } from '../../engine/quota/limits.ts';
import type { Rows } from './journal.ts';

/** How a field is kept in its column, where that is not as it is. */
type Codec = 'json' | 'flag';

/** A kind of row: its table, and its fields in the order of its columns. */
export interface Table {
  rows: keyof Rows;
  table: string;
  /** Fields that name a row. */
  key: readonly string[];
  fields: readonly string[];
  codecs: Readonly<Record<string, Codec>>;
}

const COUNTS = [
  'succeeded',
  'failed',
  'expired',
  'unused',
  'released',
  'late',
  'calls',
  'inputTokens',
  'outputTokens',
  'cachedTokens',
] as const;

/** What names a cooldown or quota. */
const OWNED = ['ownerKind', 'owner', 'model'];

function table(rows: keyof Rows, name: string, key: string[], fields: string[], codecs: Table['codecs'] = {}): Table {
  return { rows, table: name, key, fields: [...key, ...fields], codecs };
}

/** Parents before children: the order in which they are written and read. */
export const TABLES: readonly Table[] = [
  table('boots', 'boots', ['boot'], ['startTime', 'watermark']),
  table(
    'pools',
    'pools',
    ['pool'],
    [
      'defaultLeaseTtlMs',
      'maxLeaseTtlMs',
      'maxConcurrentLeases',
      'maxTotalLeases',
      'maxWaiting',
      'description',
      'autoSuccess',
      'selection',
      'version',
    ],
    { autoSuccess: 'flag' },
  ),
  table('poolUsage', 'pool_usage', ['pool'], [...COUNTS, 'acquiresRejected', 'failuresByClass'], {
    failuresByClass: 'json',
  }),
  table('modelUsage', 'model_usage', ['pool', 'model'], [...COUNTS]),
  table(
    'keys',
    'api_keys',
    ['ordinal'],
    [
      'pool',
      'fingerprint',
      'redactedKey',
      'project',
      'weight',
      'maxConcurrentLeases',
      'models',
      'source',
      'labels',
      'tier',
      'disabled',
      'createTime',
      'updateTime',
      'version',
      'createRevision',
    ],
    { models: 'json', labels: 'json', disabled: 'flag' },
  ),
  table(
    'health',
    'key_health',
    ['ordinal'],
    [
      'factor',
      'consecutiveFailures',
      'lastErrorClass',
      'lastSuccessTime',
      'lastFailureTime',
      'lastAcquireTime',
      'revision',
    ],
  ),
  table('usage', 'key_usage', ['ordinal'], [...COUNTS]),
  table(
    'status',
    'key_status',
    ['ordinal'],
    [
      'disabledFor',
      'learnedProject',
      'learnedFrom',
      'learnedTime',
      'suspectedOf',
      'suspectedTime',
      'suspectedBy',
      'held',
      'refusals',
      'unanswered',
      'unansweredClass',
      'nextCheck',
      'verifiedTime',
    ],
    { held: 'flag' },
  ),
  table(
    'cooldowns',
    'cooldowns',
    OWNED,
    ['cause', 'untilTime', 'sinceTime', 'strikes', 'probeTime', 'forgetTime', 'halfOpen', 'dayEnd', 'trial'],
    { halfOpen: 'flag' },
  ),
  table('quotas', 'quotas', OWNED, [...LIMIT_NAMES]),
  table('meters', 'meters', OWNED, [
    'dayEnd',
    'dayRequests',
    'dayTokens',
    'daySucceeded',
    'daySucceededTokens',
    'minuteTime',
    'minuteRequests',
    'minuteTokens',
    ...LIMIT_NAMES.flatMap((name) => [`${name}Learned`, `${name}LearnedAt`]),
  ]),
  table(
    'callers',
    'callers',
    ['caller'],
    [
      'quarantined',
      'confirmed',
      'refuted',
      'projectsLearned',
      'projectsRefused',
      'delaysDistrusted',
      'limitsLearned',
      'limitsRefused',
      'refutations',
      'lessons',
    ],
    { refutations: 'json', lessons: 'json' },
  ),
  table('lanes', 'lanes', ['lane'], ['pool', 'model', 'virtualTimes', 'picks', 'current'], { virtualTimes: 'json' }),
  table('turns', 'turns', ['lane', 'ordinal'], ['pass', 'lastPick']),
  table(
    'leases',
    'leases',
    ['boot', 'seq'],
    ['ordinal', 'model', 'caller', 'acquireTime', 'expireTime', 'state', 'sessionId', 'lastOutcome'],
  ),
  table('reclaimed', 'reclaimed_leases', ['boot', 'seq'], ['forgetTime']),
  table('replays', 'replays', ['caller', 'method', 'requestId'], ['contentHash', 'time', 'answer']),
  table('affinities', 'affinities', ['pool', 'affinityKey'], ['ordinal', 'time']),
  table('removedKeys', 'removed_keys', ['ordinal'], ['pool', 'revision']),
];

/** Not read back at the start: asked for page by page. */
export const IMPORTS = table(
  'imports',
  'import_history',
  ['id'],
  ['pool', 'source', 'importTime', 'created', 'updated', 'unchanged', 'rejected'],
);

export function column(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function upsertSql({ table: name, key, fields }: Table): string {
  const others = fields.filter((field) => !key.includes(field)).map(column);
  return (
    `INSERT INTO ${name} (${fields.map(column).join(', ')}) VALUES (${fields.map(() => '?').join(', ')}) ` +
    `ON CONFLICT (${key.map(column).join(', ')}) DO UPDATE SET ${others.map((each) => `${each} = excluded.${each}`).join(', ')}`
  );
}

export function selectSql({ table: name, fields }: Table): string {
  return `SELECT ${fields.map((field) => `${column(field)} AS "${field}"`).join(', ')} FROM ${name}`;
}

export function deleteSql(name: string, fields: readonly string[]): string {
  return `DELETE FROM ${name} WHERE ${fields.map((field) => `${column(field)} = ?`).join(' AND ')}`;
}

/** A row as values of its table's columns. */
export function encode({ fields, codecs }: Table, row: object): unknown[] {
  const values: unknown[] = new Array(fields.length);
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i]!;
    const value = (row as Record<string, unknown>)[field];
    const codec = codecs[field];
    values[i] = codec === undefined ? value : codec === 'json' ? JSON.stringify(value) : value ? 1 : 0;
  }
  return values;
}

export function decode({ codecs }: Table, row: Record<string, unknown>): Record<string, unknown> {
  for (const [field, codec] of Object.entries(codecs)) {
    row[field] = codec === 'json' ? JSON.parse(row[field] as string) : row[field] === 1;
  }
  return row;
}
