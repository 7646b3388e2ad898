import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { expect, test } from 'vitest';
import { ErrorClass, GetStatsRequestSchema, KeyState } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { getStats } from '../../src/server/service/get-stats.ts';
import { keyHealthMessage, keyMessage } from '../../src/server/service/key-messages.ts';
import type { KeyView } from '../../src/store/store.ts';
import { createKeyOrder } from '../support/orders.ts';
import { openService, START_TIME } from '../support/service.ts';

async function keyView(change: Partial<KeyView>): Promise<KeyView> {
  const { context } = await openService();
  const { replayed: _, ...view } = await context.store.createKey(createKeyOrder('AQ.test-key-a'));
  return { ...view, verification: undefined, quotaProject: '', projectLearned: false, ...change };
}

test('health names the project that the key is scheduled by and says that it was learned; the key has the one that was set', async () => {
  const learned = await keyView({ project: '', quotaProject: '123456', projectLearned: true });
  expect(keyHealthMessage(learned)).toMatchObject({ project: '123456', projectLearned: true });
  expect(keyMessage(learned)).toMatchObject({ project: '' });
  const set = await keyView({ project: 'p', quotaProject: 'p' });
  expect(keyHealthMessage(set)).toMatchObject({ project: 'p', projectLearned: false });
});

test('of a quarantined key health tells when Gemini is asked next, and how it went so far', async () => {
  const verification = { nextTime: START_TIME, refusals: 1, unanswered: 3, unansweredClass: ErrorClass.TIMEOUT };
  const asked = keyHealthMessage(await keyView({ state: KeyState.QUARANTINED, verification }));
  expect(asked.verification).toMatchObject({ ...verification, nextTime: timestampFromMs(START_TIME) });
  const off = keyHealthMessage(await keyView({ verification: { ...verification, nextTime: undefined } }));
  expect(off.verification).toBeDefined();
  expect(off.verification?.nextTime).toBeUndefined();
  expect(keyHealthMessage(await keyView({})).verification).toBeUndefined();
});

test('a cooldown tells when one call may try whether it is over', async () => {
  const cooldown = { model: 'm', cause: ErrorClass.BILLING, untilTime: START_TIME + 9_000, projectWide: true };
  const cooldowns = [
    { ...cooldown, probeTime: START_TIME },
    { ...cooldown, probeTime: undefined },
  ];
  const told = keyHealthMessage(await keyView({ cooldowns })).cooldowns;
  expect(told.map(({ probeTime }) => probeTime)).toEqual([timestampFromMs(START_TIME), undefined]);
});

test('stats tell of callers what their reports led to', async () => {
  const { context, call } = await openService();
  const caller = {
    caller: 'worker',
    quarantined: 1,
    confirmed: 2,
    refuted: 3,
    projectsLearned: 4,
    projectsRefused: 5,
    delaysDistrusted: 6,
    limitsLearned: 7,
    limitsRefused: 8,
  };
  const store = new Proxy(context.store, {
    get: (target, name) =>
      name === 'stats'
        ? async (query: Parameters<typeof target.stats>[0]) => ({ ...(await target.stats(query)), callers: [caller] })
        : Reflect.get(target, name),
  });
  const { callers } = await getStats({ ...context, store }, create(GetStatsRequestSchema), call);
  expect(callers).toEqual([
    {
      $typeName: 'keybalancer.v1.CallerStats',
      caller: 'worker',
      quarantined: 1n,
      confirmed: 2n,
      refuted: 3n,
      projectsLearned: 4n,
      projectsRefused: 5n,
      delaysDistrusted: 6n,
      limitsLearned: 7n,
      limitsRefused: 8n,
    },
  ]);
});
