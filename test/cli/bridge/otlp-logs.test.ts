import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { expect, test } from 'vitest';
import type { Told } from '../../../src/cli/bridge/event.ts';
import { OtlpLogs } from '../../../src/cli/bridge/otlp-logs.ts';
import {
  ErrorClass,
  HealthEventKind,
  KeyState,
  WatchHealthResponseSchema,
} from '../../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { type OtlpLogRecord, readLogs } from '../../support/otlp-logs.ts';

const NOW = Date.UTC(2026, 10, 29, 12);
const sink = new OtlpLogs(new URL('http://127.0.0.1:4318'), { server: 'here' });

function record(told: Told): OtlpLogRecord {
  const { headers, body } = sink.request([{ id: 's-7', told, resumeToken: 'token', observedTime: NOW + 5 }]);
  expect(headers).toEqual({ 'content-type': 'application/x-protobuf' });
  const [first, ...others] = readLogs(body as Uint8Array);
  expect(others).toEqual([]);
  return first!;
}

const health = (event: MessageInitShape<typeof WatchHealthResponseSchema>['event']): Told => ({
  health: create(WatchHealthResponseSchema, { eventTime: timestampFromMs(NOW), event: event! }),
});

test('a key that cools is a warning with its cause, models and end, and what it was before', () => {
  const key = {
    keyId: 'key-00000001',
    pool: 'default',
    project: 'p1',
    state: KeyState.COOLING,
    weight: 2,
    effectiveWeight: 0.5,
    consecutiveFailures: 3,
    cooldowns: [{ model: '', cause: ErrorClass.BILLING, untilTime: timestampFromMs(NOW + 60_000) }],
  };
  const value = {
    kind: HealthEventKind.KEY_CHANGED,
    pool: 'default',
    key,
    previousState: KeyState.AVAILABLE,
    merged: 2n,
  };
  expect(record(health({ case: 'change', value }))).toEqual({
    time: NOW,
    observedTime: NOW + 5,
    severity: 13,
    severityText: 'WARN',
    eventName: 'keybalancer.key.changed',
    body: 'key-00000001: cooling, billing is off or used up',
    attributes: {
      'keybalancer.event.id': 's-7',
      'keybalancer.pool': 'default',
      'keybalancer.key_id': 'key-00000001',
      'keybalancer.project': 'p1',
      'keybalancer.key.state': 'cooling',
      'keybalancer.key.previous_state': 'available',
      'keybalancer.key.weight': 2,
      'keybalancer.key.effective_weight': 0.5,
      'keybalancer.key.consecutive_failures': 3,
      'error.type': 'BILLING',
      'keybalancer.cooldown.models': [''],
      'keybalancer.cooldown.until': '2026-11-29T12:01:00.000Z',
      'keybalancer.merged': 2,
    },
    resource: { 'service.name': 'keybalancer', 'keybalancer.server': 'here' },
    scope: 'keybalancer.bridge',
  });
});

test.each([
  ['keybalancer.key.changed', 'ERROR', HealthEventKind.KEY_CHANGED, KeyState.DISABLED_AUTO],
  ['keybalancer.key.changed', 'WARN', HealthEventKind.KEY_CHANGED, KeyState.QUARANTINED],
  ['keybalancer.key.changed', 'INFO', HealthEventKind.KEY_CHANGED, KeyState.AVAILABLE],
  ['keybalancer.key.changed', 'INFO', HealthEventKind.KEY_CHANGED, KeyState.DISABLED_ADMIN],
  ['keybalancer.key.added', 'INFO', HealthEventKind.KEY_ADDED, KeyState.COOLING],
  ['keybalancer.key.removed', 'INFO', HealthEventKind.KEY_REMOVED, KeyState.UNSPECIFIED],
])('%s is %s', (eventName, severityText, kind, state) => {
  const value = { kind, pool: 'default', key: { keyId: 'k', pool: 'default', state } };
  expect(record(health({ case: 'change', value }))).toMatchObject({
    eventName,
    severityText,
    attributes: { 'keybalancer.key_id': 'k' },
  });
});

test('a pool that ran dry is an error, also for one model, and one that serves again is none', () => {
  const of = (kind: HealthEventKind, model = '') =>
    record(health({ case: 'change', value: { kind, pool: 'p', model } }));
  expect(of(HealthEventKind.POOL_EXHAUSTED, 'm')).toMatchObject({
    eventName: 'keybalancer.pool.exhausted',
    severityText: 'ERROR',
    body: 'pool p, m has no available key',
    attributes: { 'keybalancer.pool': 'p', 'gen_ai.request.model': 'm' },
  });
  expect(of(HealthEventKind.POOL_RECOVERED)).toMatchObject({ severityText: 'INFO', body: 'pool p has available keys' });
  expect(of(HealthEventKind.POOL_CHANGED).attributes).not.toHaveProperty('gen_ai.request.model');
});

test('a gap and the parts of a snapshot have names of their own', () => {
  expect(record({ gap: { reason: 'merged', time: NOW, changes: 4 } })).toMatchObject({
    time: NOW,
    eventName: 'keybalancer.gap',
    severityText: 'WARN',
    body: expect.stringContaining('(4 changes less)'),
    attributes: { 'keybalancer.gap.reason': 'merged', 'keybalancer.gap.changes': 4 },
  });
  const key = { keyId: 'k', pool: 'p', state: KeyState.AVAILABLE };
  expect(record(health({ case: 'snapshot', value: { keys: [key] } }))).toMatchObject({
    eventName: 'keybalancer.key.snapshot',
    body: 'k is in p, available',
  });
  const pool = { pool: 'p', totalKeys: 3n, availableKeys: 1n };
  expect(record(health({ case: 'snapshot', value: { pools: [pool] } }))).toMatchObject({
    eventName: 'keybalancer.pool.snapshot',
    body: 'pool p: 1 of 3 keys available',
    attributes: { 'keybalancer.keys.total': 3, 'keybalancer.keys.available': 1, 'keybalancer.keys.cooling': 0 },
  });
});

test.each([
  ['http://collector:4318', 'http://collector:4318/v1/logs'],
  ['http://collector:4318/otlp/', 'http://collector:4318/otlp/v1/logs'],
  ['https://collector/v1/logs', 'https://collector/v1/logs'],
])('logs for %s go to %s', (endpoint, url) => {
  expect(new OtlpLogs(new URL(endpoint), { server: '' }).url.href).toBe(url);
});

test('what a collector says that it did not keep is read, and an answer in another form is no trouble', () => {
  // partial_success (1): rejected_log_records (1) = 2, error_message (2) = "old".
  expect(sink.refused(Buffer.from([0x0a, 7, 0x08, 2, 0x12, 3, ...Buffer.from('old')]))).toEqual({
    count: 2,
    why: 'old',
  });
  expect(sink.refused(new Uint8Array())).toBeUndefined();
  expect(sink.refused(Buffer.from('{"partialSuccess":{}}'))).toBeUndefined();
});
