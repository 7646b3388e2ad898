import { describe, expect, test } from 'vitest';
import { plainFinding } from '../../../src/gemini/finding.ts';
import { ErrorClass } from '../../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import type { QuotaView } from '../../../src/store/store.ts';
import { acquireOrder, createKeyOrder, report } from '../../support/orders.ts';
import { FLASH, fail, PRO } from '../judged-state.ts';
import { reasonOf, StoreBench, type StorePlace } from './bench.ts';

const HOUR = 3_600_000;

/** Quotas: set, learned, listed, forgotten, kept before the call. */
export function quotasConform(newPlace: () => StorePlace): void {
  const opened = async (...keys: [apiKey: string, project: string][]) => {
    const bench = await StoreBench.open(newPlace());
    const ids: string[] = [];
    for (const [apiKey, project] of keys) {
      ids.push((await bench.store.createKey(createKeyOrder(apiKey, { project }))).keyId);
    }
    const places = async (project = ''): Promise<string[]> => (await all(bench, project)).map(placeOf);
    const call = async (keyId: string, model: string): Promise<string> =>
      reasonOf(bench.store.acquire(acquireOrder({ requireKeyId: keyId, model })));
    return { bench, ids, places, call };
  };

  describe('quotas', () => {
    test('limits of a model are kept before the call, those of the project for every other model', async () => {
      const { bench, ids, call } = await opened(['AQ.key-a', 'p']);
      const [a] = ids as [string];
      await bench.store.setQuota({ project: 'p', model: '', limits: { requestsPerDay: 1 } });
      await bench.store.setQuota({ project: 'p', model: FLASH, limits: { requestsPerDay: 2 } });
      for (const restart of [false, true]) {
        if (restart) await bench.restart();
        expect(await call(a, FLASH)).toBe('no refusal');
      }
      expect(await call(a, FLASH)).toBe('NO_KEY_AVAILABLE');
      expect(await call(a, PRO)).toBe('no refusal');
      expect(await call(a, PRO)).toBe('NO_KEY_AVAILABLE');
      await bench.restart();
      expect(await call(a, FLASH)).toBe('NO_KEY_AVAILABLE');
      expect(await call(a, PRO)).toBe('NO_KEY_AVAILABLE');
      // A limit that is set anew keeps what was used; one that is gone keeps nobody.
      await bench.store.setQuota({ project: 'p', model: FLASH, limits: { requestsPerDay: 3 } });
      expect(await call(a, FLASH)).toBe('no refusal');
      expect(await call(a, FLASH)).toBe('NO_KEY_AVAILABLE');
      await bench.store.deleteQuota({ project: 'p', model: '' });
      expect(await call(a, PRO)).toBe('no refusal');
    });

    test('limits of a project without keys wait for its first key, over restarts', async () => {
      const { bench, call } = await opened();
      await bench.store.setQuota({ project: 'later', model: FLASH, limits: { requestsPerDay: 0 } });
      await bench.store.setQuota({ project: 'later', model: '', limits: { tokensPerDay: 0 } });
      await bench.restart();
      await bench.restart();
      const { keyId } = await bench.store.createKey(createKeyOrder('AQ.key-a', { project: 'later' }));
      expect(await call(keyId, FLASH)).not.toBe('no refusal');
      expect(await call(keyId, PRO)).not.toBe('no refusal');
      await bench.store.deleteQuota({ project: 'later', model: '' });
      expect(await call(keyId, PRO)).toBe('no refusal');
    });

    test('lists go by project and model, in pages that a restart does not break', async () => {
      const { bench, ids } = await opened(['AQ.key-a', ''], ['AQ.key-b', 'p'], ['AQ.key-c', '']);
      const set: [string, string][] = [
        ['p', FLASH],
        ['q', ''],
        [ids[2]!, ''],
        [ids[0]!, PRO],
        ['p', ''],
        ['q', PRO],
      ];
      for (const [project, model] of set) await bench.store.setQuota({ project, model, limits: { requestsPerDay: 9 } });
      const seen: string[] = [];
      let after = '';
      do {
        const page = await bench.store.listQuotas({ project: '', after, limit: 2 });
        seen.push(...page.items.map(placeOf));
        after = page.next;
        await bench.restart();
      } while (after !== '');
      expect(seen).toEqual([`${ids[0]}/${PRO}`, `${ids[2]}/`, 'p/', `p/${FLASH}`, 'q/', `q/${PRO}`]);
    });

    test('a limit that is set leaves the others of its model as they are', async () => {
      const { bench } = await opened(['AQ.key-a', 'p']);
      await bench.store.setQuota({ project: 'p', model: FLASH, limits: { requestsPerMinute: 5, tokensPerDay: 7 } });
      const view = await bench.store.setQuota({ project: 'p', model: FLASH, limits: { requestsPerMinute: 6 } });
      const limits = { requestsPerMinute: { value: 6 }, tokensPerDay: { value: 7 } };
      expect(view.limits).toMatchObject(limits);
      expect(Object.keys(view.limits).sort()).toEqual(Object.keys(limits));
      await bench.restart();
      expect((await all(bench))[0]!.limits).toEqual(view.limits);
    });

    test('what a refusal taught is in force and listed, until it is forgotten by hand or after a day', async () => {
      const { bench, ids, places, call } = await opened(['AQ.key-a', 'p'], ['AQ.key-b', 'q']);
      const limits = [{ name: 'requestsPerDay' as const, value: 1, quotaId: '', model: '' }];
      for (const keyId of ids) {
        await fail(bench.store, keyId, FLASH, {
          ...plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', 2_000),
          limits,
        });
      }
      bench.pass(5_000);
      for (const keyId of ids) expect(await call(keyId, FLASH)).toBe('no refusal');
      expect((await all(bench)).map(({ limits }) => limits.requestsPerDay)).toEqual([
        { value: 1, origin: 'learned', used: 1, resetTime: expect.any(Number) },
        { value: 1, origin: 'learned', used: 1, resetTime: expect.any(Number) },
      ]);
      for (const keyId of ids) expect(await call(keyId, FLASH)).toBe('NO_KEY_AVAILABLE');
      await bench.store.deleteQuota({ project: 'p', model: FLASH });
      expect(await call(ids[0]!, FLASH)).toBe('no refusal');
      await bench.restart();
      expect(await places()).toEqual([`q/${FLASH}`]);
      expect(await call(ids[0]!, FLASH)).toBe('no refusal');
      bench.pass(25 * HOUR);
      expect(await places()).toEqual([]);
      for (let i = 0; i < 3; i++) expect(await call(ids[1]!, FLASH)).toBe('no refusal');
    });

    test('limits and usage of a key of unknown project go along when its project becomes known', async () => {
      const { bench, ids, places, call } = await opened(['AQ.key-a', ''], ['AQ.key-b', '']);
      const [a, b] = ids as [string, string];
      await bench.store.setQuota({ project: a, model: FLASH, limits: { requestsPerDay: 3 } });
      for (const keyId of ids) {
        const finding = { ...plainFinding(ErrorClass.SERVER_ERROR), project: '123456789012' };
        await fail(bench.store, keyId, FLASH, finding);
      }
      for (const restart of [false, true]) {
        if (restart) await bench.restart();
        expect(await places()).toEqual([`123456789012/${FLASH}`]);
        expect((await all(bench))[0]!.limits.requestsPerDay).toMatchObject({ value: 3, used: 2, origin: 'set' });
      }
      expect(await call(b, FLASH)).toBe('no refusal');
      expect(await call(a, FLASH)).toBe('NO_KEY_AVAILABLE');
    });

    test('a deleted key of unknown project takes its limits along, also out of the database', async () => {
      const { bench, ids, places } = await opened(['AQ.key-a', '']);
      await bench.store.setQuota({ project: ids[0]!, model: FLASH, limits: { requestsPerDay: 3 } });
      await bench.store.setQuota({ project: ids[0]!, model: '', limits: { requestsPerDay: 3 } });
      await bench.store.deleteKey({ keyId: ids[0]!, etag: '', allowMissing: false });
      expect(await places()).toEqual([]);
      await bench.restart();
      expect(await places()).toEqual([]);
    });

    test('a project has limits for at most 64 models: one more is refused and not kept, the others stay, and one that is forgotten makes room', async () => {
      const { bench, places } = await opened(['AQ.key-a', 'p']);
      const set = (model: string) =>
        bench.store.setQuota({ project: 'p', model, limits: { requestsPerDay: 1 } }).then(placeOf);
      const models = Array.from({ length: 64 }, (_, i) => `model-${i}`);
      for (const model of models) await set(model);
      expect(await reasonOf(set('a-model-more'))).toBe('INVALID_FIELD');
      expect(await set('model-7')).toBe('p/model-7');
      expect(await set('')).toBe('p/');
      await bench.store.deleteQuota({ project: 'p', model: 'never-set' });
      const full = ['p/', ...models.map((model) => `p/${model}`).sort()];
      expect(await places()).toEqual(full);
      await bench.restart();
      expect(await places()).toEqual(full);
      await bench.store.deleteQuota({ project: 'p', model: '' });
      await bench.store.deleteQuota({ project: 'p', model: 'model-3' });
      expect(await set('a-model-more')).toBe('p/a-model-more');
      await bench.restart();
      expect(await places()).not.toContain('p/model-3');
    });

    test('a lease that is kept for several calls uses the quota of each', async () => {
      const { bench, ids, call } = await opened(['AQ.key-a', 'p']);
      await bench.store.setQuota({ project: 'p', model: FLASH, limits: { requestsPerDay: 3 } });
      const { leaseId } = await bench.store.acquire(acquireOrder({ model: FLASH }));
      const idempotency = { caller: 'local', method: 'ReportResult', requestId: 'r', contentHash: '' };
      await bench.store.report(report(leaseId, { keepLease: true, idempotency }));
      await bench.store.report(report(leaseId));
      expect((await all(bench))[0]!.limits.requestsPerDay).toMatchObject({ used: 2 });
      expect(await call(ids[0]!, FLASH)).toBe('no refusal');
      expect(await call(ids[0]!, FLASH)).toBe('NO_KEY_AVAILABLE');
    });
  });
}

async function all({ store }: StoreBench, project = ''): Promise<QuotaView[]> {
  return (await store.listQuotas({ project, after: '', limit: 1_000 })).items;
}

function placeOf({ project, model }: QuotaView): string {
  return `${project}/${model}`;
}
