import type { FieldMask } from '@bufbuild/protobuf/wkt';
import { DEFAULT_POOL } from '../../../engine/settings.ts';
import { type Pool, Selection } from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { PoolSettings } from '../../../store/store.ts';
import { enumValue } from '../enum-field.ts';
import * as fields from '../fields.ts';
import { maskReader, type Paths } from './update-mask.ts';

const MAX_LEASES = 2 ** 31 - 1;
const MAX_WAITING = 1_000_000;
const MAX_DESCRIPTION = 1024;
const MIN_TTL_MS = 1000;
const MAX_TTL_MS = 3_600_000;

type Settings = Omit<PoolSettings, 'pool'>;

/** How each field of a Pool message that may be set is read; the names are the paths of update masks. */
const READERS: {
  [S in keyof Settings]: { path: string; isSet: (pool: Pool) => boolean; read: (pool: Pool) => Settings[S] };
} = {
  defaultLeaseTtlMs: {
    path: 'default_lease_ttl',
    isSet: (pool) => pool.defaultLeaseTtl !== undefined,
    read: (pool) =>
      fields.durationWithin('pool.default_lease_ttl', pool.defaultLeaseTtl, MIN_TTL_MS, MAX_TTL_MS) ??
      DEFAULT_POOL.defaultLeaseTtlMs,
  },
  maxLeaseTtlMs: {
    path: 'max_lease_ttl',
    isSet: (pool) => pool.maxLeaseTtl !== undefined,
    read: (pool) =>
      fields.durationWithin('pool.max_lease_ttl', pool.maxLeaseTtl, MIN_TTL_MS, MAX_TTL_MS) ??
      DEFAULT_POOL.maxLeaseTtlMs,
  },
  maxConcurrentLeases: {
    path: 'max_concurrent_leases',
    isSet: (pool) => pool.maxConcurrentLeases !== 0,
    read: (pool) => fields.integer('pool.max_concurrent_leases', pool.maxConcurrentLeases, 0, MAX_LEASES),
  },
  maxTotalLeases: {
    path: 'max_total_leases',
    isSet: (pool) => pool.maxTotalLeases !== 0,
    read: (pool) => fields.integer('pool.max_total_leases', pool.maxTotalLeases, 0, MAX_LEASES),
  },
  maxWaiting: {
    path: 'max_waiting',
    isSet: (pool) => pool.maxWaiting !== 0,
    read: (pool) => fields.integer('pool.max_waiting', pool.maxWaiting, 0, MAX_WAITING),
  },
  description: {
    path: 'description',
    isSet: (pool) => pool.description !== '',
    read: (pool) => fields.storedText('pool.description', pool.description, MAX_DESCRIPTION, 'what the pool is for'),
  },
  autoSuccess: {
    path: 'auto_success',
    isSet: (pool) => pool.autoSuccess,
    read: (pool) => pool.autoSuccess,
  },
  selection: {
    path: 'selection',
    isSet: (pool) => pool.selection !== Selection.UNSPECIFIED,
    read: selection,
  },
};

const PATHS: Paths = {
  settable: Object.values(READERS).map(({ path }) => path),
  ignored: ['pool', 'stats', 'etag'],
};

/** Settings of a new pool: what is not set is as in pool "default" at the first start. */
export function poolSettings(pool: Pool): PoolSettings {
  const change = poolChange(pool, undefined);
  const settings = { ...DEFAULT_POOL, ...change, pool: fields.newPoolName('pool.pool', pool.pool) };
  // Whoever sets only a short maximum means a default that fits under it.
  if (change.defaultLeaseTtlMs === undefined) {
    settings.defaultLeaseTtlMs = Math.min(settings.defaultLeaseTtlMs, settings.maxLeaseTtlMs);
  }
  return settings;
}

export function poolChange(pool: Pool, mask: FieldMask | undefined): Partial<Settings> {
  const means = maskReader(mask, PATHS);
  const change: Partial<Settings> = {};
  const take = <S extends keyof Settings>(setting: S): void => {
    const { path, isSet, read } = READERS[setting];
    if (means(path, isSet(pool))) change[setting] = read(pool);
  };
  for (const setting of Object.keys(READERS) as (keyof Settings)[]) take(setting);
  return change;
}

function selection(pool: Pool): Selection {
  const value = enumValue('pool.selection', pool.selection, Selection, 'SELECTION_');
  return value === Selection.UNSPECIFIED ? Selection.WEIGHTED_LRU : value;
}
