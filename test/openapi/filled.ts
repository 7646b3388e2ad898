import { create, type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';

/** A message whose every field has a value; of a oneof the one of this number. */
export function filled(message: DescMessage, choice: number, depth = 3): ReflectMessage {
  const made = reflect(message, create(message));
  for (const field of message.fields) {
    const { oneof } = field;
    if (oneof !== undefined && oneof.fields[choice % oneof.fields.length] !== field) continue;
    fill(made, field, choice, depth);
  }
  return made;
}

function fill(made: ReflectMessage, field: DescField, choice: number, depth: number): void {
  switch (field.fieldKind) {
    case 'list': {
      const list = made.get(field);
      if (field.listKind === 'message') list.add(nested(field.message, choice, depth));
      else list.add(field.listKind === 'enum' ? last(field.enum) : scalarOf(field.scalar));
      break;
    }
    case 'map':
      if (field.mapKind !== 'scalar') throw new Error(`${field} is not filled`);
      made.get(field).set('name', scalarOf(field.scalar));
      break;
    case 'message':
      made.set(field, nested(field.message, choice, depth));
      break;
    case 'enum':
      made.set(field, last(field.enum));
      break;
    case 'scalar':
      made.set(field, scalarOf(field.scalar));
  }
}

function last({ values }: DescEnum): number {
  return values.at(-1)!.number;
}

function nested(message: DescMessage, choice: number, depth: number): ReflectMessage {
  // A year that there is, a span that is allowed, paths that are some.
  const own = WELL_KNOWN[message.typeName];
  if (own !== undefined) return reflect(message, create(message, own as never));
  return depth === 0 ? reflect(message, create(message)) : filled(message, choice, depth - 1);
}

const WELL_KNOWN: Record<string, object> = {
  'google.protobuf.Timestamp': { seconds: 1_800_000_000n, nanos: 250_000_000 },
  'google.protobuf.Duration': { seconds: 1_800_000_000n, nanos: 250_000_000 },
  'google.protobuf.FieldMask': { paths: ['weight', 'max_concurrent_leases'] },
};

function scalarOf(scalar: ScalarType): unknown {
  switch (scalar) {
    case ScalarType.STRING:
      return 'text';
    case ScalarType.BOOL:
      return true;
    case ScalarType.DOUBLE:
      return 0.5;
    case ScalarType.INT32:
      return -(2 ** 31);
    case ScalarType.INT64:
      return -(2n ** 63n);
    case ScalarType.UINT64:
      return 2n ** 64n - 1n;
    default:
      throw new Error(`no value of scalar type ${scalar}`);
  }
}
