import type { Balancer } from '../../client/balancer.ts';
import type { BridgeLog } from './bridge-log.ts';
import { Delivery, type DeliveryOptions } from './delivery.ts';
import type { Noticed } from './event.ts';
import { EventQueue } from './event-queue.ts';
import { healthSource, type Watched } from './health-source.ts';
import { withMergedGap } from './merged-gap.ts';
import type { Outbox } from './outbox.ts';
import type { Sink } from './sink.ts';

/** What is read ahead while a batch is on its way; when it is full, nothing more is read. */
const QUEUE = 1_000;
/** How long the first event of a batch waits for others. */
const BATCH_MS = 500;
/** What a sink has, after the end was asked for, to take what there is. */
const FLUSH_MS = 5_000;

export interface BridgeOptions {
  balancer: Balancer;
  sink: Sink;
  outbox: Outbox;
  watched: Omit<Watched, 'resumeToken'>;
  delivery: DeliveryOptions;
  log: BridgeLog;
  /** Milliseconds between two status lines. */
  intervalMs: number;
}

/**
 * Carries what the balancer tells of its health to the sink, until `signal` ends it; then the sink has a few seconds for what is on its
 * way, and what it does not take stays in the outbox. Rejects with what ends the watch for good.
 */
export async function bridge(options: BridgeOptions, signal: AbortSignal): Promise<void> {
  const { balancer, sink, outbox, watched, log, intervalMs } = options;
  const queue = new EventQueue(QUEUE);
  const [stopped, givenUp] = [new AbortController(), new AbortController()];
  let flushing: NodeJS.Timeout | undefined;
  const stop = (): void => {
    stopped.abort();
    queue.end();
    flushing ??= setTimeout(() => givenUp.abort(), FLUSH_MS);
  };
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });

  const delivery = new Delivery(sink, options.delivery, {
    refused: (count, why) => log.refused(count, why),
    tooLarge: (count, most) => log.tooLarge(count, most),
    failing: (why, next) => log.failing(why, next),
    mended: (failures) => log.mended(failures),
    delivered(count) {
      outbox.delivered(count);
      log.delivered(count);
    },
  });
  const add = (noticed: readonly Noticed[]): void => {
    outbox.add(withMergedGap(noticed, (changes) => log.gap('merged', changes)));
  };
  const read = async (): Promise<void> => {
    const from = { ...watched, resumeToken: outbox.resumeToken };
    for await (const noticed of healthSource(balancer, from, log, stopped.signal)) await queue.put(noticed);
  };
  const deliver = async (): Promise<void> => {
    // What an earlier run left comes first.
    await delivery.send(outbox.pending, givenUp.signal);
    while (!givenUp.signal.aborted) {
      const noticed = await queue.take(options.delivery.most, BATCH_MS);
      if (noticed.length === 0) break;
      add(noticed);
      await delivery.send(outbox.pending, givenUp.signal);
    }
    add(queue.drain());
  };

  const status = setInterval(() => void log.status(queue.size + outbox.pending.length), intervalMs);
  const ends = await Promise.allSettled([deliver().finally(stop), read().finally(stop)]);
  clearInterval(status);
  clearTimeout(flushing);
  signal.removeEventListener('abort', stop);
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  await log.status(outbox.pending.length);
}
