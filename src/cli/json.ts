import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';

/** protobuf JSON of a message, with the fields that are zero or empty too, so that a reader finds every field each time. */
export function messageJson<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): unknown {
  return toJson(schema, message, { alwaysEmitImplicit: true });
}

/** As it is printed. */
export function prettyJson(value: unknown): string {
  return JSON.stringify(value, undefined, 2);
}
