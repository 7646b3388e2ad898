import type { FakeRequest, KeyOptions } from '../../fake-gemini/index.ts';
import { apiKeys } from '../../support/orders.ts';

/** 30 keys: 10 die after some calls, 10 are spent for a minute after some (of a model), 5 are slow, and 5 are well. */
export function badKeys(): Record<string, KeyOptions> {
  return Object.fromEntries(
    apiKeys(30).map((key, index) => {
      if (index < 10) return [key, { behaviour: dyingAfter(3 * index) }];
      if (index < 20) return [key, { behaviour: { minuteLimit: 2 * index } }];
      if (index < 25) return [key, { behaviour: { delayMs: 300, chunkDelayMs: 20 } }];
      return [key, {}];
    }),
  );
}

function dyingAfter(requests: number): (request: FakeRequest) => 'dead' | 'healthy' {
  let left = requests;
  return () => (left-- > 0 ? 'healthy' : 'dead');
}
