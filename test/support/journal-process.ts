import type { Journal, Rows } from '../../src/store/sqlite/journal.ts';
import { openJournal } from '../../src/store/sqlite/open-journal.ts';

/** A process that does with a journal what its parent says: what a second server, or one that is killed, does. */
export type JournalOrder = { open: string } | { commit: Rows } | { announce: { grpc: string } } | { close: true };

export type JournalReply = { done: number } | { error: string; message: string };

let journal: Journal | undefined;

process.on('message', async (order: JournalOrder) => {
  try {
    if ('open' in order) journal = await openJournal({ dataDir: order.open, durability: 'full' });
    if ('commit' in order) await journal?.commit(order.commit);
    if ('announce' in order) await journal?.announce(order.announce);
    if ('close' in order) await journal?.close();
    process.send?.({ done: journal?.boot ?? 0 } satisfies JournalReply);
  } catch (error) {
    process.send?.({ error: (error as Error).name, message: (error as Error).message } satisfies JournalReply);
  }
});
