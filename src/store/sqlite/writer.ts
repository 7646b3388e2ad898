import { randomUUID } from 'node:crypto';
import Database from 'better-sqlite3';
import type { ImportRow, Rows } from './journal.ts';
import { migrate } from './migrations.ts';
import {
  PACKED_TABLES,
  type PackedRows,
  type PackedTable,
  type PassedRows,
  packRows,
  unpackRow,
} from './packed-rows.ts';
import { deserializeRows } from './serialized-rows.ts';
import { column, decode, deleteSql, encode, IMPORTS, selectSql, TABLES, upsertSql } from './tables.ts';

/** Rows in one part of a load: small enough to pass between threads at once. */
const PART = 5_000;

/** Pages of 4 KiB that a backup copies before it lets others have their turn. */
const PAGES_A_STEP = 250;

/** Tables that hold rows of a key beside its own. */
const OF_KEY = ['key_secrets', 'key_health', 'key_status', 'key_usage', 'turns', 'affinities', 'leases'] as const;

/** What names a cooldown or quota. */
const OWNED = ['ownerKind', 'owner', 'model'] as const;

/** The database, used by one thread: opens it as its only owner, writes rows, reads them back. */
export class Writer {
  readonly storeId: string;
  readonly boot: number;
  readonly #db: Database.Database;
  readonly #statements = new Map<string, Database.Statement>();

  /** Throws with code SQLITE_BUSY when another process has it. */
  constructor(path: string, durability: 'full' | 'normal', startTime: number) {
    const db = new Database(path, { timeout: 0 });
    this.#db = db;
    try {
      // The lock is the operating system's: it goes with the process, however that ends.
      db.pragma('locking_mode = EXCLUSIVE');
      db.pragma('journal_mode = WAL');
      db.pragma(`synchronous = ${durability === 'full' ? 'FULL' : 'NORMAL'}`);
      db.pragma('secure_delete = ON');
      db.pragma('journal_size_limit = 67108864');
      db.exec('BEGIN IMMEDIATE; COMMIT');
      migrate(db, path);
      db.prepare("INSERT OR IGNORE INTO meta (name, value) VALUES ('store_id', ?)").run(randomUUID());
      this.storeId = (db.prepare("SELECT value FROM meta WHERE name = 'store_id'").get() as { value: string }).value;
      const last = db.prepare('SELECT max(boot) AS boot FROM boots').get() as { boot: number | null };
      this.boot = (last.boot ?? 0) + 1;
      db.prepare('INSERT INTO boots (boot, start_time, watermark) VALUES (?, ?, 0)').run(this.boot, startTime);
    } catch (error) {
      db.close();
      throw error;
    }
  }

  *load(): Generator<Rows> {
    const meta = this.#db.prepare('SELECT name, value FROM meta').all() as { name: string; value: string }[];
    const named = Object.fromEntries(meta.map(({ name, value }) => [name, value]));
    yield { meta: named, revision: Number(named.revision ?? 0) };
    for (const table of TABLES) {
      const where = table.rows === 'boots' ? ` WHERE boot < ${this.boot} ORDER BY boot` : '';
      let part: unknown[] = [];
      for (const row of this.#db.prepare(selectSql(table) + where).iterate()) {
        part.push(decode(table, row as Record<string, unknown>));
        if (part.length < PART) continue;
        yield { [table.rows]: part };
        part = [];
      }
      if (part.length > 0) yield { [table.rows]: part };
    }
  }

  /** One transaction for all rows. */
  commit(rows: PassedRows): void {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      for (const part of rows.serialized ?? []) this.#write(packRows(deserializeRows(part)));
      this.#write(rows);
      this.#db.exec('COMMIT');
    } catch (error) {
      // Some errors have ended the transaction already.
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  /** undefined: there is no such name. */
  readMeta(name: string): string | undefined {
    const row = this.#prepared('SELECT value FROM meta WHERE name = ?').get(name) as { value: string } | undefined;
    return row?.value;
  }

  readSecret(ordinal: number): Uint8Array | undefined {
    const row = this.#prepared('SELECT sealed FROM key_secrets WHERE ordinal = ?').get(ordinal);
    return (row as { sealed: Uint8Array } | undefined)?.sealed;
  }

  readImports(query: { pool: string; before: number; limit: number }): ImportRow[] {
    const sql = `${selectSql(IMPORTS)} WHERE (@pool = '' OR pool = @pool) AND (@before = 0 OR id < @before) ORDER BY id DESC LIMIT @limit`;
    return this.#prepared(sql).all(query) as ImportRow[];
  }

  /** Copies the database as it is at the end, in steps between which other calls get their turn. */
  async backUp(path: string, progress: (copiedPages: number, totalPages: number) => void): Promise<void> {
    await this.#db.backup(path, {
      progress: ({ totalPages, remainingPages }) => {
        progress(totalPages - remainingPages, totalPages);
        return PAGES_A_STEP;
      },
    });
  }

  get pageSize(): number {
    return this.#db.pragma('page_size', { simple: true }) as number;
  }

  close(): void {
    try {
      this.#db.pragma('wal_checkpoint(TRUNCATE)');
    } catch {
      // On a full disk the log stays, and the next owner reads it.
    }
    this.#db.close();
  }

  #write(rows: PassedRows): void {
    for (const [name, value] of Object.entries(rows.meta ?? {})) this.#setMeta(name, value);
    if (rows.revision !== undefined) this.#setMeta('revision', String(rows.revision));
    for (const lane of rows.droppedLanes ?? []) {
      this.#prepared(deleteSql('lanes', ['lane'])).run(lane);
      this.#prepared(deleteSql('turns', ['lane'])).run(lane);
    }
    for (const table of [...TABLES, IMPORTS]) {
      const list = (rows as Record<string, unknown>)[table.rows] as object[] | undefined;
      if (list === undefined || list.length === 0) continue;
      const upsert = this.#prepared(upsertSql(table));
      for (const row of list) upsert.run(encode(table, row));
    }
    for (const table of PACKED_TABLES) {
      const packed = rows.packed[table.kind];
      if (packed !== undefined) this.#writePacked(table, packed);
    }
    for (const { ordinal, sealed } of rows.keys ?? []) {
      if (sealed === undefined) continue;
      this.#prepared('INSERT OR REPLACE INTO key_secrets (ordinal, sealed) VALUES (?, ?)').run(ordinal, sealed);
    }
    this.#deleteLeases(rows.endedLeases);
    this.#delete('cooldowns', OWNED, rows.endedCooldowns);
    this.#delete('quotas', OWNED, rows.endedQuotas);
    this.#delete('meters', OWNED, rows.endedMeters);
    this.#delete('affinities', ['pool', 'affinityKey'], rows.droppedAffinities);
    for (const ordinal of rows.deletedKeys ?? []) this.#deleteKey(ordinal);
    for (const pool of rows.deletedPools ?? []) this.#deletePool(pool);
    this.#prune(rows.prune);
  }

  #writePacked(table: PackedTable, packed: PackedRows): void {
    const upsert = this.#prepared(upsertSql(table.table));
    const count = packed.numbers.length / table.texts.length;
    const values: unknown[] = new Array(table.texts.length);
    for (let row = 0; row < count; row++) upsert.run(unpackRow(table, packed, row, values));
  }

  #deleteLeases(pairs: Float64Array | undefined): void {
    if (pairs === undefined) return;
    const statement = this.#prepared(deleteSql('leases', ['boot', 'seq']));
    for (let i = 0; i < pairs.length; i += 2) statement.run(pairs[i], pairs[i + 1]);
  }

  #delete(table: string, fields: readonly string[], list: readonly object[] | undefined): void {
    if (list === undefined || list.length === 0) return;
    const statement = this.#prepared(deleteSql(table, fields));
    for (const row of list) statement.run(fields.map((field) => (row as Record<string, unknown>)[field]));
  }

  #deleteKey(ordinal: number): void {
    for (const table of OF_KEY) this.#prepared(deleteSql(table, ['ordinal'])).run(ordinal);
    for (const table of ['cooldowns', 'quotas', 'meters']) {
      this.#prepared(`DELETE FROM ${table} WHERE owner_kind IN ('key', 'solo') AND owner = ?`).run(String(ordinal));
    }
    this.#prepared(deleteSql('api_keys', ['ordinal'])).run(ordinal);
  }

  #deletePool(pool: string): void {
    this.#prepared('DELETE FROM turns WHERE lane IN (SELECT lane FROM lanes WHERE pool = ?)').run(pool);
    for (const table of ['lanes', 'pool_usage', 'model_usage', 'affinities', 'pools']) {
      this.#prepared(deleteSql(table, ['pool'])).run(pool);
    }
  }

  #prune(prune: Rows['prune']): void {
    if (prune?.replays !== undefined) this.#prepared('DELETE FROM replays WHERE time < ?').run(prune.replays);
    if (prune?.reclaimed !== undefined) {
      this.#prepared(`DELETE FROM reclaimed_leases WHERE ${column('forgetTime')} < ?`).run(prune.reclaimed);
    }
    if (prune?.removedKeys !== undefined) {
      // The largest ordinal stays, so that it is not given again.
      const sql = 'DELETE FROM removed_keys WHERE revision <= ? AND ordinal < (SELECT max(ordinal) FROM removed_keys)';
      this.#prepared(sql).run(prune.removedKeys);
    }
    if (prune?.boots !== undefined) this.#prepared('DELETE FROM boots WHERE boot < ?').run(prune.boots);
  }

  #setMeta(name: string, value: string): void {
    this.#prepared('INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)').run(name, value);
  }

  #prepared(sql: string): Database.Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}
