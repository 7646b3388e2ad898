import { fn, oneOf, refuseUnknown, shownType, signal } from './checks.ts';
import { invalidOption } from './errors.ts';
import type { ImportOptions } from './key-file.ts';

/** What a key is added with, as far as its types: the rest is the balancer's to judge. Never says what it was given. */
export function checkNewKey(given: { apiKey: unknown; weight: unknown; source: unknown }): void {
  for (const [name, type] of [
    ['apiKey', 'string'],
    ['weight', 'number'],
    ['source', 'string'],
  ] as const) {
    if (typeof given[name] !== type) throw invalidOption(name, shownType(given[name]), `a ${type}`);
  }
}

/** What an import of a file is told beside its pool and source. */
export function checkImport(options: Omit<ImportOptions, 'pool' | 'source'>): void {
  refuseUnknown(options, ['onConflict', 'validateOnly', 'signal', 'onProgress']);
  oneOf('onConflict', options.onConflict, ['keep', 'update']);
  signal(options.signal);
  if (options.onProgress !== undefined) fn('onProgress', options.onProgress);
}
