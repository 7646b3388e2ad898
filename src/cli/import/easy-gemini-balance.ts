import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type Database from 'better-sqlite3';
import type { KeyEntry, KeyOfFile } from '../../client/key-formats/key-entry.ts';
import { classify } from '../../gemini/classify.ts';
import { pastedError } from '../../gemini/pasted-error.ts';
import { redact } from '../../gemini/redact.ts';
import { ErrorClass, type KeyHistorySchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { unusable } from './database-copy.ts';

/** What its table api_keys says; a file of an old version has no source, and anything can stand in a column of SQLite. */
interface Row {
  key: unknown;
  weight?: unknown;
  is_available?: unknown;
  error_count?: unknown;
  consecutive_errors?: unknown;
  last_used?: unknown;
  last_error?: unknown;
  added_time?: unknown;
  source?: unknown;
}

const ROWS_AT_ONCE = 256;
/** As the server has it. */
const LONGEST_SOURCE = 128;
const LOWEST_HEALTH = 0.1;
const MOST_COUNTED = 2 ** 31 - 1;
/** Of the server's bounds for times: the year 9999. */
const LATEST_MS = 253_402_300_799_000;

/** How keys of easy-gemini-balance are taken over, and what was met. */
export interface Predecessor {
  keepWeights: boolean;
  /** Gathered as they are read; `outOfUse`: rows. */
  met: { outOfUse: Set<number>; imports: number; secretSources: number };
}

/** Its keys, with what became of them, numbered as the rows come. */
export async function* predecessorEntries(
  database: Database.Database,
  path: string,
  predecessor: Predecessor,
): AsyncGenerator<KeyEntry[]> {
  checkTable(database, path);
  predecessor.met.imports = importsIn(database);
  let number = 0;
  let entries: KeyEntry[] = [];
  for (const row of database.prepare('SELECT * FROM api_keys ORDER BY rowid').iterate() as IterableIterator<Row>) {
    entries.push(entryOf(row, ++number, predecessor));
    if (entries.length < ROWS_AT_ONCE) continue;
    yield entries;
    entries = [];
  }
  yield entries;
}

function checkTable(database: Database.Database, path: string): void {
  const columns = (database.pragma('table_info(api_keys)') as { name: string }[]).map(({ name }) => name);
  if (columns.includes('key')) return;
  const isOurs = columns.includes('fingerprint');
  throw isOurs
    ? unusable(
        path,
        'is a database of KeyBalancer itself',
        'that of easy-gemini-balance; `keybalancer restore` takes this one',
      )
    : unusable(path, 'has no table api_keys with keys', 'the database of easy-gemini-balance, keys.db');
}

function importsIn(database: Database.Database): number {
  if ((database.pragma('table_info(import_history)') as unknown[]).length === 0) return 0;
  return (database.prepare('SELECT count(*) AS count FROM import_history').get() as { count: number }).count;
}

function entryOf(row: Row, line: number, { keepWeights, met }: Predecessor): KeyEntry {
  if (typeof row.key !== 'string' || row.key === '') return { line, problem: 'there is no key' };
  const weight = typeof row.weight === 'number' ? row.weight : 1;
  const isOutOfUse = row.is_available === 0;
  if (isOutOfUse) met.outOfUse.add(line);
  const key: KeyOfFile = {
    apiKey: row.key,
    weight: keepWeights ? weight : 1,
    history: {
      ...historyOf(row),
      quarantined: isOutOfUse,
      // It moved weights by outcomes, from 1: what is left of that is health.
      healthFactor: keepWeights ? 1 : Math.min(1, Math.max(LOWEST_HEALTH, weight)),
    },
  };
  // A key that it read and wrote back has the time of adding there, by mistake.
  if (typeof row.source === 'string' && row.source !== '' && row.source !== row.added_time) {
    const source = row.source.slice(0, LONGEST_SOURCE);
    if (redact(source) === source) key.source = source;
    else met.secretSources++;
  }
  return { line, key };
}

function historyOf(row: Row): MessageInitShape<typeof KeyHistorySchema> {
  const consecutiveFailures = counted(row.consecutive_errors);
  const lastUsed = timeOf(row.last_used);
  const createTime = timeOf(row.added_time);
  // A time, or what the error said.
  const lastError = timeOf(row.last_error);
  // Its last call failed, if any did since one went well.
  const lastFailure = lastError ?? (consecutiveFailures > 0 ? lastUsed : undefined);
  return {
    consecutiveFailures,
    failed: BigInt(counted(row.error_count)),
    lastErrorClass: lastError === undefined ? classOf(row.last_error) : ErrorClass.UNKNOWN,
    ...(lastUsed && { lastAcquireTime: lastUsed }),
    ...(lastFailure && { lastFailureTime: lastFailure }),
    ...(createTime && { createTime }),
  };
}

function counted(value: unknown): number {
  return typeof value === 'number' && value > 0 ? Math.min(MOST_COUNTED, Math.floor(value)) : 0;
}

function classOf(lastError: unknown): ErrorClass {
  if (typeof lastError !== 'string' || lastError.trim() === '') return ErrorClass.UNSPECIFIED;
  return classify(pastedError(lastError, 0)).errorClass;
}

/**
 * Python wrote the time of the machine's own zone, with a T and without an offset; SQLite wrote UTC, with a space. What is none, and
 * what lies before 1970, is not known.
 */
function timeOf(value: unknown): ReturnType<typeof timestampFromMs> | undefined {
  // Date.parse() finds a year in many a sentence.
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/.test(value)) return undefined;
  const isUtc = /^\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d(\.\d+)?)?$/.test(value);
  const ms = Date.parse(isUtc ? `${value.replace(' ', 'T')}Z` : value);
  return ms >= 0 && ms <= LATEST_MS ? timestampFromMs(ms) : undefined;
}
