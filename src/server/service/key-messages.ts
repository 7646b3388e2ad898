import type {
  Cooldown,
  Key,
  KeyHealth,
  KeyUsage,
  Lease,
  Verification,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CooldownView, KeyView, LeaseGrant, UsageView, VerificationView } from '../../store/store.ts';
import { durationMessage, optionalTimestamp, timestampMessage } from './time-messages.ts';

/** What the store says of keys and leases, as messages. */

export function leaseMessage(grant: LeaseGrant): Lease {
  return {
    $typeName: 'keybalancer.v1.Lease',
    leaseId: grant.leaseId,
    keyId: grant.keyId,
    apiKey: grant.apiKey,
    pool: grant.pool,
    model: grant.model,
    project: grant.project,
    ttl: durationMessage(grant.ttlMs),
    expireTime: timestampMessage(grant.expireTime),
    affinityHit: grant.affinityHit,
    labels: grant.labels,
  };
}

export function keyHealthMessage(key: KeyView): KeyHealth {
  return {
    $typeName: 'keybalancer.v1.KeyHealth',
    keyId: key.keyId,
    state: key.state,
    weight: key.weight,
    effectiveWeight: key.effectiveWeight,
    cooldowns: key.cooldowns.map(cooldownMessage),
    consecutiveFailures: key.consecutiveFailures,
    lastErrorClass: key.lastErrorClass,
    lastSuccessTime: optionalTimestamp(key.lastSuccessTime),
    lastFailureTime: optionalTimestamp(key.lastFailureTime),
    activeLeases: key.activeLeases,
    pool: key.pool,
    project: key.quotaProject,
    lastAcquireTime: optionalTimestamp(key.lastAcquireTime),
    ...(key.verification && { verification: verificationMessage(key.verification) }),
    projectLearned: key.projectLearned,
  };
}

export function keyMessage(key: KeyView): Key {
  return {
    $typeName: 'keybalancer.v1.Key',
    keyId: key.keyId,
    pool: key.pool,
    redactedKey: key.redactedKey,
    fingerprint: key.fingerprint,
    project: key.project,
    weight: key.weight,
    maxConcurrentLeases: key.maxConcurrentLeases,
    models: [...key.models],
    source: key.source,
    labels: { ...key.labels },
    disabled: key.disabled,
    health: keyHealthMessage(key),
    usage: usageMessage(key.usage),
    createTime: timestampMessage(key.createTime),
    updateTime: timestampMessage(key.updateTime),
    etag: key.etag,
    tier: key.tier,
  };
}

export function usageMessage(usage: UsageView): KeyUsage {
  return {
    $typeName: 'keybalancer.v1.KeyUsage',
    acquired: BigInt(usage.acquired),
    succeeded: BigInt(usage.succeeded),
    failed: BigInt(usage.failed),
    expired: BigInt(usage.expired),
    unused: BigInt(usage.unused),
    released: BigInt(usage.released),
    late: BigInt(usage.late),
    calls: BigInt(usage.calls),
    tokens: {
      $typeName: 'keybalancer.v1.TokenUsage',
      inputTokens: BigInt(usage.inputTokens),
      outputTokens: BigInt(usage.outputTokens),
      cachedTokens: BigInt(usage.cachedTokens),
    },
  };
}

function cooldownMessage(cooldown: CooldownView): Cooldown {
  return {
    $typeName: 'keybalancer.v1.Cooldown',
    model: cooldown.model,
    cause: cooldown.cause,
    untilTime: timestampMessage(cooldown.untilTime),
    projectWide: cooldown.projectWide,
    ...(cooldown.probeTime !== undefined && { probeTime: timestampMessage(cooldown.probeTime) }),
  };
}

function verificationMessage(verification: VerificationView): Verification {
  return {
    $typeName: 'keybalancer.v1.Verification',
    nextTime: optionalTimestamp(verification.nextTime),
    refusals: verification.refusals,
    unanswered: verification.unanswered,
    unansweredClass: verification.unansweredClass,
  };
}
