import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { type Duration, durationMs } from '@bufbuild/protobuf/wkt';
import { type CallOptions as GrpcCallOptions, type Metadata, type ServiceError, status } from '@grpc/grpc-js';
import type { CallOptions, InvokeUnary } from './balancer.ts';
import type { Credentials } from './credentials.ts';
import { type Endpoint, type Endpoints, isConnected } from './endpoints.ts';
import { cancelledError, closedError } from './errors.ts';
import { outlivingAcquires } from './left-acquire.ts';
import { isUnsent, remoteError } from './remote-error.ts';
import { withTraceContext } from './trace-context.ts';

/** Calls that are each a gRPC call of their own. */
export class GrpcCalls {
  readonly #endpoints: Endpoints;
  readonly #metadata: Credentials['metadata'];
  readonly #timeoutMs: number;
  /** Also while it is closed, until the connections are. */
  readonly single: InvokeUnary;
  #closed = false;

  /** `timeoutMs`: of a call that says nothing else. */
  constructor(endpoints: Endpoints, metadata: Credentials['metadata'], timeoutMs: number) {
    this.#endpoints = endpoints;
    this.#metadata = metadata;
    this.#timeoutMs = timeoutMs;
    this.single = outlivingAcquires((method, request, call) => this.#call(method, request, call), {
      timeoutOf: (request, call) => timeoutOf(request, call, timeoutMs),
      where: () => endpoints.current.where,
    });
  }

  readonly invoke: InvokeUnary = async (method, request, call) => {
    this.#refuseClosed();
    return this.single(method, request, call);
  };

  /** Goes to the other addresses in turn where nothing could be sent; what was sent is not sent again. */
  async #call(method: DescMethodUnary, request: Message, call: CallOptions): Promise<Message> {
    const timeoutMs = timeoutOf(request, call, this.#timeoutMs);
    const end = Date.now() + timeoutMs;
    for (let tried = 1; ; tried++) {
      if (call.signal?.aborted) throw cancelledError(call.signal);
      const given = this.#metadata();
      const metadata = given instanceof Promise ? await given : given;
      if (call.signal?.aborted) throw cancelledError(call.signal);
      const endpoint = this.#endpoints.current;
      const answer = await callOnce(
        endpoint,
        method,
        request,
        withTraceContext(metadata),
        { deadline: end },
        call.signal,
      );
      if ('response' in answer) return answer.response;
      const { error } = answer;
      if (call.signal?.aborted) throw cancelledError(call.signal);
      const unsent = isUnsent(error);
      if (unsent || error.code === status.UNAVAILABLE || !isConnected(endpoint)) this.#endpoints.leave(endpoint);
      if (!unsent || tried >= this.#endpoints.all.length) throw remoteError(error, endpoint.where, timeoutMs);
    }
  }

  /** Goes to the other addresses as a single call does. */
  streaming<I extends DescMessage, O extends DescMessage>(method: DescMethodServerStreaming<I, O>) {
    const refuse = (signal: AbortSignal | undefined): void => {
      this.#refuseClosed();
      if (signal?.aborted) throw cancelledError(signal);
    };
    const endpoints = this.#endpoints;
    const given = this.#metadata;
    return async function* (
      request: MessageInitShape<I>,
      { signal, timeoutMs }: CallOptions = {},
    ): AsyncGenerator<MessageShape<O>> {
      const options = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
      for (let tried = 1; ; tried++) {
        refuse(signal);
        const metadata = await given();
        refuse(signal);
        const endpoint = endpoints.current;
        const stream = endpoint.client.makeServerStreamRequest(
          pathOf(method),
          encoder(method),
          decoder(method),
          create(method.input, request) as Message,
          withTraceContext(metadata),
          options,
        );
        const cancel = (): void => stream.cancel();
        signal?.addEventListener('abort', cancel, { once: true });
        // After the reader has left, the end of the stream is nobody's error.
        stream.on('error', () => {});
        try {
          for await (const response of stream) yield response as MessageShape<O>;
          return;
        } catch (error) {
          if (signal?.aborted) throw cancelledError(signal);
          const failure = remoteError(error, endpoint.where, timeoutMs);
          // One that is cut goes on elsewhere, where its reader resumes it.
          if (failure.code === 'UNAVAILABLE' || !isConnected(endpoint)) endpoints.leave(endpoint);
          if (!isUnsent(error as Partial<ServiceError>) || tried >= endpoints.all.length) throw failure;
        } finally {
          signal?.removeEventListener('abort', cancel);
          stream.cancel();
        }
      }
    };
  }

  close(): void {
    this.#closed = true;
  }

  #refuseClosed(): void {
    if (this.#closed) throw closedError(this.#endpoints.where);
  }
}

/** Milliseconds that a call has: one that may wait for a key gets its max_wait on top of what calls have. */
export function timeoutOf(request: Message, { timeoutMs }: CallOptions, usualMs: number): number {
  return timeoutMs ?? usualMs + maxWaitMs(request);
}

/** What the request allows the server to let it wait. */
function maxWaitMs(request: Message): number {
  const { maxWait } = request as { maxWait?: Duration };
  return maxWait === undefined ? 0 : durationMs(maxWait);
}

type Answer = { response: Message } | { error: Partial<ServiceError> };

function callOnce(
  { client }: Endpoint,
  method: DescMethodUnary,
  request: Message,
  metadata: Metadata,
  options: GrpcCallOptions,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  return new Promise((resolve) => {
    const running = client.makeUnaryRequest(
      pathOf(method),
      encoder(method),
      decoder(method),
      request,
      metadata,
      options,
      (error, response) => {
        signal?.removeEventListener('abort', cancel);
        resolve(response === undefined ? { error: error ?? {} } : { response });
      },
    );
    const cancel = (): void => running.cancel();
    signal?.addEventListener('abort', cancel, { once: true });
  });
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function encoder(method: DescMethod): (request: Message) => Buffer {
  return (request) => {
    const bytes = toBinary(method.input, request);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

function decoder(method: DescMethod): (bytes: Buffer) => Message {
  return (bytes) => fromBinary(method.output, bytes);
}
