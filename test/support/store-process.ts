import { BalancerError } from '../../src/engine/errors.ts';
import { openStore } from '../../src/store/open-store.ts';
import type { Store } from '../../src/store/store.ts';
import { probeByName } from './probe-by-name.ts';

/** A process that does with a store what its parent says, on a clock that stands until it is told: what a server that is killed does. */
export type StoreOrder =
  | { open: string; now: number; wallOffset: number }
  | { pass: number }
  | { call: string; args: unknown[] };

export type StoreReply =
  | { value: unknown }
  | { refusal: { reason: string; message: string; retryDelayMs: number | undefined; metadata: Record<string, string> } }
  | { failure: string };

let store: Store | undefined;
let now = 0;

async function done(order: StoreOrder): Promise<unknown> {
  if ('pass' in order) {
    now += order.pass;
    return undefined;
  }
  if ('call' in order) {
    const method = Reflect.get(store!, order.call) as (...args: unknown[]) => unknown;
    return method.apply(store, order.args);
  }
  now = order.now;
  const clock = { now: () => now, wallOffset: () => order.wallOffset };
  const masterKey = { value: '0'.repeat(64) };
  store = await openStore({
    dataDir: order.open,
    durability: 'full',
    masterKey,
    clock,
    probe: probeByName,
    random: () => 0.5,
  });
  return undefined;
}

process.on('message', async (order: StoreOrder) => {
  try {
    process.send?.({ value: await done(order) } satisfies StoreReply);
  } catch (error) {
    if (!(error instanceof BalancerError)) {
      process.send?.({ failure: String((error as Error).stack) } satisfies StoreReply);
      return;
    }
    const { reason, message, retryDelayMs, metadata } = error;
    process.send?.({ refusal: { reason, message, retryDelayMs, metadata: { ...metadata } } } satisfies StoreReply);
  }
});
