import { type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';

/** Server reflection, v1 and v1alpha, so that tools such as buf curl need no copy of the protos. */
export function addReflection(server: Server, services: readonly DescService[]): void {
  const files = new Set<DescFile>();
  const collect = (file: DescFile): void => {
    if (files.has(file)) return;
    files.add(file);
    file.dependencies.forEach(collect);
  };
  for (const service of services) collect(service.file);
  const fileDescriptorProtos = Array.from(files, (file) =>
    Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)),
  );
  const described = { files: { format: '', type: {}, fileDescriptorProtos } };
  new ReflectionService(described as never).addToServer(server);
}
