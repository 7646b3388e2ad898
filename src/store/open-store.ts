import { type Clock, systemClock } from '../engine/clock.ts';
import { hasDatabase } from './data-dir.ts';
import { LeaseIds } from './lease-id.ts';
import { loadMasterKey, type MasterKeySource } from './master-key.ts';
import type { Probe } from './probe.ts';
import { SecretCache } from './secret-cache.ts';
import { Backups, type DatabaseDescription } from './sqlite/backup.ts';
import type { Examination } from './sqlite/examine.ts';
import { exportKeys } from './sqlite/key-export.ts';
import { openJournal } from './sqlite/open-journal.ts';
import { SqliteStore } from './sqlite/sqlite-store.ts';
import type { KeySettings, Store } from './store.ts';
import { Vault } from './vault.ts';

export interface OpenStoreOptions {
  dataDir: string;
  durability: 'full' | 'normal';
  masterKey: MasterKeySource;
  /** Decrypted keys to keep in memory; undefined: by the number of keys. */
  cacheSize?: number;
  clock?: Clock;
  /** 0 to less than 1; ends of cooldowns are spread by it. */
  random?: () => number;
  /** The way to Gemini, for verification and tests of keys. */
  probe?: Probe;
  /**
   * Whether Gemini is asked before a key that reports call dead is disabled; else the report decides, also of keys that are in
   * quarantine. Default: if there is a probe. true without one: such keys stay as they are, for whoever opens the store next.
   */
  verify?: boolean;
  warn?: (message: string) => void;
}

/** What an operator does with the database of an open store. Rejects with BalancerErrors. */
export interface Maintenance {
  /**
   * Writes a copy to a new file, while the store is used. A copy that is found damaged is not kept: then the result has problems.
   * Rejects INVALID_FIELD for a path that cannot be, STORE_UNAVAILABLE when no copy could be made.
   */
  backUp(
    path: string,
    onProgress: (progress: { copiedBytes: number; totalBytes: number }) => void,
  ): Promise<Examination>;
  /** Examines a copy, which is gone afterwards. */
  check(): Promise<Examination>;
  describe(): Promise<DatabaseDescription>;
  /** Keys in plain text, in parts, in the order of their ids; of a pool, or ("") of all. Rejects POOL_NOT_FOUND. */
  exportKeys(pool: string): AsyncIterable<ExportedKey[]>;
}

/** A key with its secret. */
export interface ExportedKey {
  /** Secret. */
  apiKey: string;
  pool: string;
  settings: KeySettings;
}

export type { DatabaseDescription } from './sqlite/backup.ts';
export type { Examination } from './sqlite/examine.ts';

/** A store that is open, and what only its owner does with it. */
export interface OwnedStore extends Store {
  readonly maintenance: Maintenance;
  /** Says in the data dir where this owner listens. */
  announce(addresses: { grpc?: string; http?: string; socket?: string }): Promise<void>;
}

/** Opens the store of a data dir as its only owner. Rejects with a DataDirError or a MasterKeyError. */
export async function openStore(options: OpenStoreOptions): Promise<OwnedStore> {
  const { dataDir, durability, warn = () => {} } = options;
  const used = hasDatabase(dataDir);
  const { value, file } = options.masterKey;
  // A key that was named must be there before anything is made: a mistyped path would leave a database that no key opens.
  const named = (value ?? file) !== undefined ? loadMasterKey(dataDir, options.masterKey, false) : undefined;
  const journal = await openJournal({ dataDir, durability });
  try {
    const masterKey = named ?? loadMasterKey(dataDir, options.masterKey, !used);
    if (masterKey.createdFile !== undefined) {
      warn(`made a master key in ${masterKey.createdFile}: a backup of the data dir without it cannot be read`);
    }
    if (masterKey.looseFile !== undefined)
      warn(`master key file ${masterKey.looseFile} can be read by other users; chmod it to 600`);
    const vault = new Vault(masterKey.key);
    const store = await SqliteStore.open({
      journal,
      vault,
      leaseIds: new LeaseIds(vault.subkey('sign leases')),
      secrets: new SecretCache(options.cacheSize),
      clock: options.clock ?? systemClock(),
      ...(options.random && { random: options.random }),
      probe: options.probe,
      verify: options.verify ?? options.probe !== undefined,
      onFailing: (failing, cause) =>
        warn(failing ? `the store takes no writes: ${cause?.message}` : 'the store takes writes again'),
    });
    return Object.assign(store, {
      announce: (addresses: object) => journal.announce(addresses),
      maintenance: Object.assign(new Backups(journal, dataDir, masterKey.key), {
        exportKeys: (pool: string) => exportKeys(store, journal, vault, pool),
      }),
    });
  } catch (error) {
    await journal.close();
    throw error;
  }
}
