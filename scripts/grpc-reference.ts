/** Writes docs/grpc-api.md: services, messages and enums of the API, from the comments in the proto file. */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type DescEnum, type DescField, type DescMessage, type DescService, ScalarType } from '@bufbuild/protobuf';
import { markdownTable } from './markdown-table.ts';
import { commentOn, readProtoFiles } from './proto-comments.ts';

export const REFERENCE = join(resolve(import.meta.dirname, '..'), 'docs/grpc-api.md');

const PACKAGE = 'keybalancer.v1';

const HEAD = `# API reference of the service

Made by \`npm run grpc-reference\` from [proto/keybalancer/v1/keybalancer.proto](../proto/keybalancer/v1/keybalancer.proto); not to be edited.
[openapi.json](openapi.json) describes the same calls as JSON over HTTP, [api.md](api.md) the TypeScript client.

- Every error carries a \`google.rpc.ErrorInfo\` with the domain \`keybalancer.v1\` and a reason of [ErrorReason](#errorreason), without its prefix. "No key now" carries
  a \`google.rpc.RetryInfo\` too, a refused field a \`google.rpc.BadRequest\`.
- \`request_id\` is an id of the client's choice, at most 64 printable ASCII characters. A repeat with the same id, caller and content gets the first answer, for 10
  minutes at least; other content is ALREADY_EXISTS. \`max_wait\` is no part of the content. Failures are not remembered.
- Durations that the server gives are relative to its sending, so that clients need no clock that agrees.
- Plain API keys leave the server in \`Lease.api_key\` alone.
`;

/** The text of the reference. */
export function grpcReference(): string {
  const files = [...readProtoFiles()].filter((each) => 'file' in each && each.file.proto.package === PACKAGE);
  const services = files.filter((each) => each.kind === 'service');
  // The types of maps are messages too, which nobody names.
  const messages = files.filter((each) => each.kind === 'message').filter(({ proto }) => !proto.options?.mapEntry);
  const enums = files.filter((each) => each.kind === 'enum');
  return [
    HEAD,
    ...services.map(serviceSection),
    `## Messages\n\n${messages.map(messageSection).join('\n')}`,
    `## Enums\n\n${enums.map(enumSection).join('\n')}`,
  ].join('\n');
}

function serviceSection(service: DescService): string {
  const rows = service.methods.map((method) => {
    const { input, output, methodKind } = method;
    const streams =
      methodKind === 'bidi_streaming' ? ['stream ', 'stream '] : ['', methodKind === 'unary' ? '' : 'stream '];
    return [method.name, `${streams[0]}${linkTo(input)}`, `${streams[1]}${linkTo(output)}`, cell(commentOn(method))];
  });
  return `## ${service.name}\n\n${prose(commentOn(service))}\n\n${markdownTable(['RPC', 'Request', 'Answer', ''], rows)}`;
}

function messageSection(message: DescMessage): string {
  const rows = message.fields.map((field) => {
    const alternative = field.oneof === undefined ? '' : `One of \`${field.oneof.name}\`. `;
    return [`\`${field.name}\``, typeOf(field), `${alternative}${cell(commentOn(field))}`.trim()];
  });
  const parts = [`### ${nameOf(message)}`];
  if (commentOn(message) !== '') parts.push(prose(commentOn(message)));
  parts.push(rows.length === 0 ? 'No fields.\n' : markdownTable(['Field', 'Type', ''], rows));
  return parts.join('\n\n');
}

function enumSection(described: DescEnum): string {
  const rows = described.values.map((value) => [`\`${value.name}\``, String(value.number), cell(commentOn(value))]);
  const parts = [`### ${nameOf(described)}`];
  if (commentOn(described) !== '') parts.push(prose(commentOn(described)));
  parts.push(markdownTable(['Value', 'Number', ''], rows));
  return parts.join('\n\n');
}

function typeOf(field: DescField): string {
  switch (field.fieldKind) {
    case 'scalar':
      return ScalarType[field.scalar].toLowerCase();
    case 'message':
      return linkTo(field.message);
    case 'enum':
      return linkTo(field.enum);
    case 'list':
      return `repeated ${elementOf(field.listKind === 'scalar' ? field.scalar : (field.message ?? field.enum)!)}`;
    case 'map':
      return `map of ${ScalarType[field.mapKey].toLowerCase()} to ${elementOf(field.mapKind === 'scalar' ? field.scalar : (field.message ?? field.enum)!)}`;
  }
}

function elementOf(element: ScalarType | DescMessage | DescEnum): string {
  return typeof element === 'number' ? ScalarType[element].toLowerCase() : linkTo(element);
}

function linkTo(described: DescMessage | DescEnum): string {
  const name = nameOf(described);
  if (described.file.proto.package !== PACKAGE) return described.typeName;
  return `[${name}](#${name.toLowerCase().replaceAll('.', '')})`;
}

/** "Outer.Inner" of what is nested. */
function nameOf({ typeName }: DescMessage | DescEnum): string {
  return typeName.slice(PACKAGE.length + 1);
}

function cell(text: string): string {
  return prose(text)
    .replaceAll(/\s*\n\s*/g, ' ')
    .replaceAll('|', '\\|');
}

/** Angle brackets outside of code would be markup. */
function prose(text: string): string {
  return text.replaceAll('<', '&lt;');
}

if (import.meta.main) writeFileSync(REFERENCE, grpcReference());
