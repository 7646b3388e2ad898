import * as fields from './fields.ts';

/** A value that the enum has: others arrive where a client knows a newer API than this server. `prefix` as in the proto. */
export function enumValue<E extends number>(
  field: string,
  value: number,
  values: Readonly<Record<string, E>>,
  prefix: string,
): E {
  for (const known of Object.values(values)) if (known === value) return known;
  const names = Object.keys(values).map((name) => prefix + name);
  throw fields.refused(field, value, names.join(', '));
}
