import { fn, number, oneOf, refuseUnknown, shownType, signal, text, texts } from './checks.ts';
import { invalidOption } from './errors.ts';
import type { ImportOptions } from './key-file.ts';
import { KEY_FILE_FORMATS } from './key-formats/formats.ts';

const MOST_WEIGHT = 1_000;

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
  const { format, weight, project, models, labels } = options;
  refuseUnknown(options, [
    'format',
    'weight',
    'project',
    'models',
    'labels',
    'onConflict',
    'validateOnly',
    'signal',
    'onProgress',
  ]);
  oneOf('format', format, KEY_FILE_FORMATS);
  number('weight', weight, 1, MOST_WEIGHT);
  text('project', project);
  texts('models', models);
  if (labels !== undefined) labelTexts(labels);
  oneOf('onConflict', options.onConflict, ['keep', 'update']);
  signal(options.signal);
  if (options.onProgress !== undefined) fn('onProgress', options.onProgress);
}

function labelTexts(labels: unknown): void {
  const isObject = typeof labels === 'object' && labels !== null && !Array.isArray(labels);
  if (isObject && Object.values(labels).every((value) => typeof value === 'string')) return;
  throw invalidOption('labels', isObject ? 'an object with other things' : shownType(labels), 'an object with texts');
}
