import { statSync } from 'node:fs';
import Database from 'better-sqlite3';
import { Vault } from '../vault.ts';
import { MIGRATIONS } from './migrations.ts';

/** What a database file was found to be. */
export interface Examination {
  /** Sentences, none with a secret. None: it is in order. */
  problems: string[];
  keys: number;
  schemaVersion: number;
  sizeBytes: number;
}

/** Problems told of one kind. */
const MOST_TOLD = 20;

/**
 * Reads a database file that nobody has open, all of it: takes as long as that. With the master key it also opens every
 * key. Makes it one file, without a log beside it. Throws where it is no database at all.
 */
export function examine(path: string, masterKey: Uint8Array | undefined): Examination {
  const db = new Database(path, { fileMustExist: true });
  try {
    db.pragma('journal_mode = DELETE');
    const schemaVersion = db.pragma('user_version', { simple: true }) as number;
    const found = { keys: 0, schemaVersion, sizeBytes: statSync(path).size };
    if (!isOurs(db)) return { ...found, problems: ['it is an SQLite database, but none of KeyBalancer'] };
    if (schemaVersion > MIGRATIONS.length) {
      const newest = MIGRATIONS.length;
      return {
        ...found,
        problems: [`its schema version ${schemaVersion} is newer than ${newest}, which this program knows`],
      };
    }
    const problems = (db.pragma(`integrity_check(${MOST_TOLD})`) as { integrity_check: string }[])
      .map(({ integrity_check: said }) => said)
      .filter((said) => said !== 'ok');
    found.keys = (db.prepare('SELECT count(*) AS n FROM api_keys').get() as { n: number }).n;
    const bare = count(
      db,
      'SELECT count(*) AS n FROM api_keys LEFT JOIN key_secrets USING (ordinal) WHERE sealed IS NULL',
    );
    if (bare > 0) problems.push(`${bare} keys have no sealed secret`);
    if (masterKey !== undefined) problems.push(...sealProblems(db, new Vault(Buffer.from(masterKey))));
    return { ...found, problems };
  } finally {
    db.close();
  }
}

function isOurs(db: Database.Database): boolean {
  const tables = db.prepare(
    "SELECT count(*) AS n FROM sqlite_schema WHERE name IN ('meta', 'boots', 'api_keys', 'key_secrets')",
  );
  return (tables.get() as { n: number }).n === 4;
}

function sealProblems(db: Database.Database, vault: Vault): string[] {
  const check = db.prepare("SELECT value FROM meta WHERE name = 'master_key_check'").get() as
    | { value: string }
    | undefined;
  if (check !== undefined && check.value !== vault.check()) return ['its keys were sealed with another master key'];
  const problems: string[] = [];
  let closed = 0;
  const sealed = db.prepare('SELECT ordinal, sealed FROM key_secrets ORDER BY ordinal').iterate();
  for (const { ordinal, sealed: secret } of sealed as IterableIterator<{ ordinal: number; sealed: Uint8Array }>) {
    try {
      vault.open(ordinal, secret);
    } catch (error) {
      closed++;
      if (closed <= MOST_TOLD) problems.push((error as Error).message);
    }
  }
  if (closed > MOST_TOLD) problems.push(`and ${closed - MOST_TOLD} more sealed secrets do not open`);
  return problems;
}

function count(db: Database.Database, sql: string): number {
  return (db.prepare(sql).get() as { n: number }).n;
}
