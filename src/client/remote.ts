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
import { Client, credentials, type CallOptions as GrpcCallOptions, Metadata } from '@grpc/grpc-js';
import { KeyAdminService, KeyBalancerService } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { parseAddress } from './address.ts';
import { type Balancer, type CallOptions, unaryCalls } from './balancer.ts';
import { cancelledError, closedError } from './errors.ts';
import { remoteError } from './remote-error.ts';

export interface RemoteOptions {
  /** For a call that says nothing else, in milliseconds; one that may wait for a key gets its max_wait on top. Default: 30 s. */
  timeoutMs?: number;
}

const CHANNEL = {
  // Finds out about a connection that died in silence while calls or streams are open on it.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  // A server that restarts is found again at once.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  // Answers carry plaintext keys: they pass by no proxy that the environment happens to name.
  'grpc.enable_http_proxy': 0,
  // The largest answer, 10,000 leases, is beyond the default of 4 MiB.
  'grpc.max_receive_message_length': 64 * 1024 * 1024,
};

/** A KeyBalancer server at HOST:PORT or unix:PATH. Connects with the first call, and again whenever it must. */
export function connectRemote(address: string, options: RemoteOptions = {}): Balancer {
  const { text: where, target } = parseAddress(address);
  const { timeoutMs: defaultTimeoutMs = 30_000 } = options;
  const client = new Client(target, credentials.createInsecure(), CHANNEL);
  let closed = false;

  const invoke = (method: DescMethodUnary, request: Message, call: CallOptions): Promise<Message> =>
    new Promise((resolve, reject) => {
      if (closed) throw closedError(where);
      const { signal } = call;
      if (signal?.aborted) throw cancelledError(signal);
      const timeoutMs = call.timeoutMs ?? defaultTimeoutMs + maxWaitMs(request);
      const running = client.makeUnaryRequest(
        pathOf(method),
        encoder(method),
        decoder(method),
        request,
        new Metadata(),
        deadline(timeoutMs),
        (error, response) => {
          signal?.removeEventListener('abort', cancel);
          if (response !== undefined) resolve(response);
          else reject(signal?.aborted ? cancelledError(signal) : remoteError(error, where, timeoutMs));
        },
      );
      const cancel = (): void => running.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
    });

  const streaming = <I extends DescMessage, O extends DescMessage>(method: DescMethodServerStreaming<I, O>) =>
    async function* (
      request: MessageInitShape<I>,
      { signal, timeoutMs }: CallOptions = {},
    ): AsyncGenerator<MessageShape<O>> {
      if (closed) throw closedError(where);
      if (signal?.aborted) throw cancelledError(signal);
      const stream = client.makeServerStreamRequest(
        pathOf(method),
        encoder(method),
        decoder(method),
        create(method.input, request) as Message,
        new Metadata(),
        timeoutMs === undefined ? {} : deadline(timeoutMs),
      );
      const cancel = (): void => stream.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
      // After the reader has left, the end of the stream is nobody's error.
      stream.on('error', () => {});
      try {
        for await (const response of stream) yield response as MessageShape<O>;
      } catch (error) {
        throw signal?.aborted ? cancelledError(signal) : remoteError(error, where, timeoutMs);
      } finally {
        signal?.removeEventListener('abort', cancel);
        stream.cancel();
      }
    };

  return {
    keyBalancer: unaryCalls(KeyBalancerService, invoke),
    keyAdmin: unaryCalls(KeyAdminService, invoke),
    watchHealth: streaming(KeyBalancerService.method.watchHealth),
    testKeys: streaming(KeyAdminService.method.testKeys),
    where,
    async close() {
      closed = true;
      client.close();
    },
  };
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

function deadline(timeoutMs: number): GrpcCallOptions {
  return { deadline: Date.now() + timeoutMs };
}

/** What the request allows the server to let it wait. */
function maxWaitMs(request: Message): number {
  const { maxWait } = request as { maxWait?: Duration };
  return maxWait === undefined ? 0 : durationMs(maxWait);
}
