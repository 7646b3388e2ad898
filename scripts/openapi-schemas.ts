import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { commentOn } from './proto-comments.ts';

export type Schema = { [key: string]: unknown };

/** Types of Google's that have a JSON form of their own. */
const WELL_KNOWN: Record<string, Schema> = {
  'google.protobuf.Duration': {
    type: 'string',
    pattern: '^-?\\d+(\\.\\d{1,9})?s$',
    examples: ['5s', '1.500s'],
  },
  'google.protobuf.Timestamp': { type: 'string', format: 'date-time' },
  'google.protobuf.FieldMask': {
    type: 'string',
    description: 'Names of fields in lowerCamelCase, with commas between.',
    examples: ['weight,project'],
  },
};

/** JSON schemas of messages and enums, and of all that they hold, by their names in `components`. */
export class Schemas {
  readonly #schemas = new Map<string, Schema>();

  /** A reference to the schema of a message or enum, which is made if need be. */
  reference(type: DescMessage | DescEnum): Schema {
    const name = type.typeName.slice(type.file.proto.package.length + 1);
    if (!this.#schemas.has(name)) {
      // Before its fields, since messages may hold themselves.
      this.#schemas.set(name, {});
      this.#schemas.set(name, type.kind === 'enum' ? enumSchema(type) : this.#messageSchema(type));
    }
    return { $ref: `#/components/schemas/${name}` };
  }

  all(): Record<string, Schema> {
    return Object.fromEntries([...this.#schemas].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #messageSchema(message: DescMessage): Schema {
    const choices = message.oneofs.map(
      ({ fields }) => `At most one of ${fields.map(({ jsonName }) => `\`${jsonName}\``).join(', ')} is there.`,
    );
    const description = [commentOn(message), ...choices].filter((text) => text !== '').join(' ');
    const properties = message.fields.map((field) => [field.jsonName, this.#property(field)]);
    return { type: 'object', ...described(description), properties: Object.fromEntries(properties) };
  }

  #property(field: DescField): Schema {
    const comment = commentOn(field);
    const marks = {
      ...(/^Output only\b/.test(comment) ? { readOnly: true } : {}),
      ...(/^Secret\b/.test(comment) ? { format: 'password' } : {}),
    };
    const type = this.#typeOf(field);
    // What a field says goes before what its type says in general.
    return { ...type, ...described(comment === '' ? ((type.description as string) ?? '') : comment), ...marks };
  }

  #typeOf(field: DescField): Schema {
    switch (field.fieldKind) {
      case 'scalar':
        return scalarSchema(field.scalar);
      case 'enum':
        return this.reference(field.enum);
      case 'message':
        return this.#messageOrWellKnown(field.message);
      case 'list':
        return { type: 'array', items: this.#element(field) };
      case 'map':
        return { type: 'object', additionalProperties: this.#element(field) };
    }
  }

  #element(field: DescField & { fieldKind: 'list' | 'map' }): Schema {
    const kind = field.fieldKind === 'list' ? field.listKind : field.mapKind;
    if (kind === 'scalar') return scalarSchema(field.scalar!);
    return kind === 'enum' ? this.reference(field.enum!) : this.#messageOrWellKnown(field.message!);
  }

  #messageOrWellKnown(message: DescMessage): Schema {
    const known = WELL_KNOWN[message.typeName];
    if (known !== undefined) return known;
    if (message.typeName.startsWith('google.protobuf.'))
      throw new Error(`the JSON of ${message.typeName} is not known`);
    return this.reference(message);
  }
}

function enumSchema(type: DescEnum): Schema {
  const values = type.values.map((value) => [value.name, commentOn(value)] as const);
  const lines = values.filter(([, comment]) => comment !== '').map(([name, comment]) => `- \`${name}\`: ${comment}`);
  const description = [commentOn(type), lines.join('\n')].filter((text) => text !== '').join('\n\n');
  return { type: 'string', ...described(description), enum: values.map(([name]) => name) };
}

function scalarSchema(scalar: ScalarType): Schema {
  switch (scalar) {
    case ScalarType.STRING:
      return { type: 'string' };
    case ScalarType.BOOL:
      return { type: 'boolean' };
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return { type: 'number', format: scalar === ScalarType.DOUBLE ? 'double' : 'float' };
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return { type: 'integer', format: 'int32' };
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return { type: 'integer', minimum: 0, maximum: 2 ** 32 - 1 };
    // More than a JSON number holds exactly in most languages.
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return { type: 'string', format: 'int64', pattern: '^-?\\d{1,19}$' };
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return { type: 'string', format: 'uint64', pattern: '^\\d{1,20}$' };
    case ScalarType.BYTES:
      return { type: 'string', contentEncoding: 'base64' };
  }
}

function described(description: string): Schema {
  return description === '' ? {} : { description };
}
