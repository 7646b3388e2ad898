import type {
  DescMethodBiDiStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageShape,
} from '@bufbuild/protobuf';

/** What a service function knows of its call, whatever door it came through. */
export interface CallContext {
  /** Authenticated caller; "local" where no tokens are in force. */
  caller: string;
  /** Aborted when the caller went away, its deadline passed, or the server gives up on it. */
  signal: AbortSignal;
  /** Time left until the caller's deadline, in milliseconds; undefined: none. */
  timeoutMs: number | undefined;
  /** Of a report, by a door in this process: nobody waits for its answer. */
  relaxed?: boolean | undefined;
}

/**
 * A service as plain functions over messages: one for each of its methods, knowing no transport. They refuse with
 * BalancerError, which each door maps to its own status. A method that is absent is UNIMPLEMENTED.
 */
export type ServiceFunctions<S extends DescService> = {
  [M in keyof S['method']]?: ServiceFunction<S['method'][M]>;
};

export type ServiceFunction<M> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, context: CallContext) => Promise<MessageShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>, context: CallContext) => AsyncIterable<MessageShape<O>>
      : M extends DescMethodBiDiStreaming<infer I, infer O>
        ? (requests: AsyncIterable<MessageShape<I>>, context: CallContext) => AsyncIterable<MessageShape<O>>
        : never;
