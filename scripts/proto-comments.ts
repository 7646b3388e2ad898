import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import {
  createFileRegistry,
  type DescEnum,
  type DescEnumValue,
  type DescField,
  type DescFile,
  type DescMessage,
  type DescMethod,
  type DescService,
  type FileRegistry,
  fromBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

const ROOT = resolve(import.meta.dirname, '..');

type Commented = DescMessage | DescField | DescEnum | DescEnumValue | DescService | DescMethod;

/** Numbers of fields of FileDescriptorProto and what is in it, of which the paths to comments are made. */
const IN_FILE = { message: 4, enum: 5, service: 6 } as const;
const IN_MESSAGE = { field: 2, message: 3, enum: 4 } as const;
const MEMBER = 2;

/** All files under proto/ and third_party/, comments included, which generated code leaves out. */
export function readProtoFiles(): FileRegistry {
  const image = execFileSync(join(ROOT, 'node_modules/.bin/buf'), ['build', '-o', '-'], {
    cwd: ROOT,
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
}

/** The comment before something in a proto file, its lines joined, paragraphs kept. "": there is none. */
export function commentOn(described: Commented): string {
  const file = fileOf(described);
  const comments = commentsOfFiles.get(file) ?? commentsOf(file);
  commentsOfFiles.set(file, comments);
  return comments.get(pathTo(described).join('.')) ?? '';
}

const commentsOfFiles = new WeakMap<DescFile, Map<string, string>>();

function commentsOf({ proto }: DescFile): Map<string, string> {
  const locations = proto.sourceCodeInfo?.location ?? [];
  return new Map(locations.map(({ path, leadingComments }) => [path.join('.'), joined(leadingComments)]));
}

function joined(comment: string): string {
  const lines = comment.split('\n').map((line) => line.trim());
  return lines
    .join('\n')
    .trim()
    .split(/\n{2,}/)
    .map((paragraph) => paragraph.replaceAll('\n', ' '))
    .join('\n\n');
}

function fileOf(described: Commented): DescFile {
  if (described.kind === 'field' || described.kind === 'rpc' || described.kind === 'enum_value') {
    return described.parent.file;
  }
  return described.file;
}

function pathTo(described: Commented): number[] {
  switch (described.kind) {
    case 'field':
      return [...pathTo(described.parent), IN_MESSAGE.field, described.parent.fields.indexOf(described)];
    case 'enum_value':
      return [...pathTo(described.parent), MEMBER, described.parent.values.indexOf(described)];
    case 'rpc':
      return [...pathTo(described.parent), MEMBER, described.parent.methods.indexOf(described)];
    case 'service':
      return [IN_FILE.service, described.file.services.indexOf(described)];
    case 'message':
      return described.parent === undefined
        ? [IN_FILE.message, described.file.messages.indexOf(described)]
        : [...pathTo(described.parent), IN_MESSAGE.message, indexIn(described.parent.proto.nestedType, described)];
    case 'enum':
      return described.parent === undefined
        ? [IN_FILE.enum, described.file.enums.indexOf(described)]
        : [...pathTo(described.parent), IN_MESSAGE.enum, indexIn(described.parent.proto.enumType, described)];
  }
}

/** The types of maps are nested messages too, but not among those that a descriptor lists. */
function indexIn(list: readonly { name: string }[], { name }: { name: string }): number {
  return list.findIndex((each) => each.name === name);
}
