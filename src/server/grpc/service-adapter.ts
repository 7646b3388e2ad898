import { type DescMethod, type DescService, fromBinary, toBinary } from '@bufbuild/protobuf';
import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  MethodDefinition,
  Server,
  ServerDuplexStream,
  ServerWritableStream,
} from '@grpc/grpc-js';
import { BalancerError } from '../../engine/errors.ts';
import type { CallContext, ServiceFunctions } from '../service/service-functions.ts';
import { type CallFields, callFields, type WatchCalls } from '../telemetry/watch-calls.ts';
import { GrpcCallContext, type ServerCall } from './call-context.ts';
import { hotCodecs } from './hot-codecs.ts';
import { serviceError } from './status.ts';

/** Told of calls and of what went wrong in them. */
export interface CallObserver {
  started: () => void;
  ended: () => void;
  /** Something other than a refusal: a fault of this program. */
  failed: (method: string, error: unknown, call: CallFields) => void;
  /** Asked of each call as it begins; undefined: nobody wants to know more of calls. */
  watch?: WatchCalls | undefined;
}

// The generated descriptors carry the messages' types to ServiceFunctions; in here every message is just a message.
type Unary = (request: unknown, context: CallContext) => Promise<unknown>;
type ServerStreaming = (request: unknown, context: CallContext) => AsyncIterable<unknown>;
type BidiStreaming = (requests: AsyncIterable<unknown>, context: CallContext) => AsyncIterable<unknown>;

/** Serves the functions of a service by grpc-js. Methods without a function answer UNIMPLEMENTED. */
export function addService<S extends DescService>(
  server: Server,
  service: S,
  functions: ServiceFunctions<S>,
  observer: CallObserver,
): void {
  const definition: Record<string, MethodDefinition<unknown, unknown>> = {};
  const implementation: Record<string, never> = {};
  for (const method of service.methods) {
    definition[method.localName] = methodDefinition(method);
    const found = (functions as Record<string, unknown>)[method.localName];
    if (found === undefined) continue;
    implementation[method.localName] = handler(method, found, observer) as never;
  }
  server.addService(definition, implementation);
}

function methodDefinition(method: DescMethod): MethodDefinition<unknown, unknown> {
  const hot = hotCodecs[`${method.parent.typeName}/${method.name}`];
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === 'bidi_streaming' || method.methodKind === 'client_streaming',
    responseStream: method.methodKind === 'bidi_streaming' || method.methodKind === 'server_streaming',
    requestSerialize: (message) => bytes(toBinary(method.input, message as never)),
    requestDeserialize: hot?.decode ?? ((buffer) => fromBinary(method.input, buffer)),
    responseSerialize: hot?.encode ?? ((message) => bytes(toBinary(method.output, message as never))),
    responseDeserialize: (buffer) => fromBinary(method.output, buffer),
  };
}

/** A call that runs. */
interface Begun {
  ended(error?: unknown): void;
  /** What its caller is answered; a fault is told of. */
  refusal(error: unknown): ReturnType<typeof serviceError>;
}

function handler(method: DescMethod, found: unknown, observer: CallObserver): unknown {
  const { watch } = observer;
  const begin = (call: ServerCall, { caller }: CallContext): Begun => {
    observer.started();
    const watched = watch?.({ method, system: 'grpc', headers: call.metadata, caller });
    return {
      ended(error) {
        observer.ended();
        watched?.ended(error);
      },
      refusal(error) {
        if (!(error instanceof BalancerError)) {
          observer.failed(method.name, error, watched?.fields ?? callFields({ headers: call.metadata, caller }));
        }
        return serviceError(error);
      },
    };
  };
  switch (method.methodKind) {
    case 'unary': {
      const serve = found as Unary;
      const handle: handleUnaryCall<unknown, unknown> = (call, callback) => {
        const context = new GrpcCallContext(call);
        const begun = begin(call, context);
        serve(call.request, context).then(
          (response) => {
            begun.ended();
            callback(null, response);
          },
          (error) => {
            begun.ended(error);
            callback(begun.refusal(error));
          },
        );
      };
      return handle;
    }
    case 'server_streaming': {
      const serve = found as ServerStreaming;
      const handle: handleServerStreamingCall<unknown, unknown> = (call) => {
        const context = new GrpcCallContext(call);
        void pump(call, serve(call.request, context), begin(call, context));
      };
      return handle;
    }
    case 'bidi_streaming': {
      const serve = found as BidiStreaming;
      const handle: handleBidiStreamingCall<unknown, unknown> = (call) => {
        const context = new GrpcCallContext(call);
        void pump(call, serve(call, context), begin(call, context));
      };
      return handle;
    }
    default:
      throw new Error(`${method.name}: no method streams to the server only`);
  }
}

/** Writes what the function gives, no faster than the client reads it. */
async function pump(
  call: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>,
  responses: AsyncIterable<unknown>,
  begun: Begun,
): Promise<void> {
  let failure: unknown;
  // An error of the transport (such as a request that does not decode) ends the call as grpc-js sees fit.
  call.on('error', () => {});
  try {
    for await (const response of responses) {
      if (call.cancelled) break;
      if (!call.write(response)) await drained(call);
    }
    call.end();
  } catch (error) {
    failure = error;
    if (!call.cancelled) call.emit('error', begun.refusal(error));
  } finally {
    begun.ended(failure);
  }
}

function drained(call: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      call.off('drain', done);
      call.off('cancelled', done);
      resolve();
    };
    call.on('drain', done);
    call.on('cancelled', done);
  });
}

function bytes(array: Uint8Array): Buffer {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}
