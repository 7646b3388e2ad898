import { enumToJson } from '@bufbuild/protobuf';
import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';
import { type Key, KeyState, KeyStateSchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { ExportedKey } from '../../store/open-store.ts';

/** A key in plain text with its settings, under the names that an import reads. */
export function keyRecord({ apiKey, pool, settings }: ExportedKey) {
  const { weight, project, tier, models, labels, source, disabled, maxConcurrentLeases } = settings;
  return {
    key: apiKey,
    weight,
    project,
    tier,
    models,
    labels,
    source,
    pool,
    disabled,
    maxConcurrentLeases: maxConcurrentLeases ?? null,
  };
}

/** What anybody may know of a key. */
export function settingsRecord({ health, usage, ...key }: Key) {
  const { keyId, redactedKey, weight = 1, project, tier, models, labels, source, pool, disabled } = key;
  const settings = { weight, project, tier, models, labels, source, pool, disabled };
  return {
    keyId,
    redactedKey,
    ...settings,
    maxConcurrentLeases: key.maxConcurrentLeases ?? null,
    state: String(enumToJson(KeyStateSchema, health?.state ?? KeyState.UNSPECIFIED)),
    effectiveWeight: health?.effectiveWeight ?? null,
    succeeded: Number(usage?.succeeded ?? 0n),
    failed: Number(usage?.failed ?? 0n),
    createTime: timeOf(key.createTime),
    lastAcquireTime: timeOf(health?.lastAcquireTime),
  };
}

function timeOf(time: Timestamp | undefined): string | null {
  return time === undefined ? null : timestampDate(time).toISOString();
}
