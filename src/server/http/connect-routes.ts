import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { type ConnectError, createConnectRouter, type HandlerContext, type ServiceImpl } from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import { KeyAdminService, KeyBalancerService } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CallContext, ServiceFunctions } from '../service/service-functions.ts';
import type { Services } from '../service/services.ts';
import { type CallFields, callFields, type WatchCalls } from '../telemetry/watch-calls.ts';
import { connectError } from './connect-errors.ts';

/** Largest message a client may send: the same as by gRPC. */
const MAX_REQUEST_BYTES = 4 * 1024 * 1024;

/** Each method of both services by its path, such as "/keybalancer.v1.KeyBalancerService/AcquireKey". */
export function connectRoutes(services: Services, onFault: OnFault, watch?: WatchCalls): Map<string, UniversalHandler> {
  const router = createConnectRouter({
    // gRPC proper needs HTTP/2, and has a door of its own.
    grpc: false,
    // Keys must not be compressed together with what others choose, and nothing here is large.
    acceptCompression: [],
    readMaxBytes: MAX_REQUEST_BYTES,
    // A misspelt field in JSON written by hand is an error, not a default.
    jsonOptions: { ignoreUnknownFields: false },
  });
  router.service(KeyBalancerService, implementation(KeyBalancerService, services.keyBalancer, onFault, watch));
  router.service(KeyAdminService, implementation(KeyAdminService, services.keyAdmin, onFault, watch));
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}

// The generated descriptors carry the messages' types to ServiceFunctions; in here every message is just a message.
type Unary = (request: unknown, context: CallContext) => Promise<unknown>;
type ServerStreaming = (request: unknown, context: CallContext) => AsyncIterable<unknown>;

/** Told of faults of this program, and of the call where it is known. */
export type OnFault = (error: unknown, call?: CallFields) => void;

/** A call that runs. */
interface Begun {
  call: CallContext;
  ended(error?: unknown): void;
  /** What its caller is answered; a fault is told of. */
  refusal(error: unknown): ConnectError;
}

/** Functions as Connect calls them. Connect answers UNIMPLEMENTED for those that are absent. */
function implementation<S extends DescService>(
  service: S,
  functions: ServiceFunctions<S>,
  onFault: OnFault,
  watch: WatchCalls | undefined,
): Partial<ServiceImpl<S>> {
  const found = service.methods.flatMap((method) => {
    const serve = (functions as Record<string, unknown>)[method.localName];
    const adapted = serve === undefined ? undefined : adapt(method, serve, onFault, watch);
    return adapted === undefined ? [] : [[method.localName, adapted]];
  });
  return Object.fromEntries(found) as Partial<ServiceImpl<S>>;
}

function adapt(method: DescMethod, found: unknown, onFault: OnFault, watch: WatchCalls | undefined): unknown {
  const begin = (context: HandlerContext): Begun => {
    const call = callContext(context);
    const { requestHeader: headers, signal } = context;
    const { caller } = call;
    const watched = watch?.({ method, system: 'connectrpc', headers, caller });
    return {
      call,
      ended: (error) => watched?.ended(error),
      refusal: (error) =>
        connectError(error, signal, (fault) => onFault(fault, watched?.fields ?? callFields({ headers, caller }))),
    };
  };
  switch (method.methodKind) {
    case 'unary': {
      const serve = found as Unary;
      return async (request: unknown, context: HandlerContext) => {
        const begun = begin(context);
        try {
          const response = await serve(request, begun.call);
          begun.ended();
          return response;
        } catch (error) {
          begun.ended(error);
          throw begun.refusal(error);
        }
      };
    }
    case 'server_streaming': {
      const serve = found as ServerStreaming;
      return async function* (request: unknown, context: HandlerContext) {
        const begun = begin(context);
        let failure: unknown;
        try {
          yield* serve(request, begun.call);
        } catch (error) {
          failure = error;
          throw begun.refusal(error);
        } finally {
          begun.ended(failure);
        }
      };
    }
    default:
      // Streams to the server need HTTP/2; the handler refuses them before it would come here.
      return undefined;
  }
}

function callContext({ signal, timeoutMs }: HandlerContext): CallContext {
  return { caller: 'local', signal, timeoutMs: timeoutMs() };
}
