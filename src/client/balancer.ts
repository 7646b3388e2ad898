import {
  create,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import type { KeyAdminService, KeyBalancerService } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/** How one call of the service is made. */
export interface CallOptions {
  /** Gives the call up: it rejects with code CANCELLED, and a waiting acquire takes no key. */
  signal?: AbortSignal | undefined;
  /** Longest time for the call, in milliseconds, 0 to 2147483647; then it rejects with code DEADLINE_EXCEEDED. */
  timeoutMs?: number | undefined;
  /**
   * Of an acquire with a request id: whether it may be asked for again after it was given up. Where not, a lease that comes after all is
   * given back unused. Default: true.
   */
  mayRepeat?: boolean | undefined;
  /** Of a report that nobody waits for: it may wait up to 10 ms for others to go with it. */
  relaxed?: boolean | undefined;
}

/** The unary methods of a service, camelCase, over messages. They reject with KeyBalancerError. */
export type UnaryCalls<S extends DescService> = {
  readonly [M in keyof S['method'] as S['method'][M] extends DescMethodUnary ? M : never]: UnaryCall<S['method'][M]>;
};

/** A method that takes one message and answers with one. */
export type UnaryCall<M> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : never;

/** A method that takes one message and answers with many. */
export type ServerStreamingCall<M> =
  M extends DescMethodServerStreaming<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
    : never;

/** A KeyBalancer to talk to: a server somewhere, or the engine in this very process. */
export interface Balancer {
  /** Leases, reports, imports and stats. */
  readonly keyBalancer: UnaryCalls<typeof KeyBalancerService>;
  /** Keys, pools, leases, quotas and imports, for those who run it. */
  readonly keyAdmin: UnaryCalls<typeof KeyAdminService>;
  /** Begins with the first step of the iteration, and ends with it. */
  readonly watchHealth: ServerStreamingCall<typeof KeyBalancerService.method.watchHealth>;
  /** As watchHealth, and ends by itself when all keys are tested. */
  readonly testKeys: ServerStreamingCall<typeof KeyAdminService.method.testKeys>;
  /** Where it is, for people: "127.0.0.1:50051", "unix:/var/lib/keybalancer/keybalancer.sock", "data dir /var/lib/keybalancer". */
  readonly where: string;
  /** It runs in this process now: no answer of its can be lost on the way. Default: false. */
  readonly inProcess?: boolean;
  /** Lets go of it. Calls made later reject. */
  close(): Promise<void>;
}

/** Makes one call of a unary method, whatever it takes to get there. */
export type InvokeUnary = (method: DescMethodUnary, request: Message, options: CallOptions) => Promise<Message>;

/** The calls of a service, each made by `invoke`. */
export function unaryCalls<S extends DescService>(service: S, invoke: InvokeUnary): UnaryCalls<S> {
  const calls: Record<string, (request: MessageInitShape<never>, options?: CallOptions) => Promise<Message>> = {};
  for (const method of service.methods) {
    if (method.methodKind !== 'unary') continue;
    calls[method.localName] = async (request, options = {}) =>
      invoke(method as DescMethodUnary, create(method.input, request), options);
  }
  // The descriptors that built the calls are the same that their types come from.
  return calls as UnaryCalls<S>;
}
