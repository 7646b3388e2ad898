import { createRequire } from 'node:module';
import { type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { handleBidiStreamingCall, MethodDefinition, Server } from '@grpc/grpc-js';

const METHOD = 'ServerReflectionInfo';
const SERVICES = ['grpc.reflection.v1.ServerReflection', 'grpc.reflection.v1alpha.ServerReflection'] as const;

/** A service of @grpc/reflection: how its messages are written, and what answers them. */
interface Implementation {
  method: MethodDefinition<object, object>;
  answer: handleBidiStreamingCall<object, object>;
}

/**
 * Server reflection, v1 and v1alpha, so that tools such as buf curl need no copy of the protos. What answers is loaded by the first call:
 * it takes as long as a tenth of a server's start, and few servers are ever asked.
 */
export function addReflection(server: Server, services: readonly DescService[]): void {
  let loaded: Map<string, Implementation> | undefined;
  for (const service of SERVICES) {
    const path = `/${service}/${METHOD}`;
    const load = (): Implementation => {
      loaded ??= implementations(services);
      return loaded.get(path)!;
    };
    const method: MethodDefinition<object, object> = {
      path,
      requestStream: true,
      responseStream: true,
      requestSerialize: (message) => load().method.requestSerialize(message),
      requestDeserialize: (bytes) => load().method.requestDeserialize(bytes),
      responseSerialize: (message) => load().method.responseSerialize(message),
      responseDeserialize: (bytes) => load().method.responseDeserialize(bytes),
    };
    const answer: Implementation['answer'] = (call) => load().answer(call);
    server.addService({ [METHOD]: method }, { [METHOD]: answer });
  }
}

/** By the path of their method. */
function implementations(services: readonly DescService[]): Map<string, Implementation> {
  const { ReflectionService } = createRequire(import.meta.url)('@grpc/reflection') as typeof import('@grpc/reflection');
  const described = { files: { format: '', type: {}, fileDescriptorProtos: filesOf(services) } };
  const found = new Map<string, Implementation>();
  const taker: Pick<Server, 'addService'> = {
    addService: (definition, handlers) => {
      const method = definition[METHOD] as Implementation['method'];
      found.set(method.path, { method, answer: handlers[METHOD] as Implementation['answer'] });
    },
  };
  new ReflectionService(described as never).addToServer(taker as Server);
  return found;
}

/** The files of the services and all that these import, as bytes. */
function filesOf(services: readonly DescService[]): Buffer[] {
  const files = new Set<DescFile>();
  const collect = (file: DescFile): void => {
    if (files.has(file)) return;
    files.add(file);
    file.dependencies.forEach(collect);
  };
  for (const service of services) collect(service.file);
  return Array.from(files, (file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)));
}
