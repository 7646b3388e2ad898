import { type Journal, JournalError } from '../../src/store/sqlite/journal.ts';

/** A journal that keeps nothing, for tests of what memory decides. It may be told to fail. */
export class MemoryJournal implements Journal {
  readonly storeId = 'memory';
  readonly boot = 1;
  failing = false;

  async *load() {}

  async commit(): Promise<void> {
    if (this.failing) throw new JournalError('disk full');
  }

  async readSecret(): Promise<undefined> {
    return undefined;
  }

  async readImports() {
    return [];
  }

  async sizeBytes(): Promise<number> {
    return 0;
  }

  async announce(): Promise<void> {}

  async close(): Promise<void> {}
}
