import type { Journal, Rows } from '../../src/store/sqlite/journal.ts';

/** All that a journal gives back, in one piece. */
export async function loadAll(journal: Journal): Promise<Rows> {
  const all: Record<string, unknown> = {};
  for await (const part of journal.load()) {
    for (const [kind, value] of Object.entries(part)) {
      const known = all[kind];
      all[kind] = Array.isArray(known) ? [...known, ...(value as unknown[])] : value;
    }
  }
  return all as Rows;
}
