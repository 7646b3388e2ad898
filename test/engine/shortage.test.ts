import { describe, expect, test } from 'vitest';
import { keyId } from '../../src/engine/key.ts';
import { ErrorClass } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { ids, Rig } from './rig.ts';

const limit = { scope: 'project-model' as const };

describe('why there is no key', () => {
  test('a pool without keys, or with disabled ones only, is empty: waiting cannot help', () => {
    const rig = new Rig();
    expect(rig.whyNot()).toMatchObject({
      code: 'FAILED_PRECONDITION',
      reason: 'POOL_EMPTY',
      metadata: { pool: 'default' },
    });
    rig.addKey({ disabled: true });
    expect(rig.whyNot().message).toContain('disabled');
    expect(rig.whyNot().retryDelayMs).toBeUndefined();
  });

  test('no key that the model or the wishes allow: waiting cannot help', () => {
    const rig = new Rig();
    const [key] = [rig.addKey({ models: ['pro'], project: 'p' }), rig.addKey({ disabled: true })];
    const wishes = [
      { model: 'flash' },
      { requireProject: 'q' },
      { requireKeyId: 'key-00000009' },
      { excludeKeyIds: ids(key) },
      { excludeProjects: ['p'] },
    ];
    for (const wish of wishes) {
      expect(rig.whyNot(wish)).toMatchObject({ code: 'FAILED_PRECONDITION', reason: 'NO_MATCHING_KEY' });
    }
  });

  test('all leases are out: worth asking again in a second', () => {
    const rig = new Rig({ maxConcurrentLeases: 1 });
    rig.addKey();
    rig.acquire();
    const why = rig.whyNot({ model: 'pro' });
    expect(why).toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'NO_KEY_AVAILABLE', retryDelayMs: 1_000 });
    expect(why.metadata).toEqual({ pool: 'default', model: 'pro', cause: 'all_leased' });
  });

  test.each([
    ['RATE_LIMITED_MINUTE', 'rate_limited'],
    ['RATE_LIMITED_TOKENS', 'rate_limited'],
    ['SPEND_RATE_LIMITED', 'billing'],
    ['QUOTA_EXHAUSTED_DAY', 'quota_exhausted'],
    ['QUOTA_ZERO', 'quota_exhausted'],
    ['BILLING', 'billing'],
    ['PERMISSION', 'permission'],
    ['KEY_INVALID', 'quarantined'],
    ['KEY_SUSPENDED', 'quarantined'],
  ] as const)('keys that rest after %s say %s', (name, cause) => {
    const rig = new Rig();
    rig.addKey();
    rig.fail(rig.acquire({ model: 'pro' })!, ErrorClass[name], limit);
    expect(rig.whyNot({ model: 'pro' })).toMatchObject({ reason: 'NO_KEY_AVAILABLE', metadata: { cause } });
  });

  test('the delay is until the first key is back, counted from now', () => {
    const rig = new Rig();
    const keys = rig.addKeys(3);
    for (const [i, key] of keys.entries()) rig.rest(key, 'pro', [30_000, 10_000, 20_000][i]!);
    expect(rig.whyNot({ model: 'pro' }).retryDelayMs).toBe(10_000);
    rig.pass(4_000);
    expect(rig.whyNot({ model: 'pro' }).retryDelayMs).toBe(6_000);
    // The soonest is not one that the call allows.
    expect(rig.whyNot({ model: 'pro', excludeKeyIds: ids(keys[1]!) }).retryDelayMs).toBe(16_000);
    expect(rig.whyNot({ model: 'pro', requireKeyId: keyId(keys[0]!.ordinal) }).retryDelayMs).toBe(26_000);
    rig.pass(5_999.5);
    expect(rig.whyNot({ model: 'pro' }).retryDelayMs).toBe(1);
  });

  test('a key that rests twice is back when the longer rest ends, and says its cause', () => {
    const rig = new Rig();
    const key = rig.addKey({ project: 'p' });
    const [one, two] = [rig.acquire({ model: 'pro' })!, rig.acquire({ model: 'pro' })!];
    rig.fail(one, ErrorClass.QUOTA_EXHAUSTED_DAY, { ...limit, retryDelayMs: 3_000_000 });
    rig.fail(two, ErrorClass.RATE_LIMITED_MINUTE);
    // Of a spent day that is when a call may try whether it is over.
    expect(rig.whyNot({ model: 'pro' })).toMatchObject({
      retryDelayMs: 3_000_000,
      metadata: { cause: 'quota_exhausted' },
    });
    expect(rig.whyNot({ model: 'flash' })).toMatchObject({ retryDelayMs: 60_000, metadata: { cause: 'rate_limited' } });
    expect(key.health.factor).toBe(1);
  });

  test('a key that is merely full goes before one that rests: its lease may come back any moment', () => {
    const rig = new Rig({ maxConcurrentLeases: 1 });
    const [a] = rig.addKeys(2);
    rig.rest(a!, 'pro', 9_000);
    rig.acquire({ model: 'pro' });
    expect(rig.whyNot({ model: 'pro' })).toMatchObject({ retryDelayMs: 1_000, metadata: { cause: 'all_leased' } });
  });

  test('an answer is used again for a moment only, and not once keys were changed', () => {
    const rig = new Rig();
    const key = rig.addKey();
    rig.rest(key, 'pro', 9_000);
    expect(rig.whyNot({ model: 'pro' }).reason).toBe('NO_KEY_AVAILABLE');
    rig.change(key, { models: ['flash'] });
    expect(rig.whyNot({ model: 'pro' }).reason).toBe('NO_MATCHING_KEY');
    const other = rig.addKey();
    rig.rest(other, 'pro', 5_000);
    expect(rig.whyNot({ model: 'pro' }).retryDelayMs).toBe(5_000);
    rig.fail(rig.acquire({ model: 'flash', requireKeyId: keyId(other.ordinal) })!, ErrorClass.KEY_INVALID);
    rig.pass(20);
    expect(rig.whyNot({ model: 'pro' }).retryDelayMs).toBe(59_980);
  });
});
