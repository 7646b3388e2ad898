import type { FieldMask } from '@bufbuild/protobuf/wkt';
import * as fields from '../fields.ts';

/**
 * Paths of a message as an update takes them: those it may change, and those it passes over, which are the server's own or name
 * and guard what is changed. Whoever reads a message, changes one field and sends it back means only that field.
 */
export interface Paths {
  settable: readonly string[];
  ignored: readonly string[];
}

/** Whether the update means a path: the mask names it or, where there is no mask, it is set. Refuses paths that are none. */
export function maskReader(mask: FieldMask | undefined, paths: Paths): (path: string, isSet: boolean) => boolean {
  const named = new Set(mask?.paths);
  for (const path of named) {
    // Parts of an output-only message, such as health.state.
    const known = paths.settable.includes(path) || paths.ignored.includes(path.replace(/\..*$/s, ''));
    if (!known) throw fields.refused('update_mask', path, `any of ${paths.settable.join(', ')}`);
  }
  return named.size === 0 ? (_path, isSet) => isSet : (path) => named.has(path);
}
