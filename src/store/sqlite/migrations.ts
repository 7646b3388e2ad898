import type { Database } from 'better-sqlite3';
import { DataDirError } from '../data-dir.ts';

/** Forward only: a step that has shipped never changes. Step n brings a database to version n. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE boots (boot INTEGER PRIMARY KEY, start_time REAL NOT NULL, watermark INTEGER NOT NULL);
  CREATE TABLE pools (
    pool TEXT PRIMARY KEY, default_lease_ttl_ms REAL NOT NULL, max_lease_ttl_ms REAL NOT NULL,
    max_concurrent_leases INTEGER NOT NULL, max_total_leases INTEGER NOT NULL, max_waiting INTEGER NOT NULL,
    description TEXT NOT NULL, auto_success INTEGER NOT NULL, selection INTEGER NOT NULL, version INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE api_keys (
    ordinal INTEGER PRIMARY KEY, pool TEXT NOT NULL, fingerprint TEXT NOT NULL UNIQUE, redacted_key TEXT NOT NULL,
    project TEXT NOT NULL, weight REAL NOT NULL, max_concurrent_leases INTEGER, models TEXT NOT NULL, source TEXT NOT NULL,
    labels TEXT NOT NULL, tier INTEGER NOT NULL, disabled INTEGER NOT NULL, create_time REAL NOT NULL,
    update_time REAL NOT NULL, version INTEGER NOT NULL, create_revision INTEGER NOT NULL
  );
  CREATE TABLE key_secrets (ordinal INTEGER PRIMARY KEY, sealed BLOB NOT NULL);
  CREATE TABLE key_health (
    ordinal INTEGER PRIMARY KEY, factor REAL NOT NULL, consecutive_failures INTEGER NOT NULL,
    last_error_class INTEGER NOT NULL, last_success_time REAL, last_failure_time REAL, last_acquire_time REAL,
    revision INTEGER NOT NULL
  );
  CREATE TABLE key_usage (
    ordinal INTEGER PRIMARY KEY, succeeded INTEGER NOT NULL, failed INTEGER NOT NULL, expired INTEGER NOT NULL,
    unused INTEGER NOT NULL, released INTEGER NOT NULL, late INTEGER NOT NULL, calls INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL
  );
  CREATE TABLE pool_usage (
    pool TEXT PRIMARY KEY, succeeded INTEGER NOT NULL, failed INTEGER NOT NULL, expired INTEGER NOT NULL,
    unused INTEGER NOT NULL, released INTEGER NOT NULL, late INTEGER NOT NULL, calls INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    acquires_rejected INTEGER NOT NULL, failures_by_class TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE model_usage (
    pool TEXT NOT NULL, model TEXT NOT NULL, succeeded INTEGER NOT NULL, failed INTEGER NOT NULL,
    expired INTEGER NOT NULL, unused INTEGER NOT NULL, released INTEGER NOT NULL, late INTEGER NOT NULL,
    calls INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL, PRIMARY KEY (pool, model)
  ) WITHOUT ROWID;
  CREATE TABLE cooldowns (
    owner_kind TEXT NOT NULL, owner TEXT NOT NULL, model TEXT NOT NULL, cause INTEGER NOT NULL, until_time REAL NOT NULL,
    PRIMARY KEY (owner_kind, owner, model)
  ) WITHOUT ROWID;
  CREATE TABLE lanes (
    lane INTEGER PRIMARY KEY, pool TEXT NOT NULL, model TEXT NOT NULL, virtual_times TEXT NOT NULL, picks INTEGER NOT NULL
  );
  CREATE TABLE turns (
    lane INTEGER NOT NULL, ordinal INTEGER NOT NULL, pass REAL NOT NULL, last_pick INTEGER NOT NULL,
    PRIMARY KEY (lane, ordinal)
  ) WITHOUT ROWID;
  CREATE TABLE leases (
    boot INTEGER NOT NULL, seq INTEGER NOT NULL, ordinal INTEGER NOT NULL, model TEXT NOT NULL, caller TEXT NOT NULL,
    acquire_time REAL NOT NULL, expire_time REAL NOT NULL, state INTEGER NOT NULL, session_id TEXT NOT NULL,
    last_outcome INTEGER NOT NULL, PRIMARY KEY (boot, seq)
  ) WITHOUT ROWID;
  CREATE TABLE reclaimed_leases (
    boot INTEGER NOT NULL, seq INTEGER NOT NULL, forget_time REAL NOT NULL, PRIMARY KEY (boot, seq)
  ) WITHOUT ROWID;
  CREATE TABLE replays (
    caller TEXT NOT NULL, method TEXT NOT NULL, request_id TEXT NOT NULL, content_hash TEXT NOT NULL,
    time REAL NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (caller, method, request_id)
  ) WITHOUT ROWID;
  CREATE INDEX replays_by_time ON replays (time);
  CREATE TABLE affinities (
    pool TEXT NOT NULL, affinity_key TEXT NOT NULL, ordinal INTEGER NOT NULL, time REAL NOT NULL,
    PRIMARY KEY (pool, affinity_key)
  ) WITHOUT ROWID;
  CREATE TABLE removed_keys (ordinal INTEGER PRIMARY KEY, pool TEXT NOT NULL, revision INTEGER NOT NULL);
  CREATE TABLE import_history (
    id INTEGER PRIMARY KEY, pool TEXT NOT NULL, source TEXT NOT NULL, import_time REAL NOT NULL,
    created INTEGER NOT NULL, updated INTEGER NOT NULL, unchanged INTEGER NOT NULL, rejected INTEGER NOT NULL
  );
  `,
  `
  ALTER TABLE cooldowns ADD COLUMN since_time REAL NOT NULL DEFAULT 0;
  ALTER TABLE cooldowns ADD COLUMN strikes INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE cooldowns ADD COLUMN probe_time REAL;
  ALTER TABLE cooldowns ADD COLUMN forget_time REAL;
  ALTER TABLE cooldowns ADD COLUMN half_open INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE cooldowns ADD COLUMN day_end REAL;
  ALTER TABLE cooldowns ADD COLUMN trial TEXT NOT NULL DEFAULT '';
  UPDATE cooldowns SET forget_time = until_time;
  ALTER TABLE lanes ADD COLUMN current TEXT NOT NULL DEFAULT '';
  CREATE TABLE key_status (
    ordinal INTEGER PRIMARY KEY, disabled_for INTEGER NOT NULL, learned_project TEXT NOT NULL, learned_from TEXT NOT NULL,
    learned_time REAL NOT NULL, suspected_of INTEGER NOT NULL, suspected_time REAL NOT NULL, suspected_by TEXT NOT NULL,
    held INTEGER NOT NULL, refusals INTEGER NOT NULL, unanswered INTEGER NOT NULL, unanswered_class INTEGER NOT NULL,
    next_check REAL NOT NULL, verified_time REAL
  );
  CREATE TABLE quotas (
    owner_kind TEXT NOT NULL, owner TEXT NOT NULL, model TEXT NOT NULL, requests_per_minute REAL,
    input_tokens_per_minute REAL, requests_per_day REAL, tokens_per_day REAL, PRIMARY KEY (owner_kind, owner, model)
  ) WITHOUT ROWID;
  CREATE TABLE meters (
    owner_kind TEXT NOT NULL, owner TEXT NOT NULL, model TEXT NOT NULL, day_end REAL NOT NULL, day_requests REAL NOT NULL,
    day_tokens REAL NOT NULL, day_succeeded REAL NOT NULL, day_succeeded_tokens REAL NOT NULL, minute_time REAL NOT NULL,
    minute_requests REAL NOT NULL, minute_tokens REAL NOT NULL, requests_per_minute_learned REAL NOT NULL,
    requests_per_minute_learned_at REAL NOT NULL, input_tokens_per_minute_learned REAL NOT NULL,
    input_tokens_per_minute_learned_at REAL NOT NULL, requests_per_day_learned REAL NOT NULL,
    requests_per_day_learned_at REAL NOT NULL, tokens_per_day_learned REAL NOT NULL, tokens_per_day_learned_at REAL NOT NULL,
    PRIMARY KEY (owner_kind, owner, model)
  ) WITHOUT ROWID;
  CREATE TABLE callers (
    caller TEXT PRIMARY KEY, quarantined INTEGER NOT NULL, confirmed INTEGER NOT NULL, refuted INTEGER NOT NULL,
    projects_learned INTEGER NOT NULL, projects_refused INTEGER NOT NULL, delays_distrusted INTEGER NOT NULL,
    limits_learned INTEGER NOT NULL, limits_refused INTEGER NOT NULL,
    refutations TEXT NOT NULL, lessons TEXT NOT NULL
  ) WITHOUT ROWID;
  `,
];

/** Brings the database to this program's version, each step in a transaction of its own. */
export function migrate(db: Database, path: string): void {
  const version = db.pragma('user_version', { simple: true }) as number;
  if (version > MIGRATIONS.length) {
    throw new DataDirError(
      `database ${path} has schema version ${version}, newer than version ${MIGRATIONS.length} of this program; use a newer keybalancer`,
    );
  }
  for (let step = version; step < MIGRATIONS.length; step++) {
    db.transaction(() => {
      db.exec(MIGRATIONS[step]!);
      db.pragma(`user_version = ${step + 1}`);
    })();
  }
}
