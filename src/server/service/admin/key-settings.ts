import type { FieldMask } from '@bufbuild/protobuf/wkt';
import type { Key } from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { KeySettings } from '../../../store/store.ts';
import * as fields from '../fields.ts';
import { maskReader, type Paths } from './update-mask.ts';

const MAX_TIER = 9;
const MAX_LEASES = 2 ** 31 - 1;

/** How each field of a Key message that may be set is read; the names are the paths of update masks. */
const READERS: {
  [S in keyof KeySettings]: { path: string; isSet: (key: Key) => boolean; read: (key: Key) => KeySettings[S] };
} = {
  project: {
    path: 'project',
    isSet: (key) => key.project !== '',
    read: (key) => fields.project('key.project', key.project),
  },
  weight: {
    path: 'weight',
    isSet: (key) => key.weight !== undefined,
    read: (key) => fields.weight('key.weight', key.weight),
  },
  maxConcurrentLeases: {
    path: 'max_concurrent_leases',
    isSet: (key) => key.maxConcurrentLeases !== undefined,
    read: ({ maxConcurrentLeases }) =>
      maxConcurrentLeases === undefined
        ? undefined
        : fields.integer('key.max_concurrent_leases', maxConcurrentLeases, 0, MAX_LEASES),
  },
  models: {
    path: 'models',
    isSet: (key) => key.models.length > 0,
    read: (key) => fields.models('key.models', key.models),
  },
  source: {
    path: 'source',
    isSet: (key) => key.source !== '',
    read: (key) => fields.source('key.source', key.source),
  },
  labels: {
    path: 'labels',
    isSet: (key) => Object.keys(key.labels).length > 0,
    read: (key) => fields.labels('key.labels', key.labels),
  },
  tier: {
    path: 'tier',
    isSet: (key) => key.tier !== 0,
    read: (key) => fields.integer('key.tier', key.tier, 0, MAX_TIER),
  },
  disabled: {
    path: 'disabled',
    isSet: (key) => key.disabled,
    read: (key) => key.disabled,
  },
};

const PATHS: Paths = {
  settable: Object.values(READERS).map(({ path }) => path),
  ignored: ['key_id', 'redacted_key', 'fingerprint', 'health', 'usage', 'create_time', 'update_time', 'etag'],
};

/** All settings of a new key. */
export function keySettings(key: Key): KeySettings {
  return {
    project: READERS.project.read(key),
    weight: READERS.weight.read(key),
    maxConcurrentLeases: READERS.maxConcurrentLeases.read(key),
    models: READERS.models.read(key),
    source: READERS.source.read(key),
    labels: READERS.labels.read(key),
    tier: READERS.tier.read(key),
    disabled: READERS.disabled.read(key),
  };
}

/** What an update changes, and whether it means the key's pool, which cannot change. */
export function keyChange(key: Key, mask: FieldMask | undefined): { change: Partial<KeySettings>; namesPool: boolean } {
  const means = maskReader(mask, { ...PATHS, settable: [...PATHS.settable, 'pool'] });
  const change: Partial<KeySettings> = {};
  const take = <S extends keyof KeySettings>(setting: S): void => {
    const { path, isSet, read } = READERS[setting];
    if (means(path, isSet(key))) change[setting] = read(key);
  };
  for (const setting of Object.keys(READERS) as (keyof KeySettings)[]) take(setting);
  return { change, namesPool: means('pool', key.pool !== '') };
}
