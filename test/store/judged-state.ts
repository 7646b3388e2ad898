import type { BalancerError } from '../../src/engine/errors.ts';
import { type Finding, plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, Outcome, Selection } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import type { Store } from '../../src/store/store.ts';
import { acquireOrder, createKeyOrder, report } from '../support/orders.ts';
import { EVERY_KEY } from './conformance/bench.ts';

export const FLASH = 'gemini-2.5-flash';
export const PRO = 'gemini-2.5-pro';
export const BUSY = 'gemini-busy';

export interface Place {
  store: Store;
  pass: (ms: number) => Promise<void>;
}

/** A failure of the key's next lease. */
export async function fail(store: Store, keyId: string, model: string, finding: Finding, caller = 'local') {
  const { leaseId } = await store.acquire(acquireOrder({ requireKeyId: keyId, model, caller }));
  return store.report(report(leaseId, { outcome: Outcome.FAILURE, finding, caller }));
}

/** Brings about every kind of judgement that is to outlive the process. Keys by what became of them. */
export async function judgeAll({ store, pass }: Place) {
  const add = async (name: string, project = ''): Promise<string> =>
    (await store.createKey(createKeyOrder(`AQ.test-${name}`, { project }))).keyId;
  const keys = {
    resting: await add('resting', 'project-a'),
    spent: await add('spent', 'project-b'),
    solo: await add('solo'),
    own: await add('own', 'project-c'),
    halfOpen: await add('half-open', 'project-d'),
    struck: await add('struck', 'project-e'),
    unreached: await add('unreached-1'),
    refused: await add('dead-1'),
    suspected: await add('suspected'),
    disabled: await add('dead-2'),
    learned: await add('learned'),
    limited: await add('limited', 'project-f'),
    taught: await add('taught'),
    lied: await add('lied-about', 'project-g'),
  };
  const success = async (): Promise<void> => {
    const { leaseId } = await store.acquire(acquireOrder({ requireKeyId: keys.limited, model: FLASH }));
    await store.report(report(leaseId));
  };

  // A caller who is wrong three times in an hour; asking takes a second each.
  for (let lie = 0; lie < 3; lie++) {
    await fail(store, keys.lied, FLASH, plainFinding(ErrorClass.KEY_SUSPENDED, 'key'), 'liar');
    await pass(1_000);
    await store.resetKey(keys.lied);
    await pass(600_000);
    await success();
  }
  // Gemini refuses one key once, gives no answer about another, and is yet to be asked about the third.
  await fail(store, keys.refused, PRO, plainFinding(ErrorClass.KEY_INVALID, 'key'));
  await pass(61_000);
  await success();
  await fail(store, keys.unreached, PRO, plainFinding(ErrorClass.KEY_SUSPENDED, 'key'));
  await pass(1_001);
  await success();
  const test = { keyId: keys.disabled, model: '', modelsPageSize: 1, timeoutMs: 1_000, apply: true };
  await store.testKey(test as Parameters<Store['testKey']>[0]);

  await fail(store, keys.halfOpen, FLASH, plainFinding(ErrorClass.QUOTA_EXHAUSTED_DAY, 'project-model', 60_000));
  const strike = plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', 40_000);
  for (let again = 0; again < 3; again++) {
    const model = BUSY;
    const { leaseId } = await store.acquire(acquireOrder({ requireKeyId: keys.limited, model }));
    const finding = plainFinding(ErrorClass.OVERLOADED, 'none', 30_000);
    const kept = {
      keepLease: true,
      idempotency: { caller: 'local', method: 'R', requestId: `${again}`, contentHash: '' },
    };
    await store.report(report(leaseId, { outcome: Outcome.FAILURE, finding, ...kept }));
    await store.report(report(leaseId, { outcome: Outcome.UNUSED }));
    if (again === 1) await fail(store, keys.struck, PRO, strike);
    if (again < 2) await pass(45_000);
  }
  await fail(store, keys.struck, PRO, strike);
  await fail(store, keys.suspected, PRO, plainFinding(ErrorClass.KEY_INVALID, 'key'));

  await fail(store, keys.resting, '', plainFinding(ErrorClass.PERMISSION, 'key'));
  await fail(store, keys.own, '', plainFinding(ErrorClass.BILLING, 'project'));
  await fail(store, keys.spent, FLASH, plainFinding(ErrorClass.QUOTA_EXHAUSTED_DAY, 'project-model'));
  await fail(store, keys.solo, FLASH, plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', 120_000));
  await fail(store, keys.learned, PRO, {
    ...plainFinding(ErrorClass.PERMISSION, 'project'),
    project: '123456789012',
  });
  await fail(store, keys.limited, PRO, { ...plainFinding(ErrorClass.UNKNOWN), delayDistrusted: true }, 'odd');
  const limits = [{ name: 'requestsPerMinute' as const, value: 7, quotaId: '', model: '' }];
  await fail(store, keys.taught, PRO, { ...plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model'), limits });
  await store.setQuota({ project: 'project-f', model: FLASH, limits: { requestsPerMinute: 5, tokensPerDay: 1_000 } });
  await store.setQuota({ project: 'project-f', model: '', limits: { requestsPerDay: 50 } });
  await store.setQuota({ project: 'not seen yet', model: PRO, limits: { inputTokensPerMinute: 0 } });
  await store.setQuota({ project: keys.solo, model: PRO, limits: { requestsPerDay: 2 } });
  for (let call = 0; call < 3; call++) {
    const order = { requireKeyId: keys.limited, model: FLASH, estimatedTokens: 20 };
    const { leaseId } = await store.acquire(acquireOrder(order));
    await store.report(report(leaseId, { inputTokens: 30 + call }));
  }

  await store.createPool({
    pool: {
      pool: 'until-spent',
      defaultLeaseTtlMs: 120_000,
      maxLeaseTtlMs: 3_600_000,
      maxConcurrentLeases: 0,
      maxTotalLeases: 0,
      maxWaiting: 10,
      description: '',
      autoSuccess: false,
      selection: Selection.UNTIL_SPENT,
    },
    idempotency: undefined,
  });
  for (const name of ['one', 'two', 'three']) {
    await store.createKey({ ...createKeyOrder(`AQ.test-stays-${name}`, { project: name }), pool: 'until-spent' });
  }
  const first = await store.acquire(acquireOrder({ pool: 'until-spent', model: PRO }));
  const change = { disabled: true };
  // Not the project that a fresh lane would begin with.
  const update = { keyId: first.keyId, etag: '', newApiKey: undefined, idempotency: undefined };
  await store.updateKey({ ...update, change });
  const stays = (await store.acquire(acquireOrder({ pool: 'until-spent', model: PRO }))).project;
  await store.updateKey({ ...update, change: { disabled: false } });
  // Whatever is written last is confirmed by what is waited for.
  await success();
  return { keys, stays };
}

/** All that anyone can see of what was judged, times to the millisecond. */
export async function pictureOf(store: Store): Promise<unknown> {
  const { items } = await store.listKeys({ ...EVERY_KEY, limit: 1_000 });
  const quotas = await store.listQuotas({ project: '', after: '', limit: 1_000 });
  const { callers, total } = await store.stats({ pools: [], includeModels: false });
  const { acquireLatency: _, providerLatency: __, acquiresRejected: ___, ...counts } = total;
  return inMilliseconds({
    keys: items.map(({ revision: _, ...key }) => ({
      ...key,
      cooldowns: key.cooldowns.toSorted((a, b) => (a.model < b.model ? -1 : 1)),
    })),
    quotas,
    callers,
    counts,
  });
}

/** When the model whose breaker is open takes calls again: what an acquire is told. */
export async function brokenFor(store: Store): Promise<number | undefined> {
  try {
    await store.acquire(acquireOrder({ model: BUSY }));
  } catch (error) {
    return (error as BalancerError).retryDelayMs;
  }
  return undefined;
}

function inMilliseconds(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (_, each) =>
    typeof each === 'number' && each > 1e12 ? Math.round(each) : each,
  );
}
