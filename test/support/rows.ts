import type { CooldownRow, KeyRow, LeaseRow, Rows, UsageCounts } from '../../src/store/sqlite/journal.ts';

/** 2025-11-24, and half a millisecond: times are not whole numbers. */
export const TIME = 1_764_000_000_000.5;

export function counts(from = 1): UsageCounts {
  return {
    succeeded: from,
    failed: from + 1,
    expired: from + 2,
    unused: from + 3,
    released: from + 4,
    late: from + 5,
    calls: from + 6,
    inputTokens: from + 2 ** 40,
    outputTokens: from + 8,
    cachedTokens: from + 9,
  };
}

export function keyRow(ordinal: number, row: Partial<KeyRow> = {}): KeyRow {
  return {
    ordinal,
    pool: 'default',
    fingerprint: `fingerprint-${ordinal}`,
    redactedKey: 'AQ.t…0001',
    project: 'project-a',
    weight: 0.5,
    maxConcurrentLeases: null,
    models: ['gemini-2.5-pro', 'gemini-2.5-flash'],
    source: 'keys.txt',
    labels: { team: 'search', 'with "quotes"': 'ü' },
    tier: 2,
    disabled: true,
    createTime: TIME,
    updateTime: TIME + 1,
    version: 3,
    createRevision: 11,
    ...row,
  };
}

export function leaseRow(boot: number, seq: number, row: Partial<LeaseRow> = {}): LeaseRow {
  return {
    boot,
    seq,
    ordinal: 1,
    model: 'gemini-2.5-pro',
    caller: 'local',
    acquireTime: TIME,
    expireTime: TIME + 120_000,
    state: 1,
    sessionId: 's-1',
    lastOutcome: 0,
    ...row,
  };
}

export function cooldownRow(row: Partial<CooldownRow> = {}): CooldownRow {
  return {
    ownerKind: 'key',
    owner: '1',
    model: '',
    cause: 2,
    untilTime: TIME + 60_000,
    sinceTime: TIME,
    strikes: 0,
    probeTime: null,
    forgetTime: TIME + 120_000,
    halfOpen: false,
    dayEnd: null,
    trial: '',
    ...row,
  };
}

/** A row or two of every kind that load() gives back, for a journal in this boot. */
export function everyKindOfRow(boot: number): Rows {
  return {
    meta: { note: 'kept' },
    revision: 42,
    boots: [{ boot, startTime: TIME, watermark: 17 }],
    pools: [
      {
        pool: 'default',
        defaultLeaseTtlMs: 120_000,
        maxLeaseTtlMs: 3_600_000,
        maxConcurrentLeases: 4,
        maxTotalLeases: 100,
        maxWaiting: 10,
        description: 'for all',
        autoSuccess: true,
        selection: 2,
        version: 5,
      },
    ],
    poolUsage: [{ ...counts(20), pool: 'default', acquiresRejected: 9, failuresByClass: { RATE_LIMITED_MINUTE: 3 } }],
    modelUsage: [{ ...counts(30), pool: 'default', model: 'gemini-2.5-pro' }],
    keys: [keyRow(1), keyRow(2, { maxConcurrentLeases: 3, models: [], labels: {}, disabled: false, weight: 1000 })],
    health: [
      {
        ordinal: 1,
        factor: 0.64,
        consecutiveFailures: 2,
        lastErrorClass: 4,
        lastSuccessTime: null,
        lastFailureTime: TIME,
        lastAcquireTime: TIME - 1,
        revision: 41,
      },
    ],
    usage: [{ ...counts(1), ordinal: 1 }],
    cooldowns: [
      cooldownRow(),
      cooldownRow({ ownerKind: 'model', owner: 'gemini-2.5-pro', halfOpen: true, forgetTime: null, trial: '1.17' }),
      cooldownRow({
        ownerKind: 'project',
        owner: 'project-a',
        model: 'gemini-2.5-pro',
        probeTime: TIME + 1,
        strikes: 2,
      }),
      cooldownRow({ ownerKind: 'solo', owner: '1', model: 'gemini-2.5-pro', dayEnd: TIME + 2 }),
    ],
    status: [
      {
        ordinal: 1,
        disabledFor: 1,
        learnedProject: 'projects/123456789',
        learnedFrom: 'local',
        learnedTime: TIME,
        suspectedOf: 2,
        suspectedTime: TIME + 1,
        suspectedBy: 'other',
        held: true,
        refusals: 1,
        unanswered: 3,
        unansweredClass: 15,
        nextCheck: TIME + 600_000,
        verifiedTime: null,
      },
    ],
    quotas: [
      {
        ownerKind: 'project',
        owner: 'project-a',
        model: '',
        requestsPerMinute: 10,
        inputTokensPerMinute: null,
        requestsPerDay: 0,
        tokensPerDay: null,
      },
      {
        ownerKind: 'solo',
        owner: '1',
        model: 'gemini-2.5-pro',
        requestsPerMinute: null,
        inputTokensPerMinute: 250_000,
        requestsPerDay: null,
        tokensPerDay: 1e12,
      },
    ],
    meters: [
      {
        ownerKind: 'solo',
        owner: '1',
        model: 'gemini-2.5-pro',
        dayEnd: TIME + 3,
        dayRequests: 4,
        dayTokens: 5,
        daySucceeded: 6,
        daySucceededTokens: 7,
        minuteTime: TIME - 8,
        minuteRequests: 9,
        minuteTokens: 10,
        requestsPerMinuteLearned: 11,
        requestsPerMinuteLearnedAt: TIME - 12,
        inputTokensPerMinuteLearned: 13,
        inputTokensPerMinuteLearnedAt: TIME - 14,
        requestsPerDayLearned: 15,
        requestsPerDayLearnedAt: TIME - 16,
        tokensPerDayLearned: 17,
        tokensPerDayLearnedAt: TIME - 18,
      },
    ],
    callers: [
      {
        caller: 'local',
        quarantined: 1,
        confirmed: 2,
        refuted: 3,
        projectsLearned: 4,
        projectsRefused: 5,
        delaysDistrusted: 6,
        limitsLearned: 7,
        limitsRefused: 8,
        refutations: [TIME, TIME + 1],
        lessons: [TIME - 1],
      },
    ],
    lanes: [{ lane: 1, pool: 'default', model: '', virtualTimes: [1.25, 0, 1e-9], picks: 12, current: 'solo 1' }],
    turns: [{ lane: 1, ordinal: 1, pass: 1 / 3, lastPick: 12 }],
    leases: [leaseRow(boot, 17), leaseRow(boot, 16, { state: 2, sessionId: '', lastOutcome: 1 })],
    reclaimed: [{ boot, seq: 15, forgetTime: TIME }],
    replays: [
      {
        caller: 'local',
        method: 'ImportKeys',
        requestId: 'r-1',
        contentHash: 'abc',
        time: TIME,
        answer: '{"results":[]}',
      },
    ],
    affinities: [{ pool: 'default', affinityKey: 'conversation 7', ordinal: 1, time: TIME }],
    removedKeys: [{ ordinal: 3, pool: 'default', revision: 40 }],
  };
}
