import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  Metadata,
  type MethodDefinition,
} from '@grpc/grpc-js';
import { service as healthDefinition } from 'grpc-health-check';
import { onTestFinished } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import type { KeyBalancerError } from '../../src/client/errors.ts';
import { remoteError } from '../../src/client/remote-error.ts';
import {
  SessionRequestSchema,
  type SessionResponse,
  SessionResponseSchema,
  WatchHealthRequestSchema,
  type WatchHealthResponse,
  WatchHealthResponseSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';

/** A gRPC client of its own connection, for what the project's client has no method for. It ends with the test. */
export function rawClient(address: string, options: Record<string, unknown> = {}): Client {
  const client = new Client(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** Imports so many keys; gives their ids in order. */
export async function importKeys(balancer: Balancer, count: number, prefix = 'AQ.test-key'): Promise<string[]> {
  const keys = Array.from({ length: count }, (_, index) => ({ apiKey: `${prefix}-${String(index).padStart(6, '0')}` }));
  const { results } = await balancer.keyBalancer.importKeys({ keys });
  return results.map(({ keyId }) => keyId);
}

/** A stream as it was received: messages, and how it ended. */
export interface Received<T> {
  readonly messages: T[];
  readonly end: Promise<KeyBalancerError | undefined>;
}

/** Collects what a stream gives. */
export function received<T>(stream: NodeJS.EventEmitter): Received<T> {
  const messages: T[] = [];
  stream.on('data', (message: T) => messages.push(message));
  const end = new Promise<KeyBalancerError | undefined>((resolve) => {
    stream.on('end', () => resolve(undefined));
    stream.on('error', (error) => resolve(remoteError(error, 'the server')));
  });
  return { messages, end };
}

/** A Session stream. */
export function openSession(
  client: Client,
): ClientDuplexStream<MessageInitShape<typeof SessionRequestSchema>, SessionResponse> {
  return client.makeBidiStreamRequest(
    '/keybalancer.v1.KeyBalancerService/Session',
    (request: MessageInitShape<typeof SessionRequestSchema>) =>
      Buffer.from(toBinary(SessionRequestSchema, create(SessionRequestSchema, request))),
    (bytes) => fromBinary(SessionResponseSchema, bytes),
    new Metadata(),
  );
}

/** A WatchHealth stream. */
export function openWatch(
  client: Client,
  request: MessageInitShape<typeof WatchHealthRequestSchema> = {},
): ClientReadableStream<WatchHealthResponse> {
  return client.makeServerStreamRequest(
    '/keybalancer.v1.KeyBalancerService/WatchHealth',
    (message: MessageInitShape<typeof WatchHealthRequestSchema>) =>
      Buffer.from(toBinary(WatchHealthRequestSchema, create(WatchHealthRequestSchema, message))),
    (bytes) => fromBinary(WatchHealthResponseSchema, bytes),
    request,
    new Metadata(),
  );
}

interface HealthStatus {
  status: string;
}

/** grpc.health.v1.Health/Watch. */
export function watchServing(client: Client, service: string): ClientReadableStream<HealthStatus> {
  const { path, requestSerialize, responseDeserialize } = healthDefinition.Watch as MethodDefinition<
    { service: string },
    HealthStatus
  >;
  return client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, { service }, new Metadata());
}

/** grpc.health.v1.Health/Check. */
export function checkServing(client: Client, service: string): Promise<string> {
  const { path, requestSerialize, responseDeserialize } = healthDefinition.Check as MethodDefinition<
    { service: string },
    HealthStatus
  >;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { service }, new Metadata(), (error, reply) =>
      error === null ? resolve(reply!.status) : reject(error),
    );
  });
}
