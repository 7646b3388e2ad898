import { OperatorService } from '../gen/keybalancer/operator/v1/operator_pb.ts';
import { parseAddresses } from './address.ts';
import { type UnaryCalls, unaryCalls } from './balancer.ts';
import { credentialsOf } from './credentials.ts';
import { Endpoints } from './endpoints.ts';
import { GrpcCalls } from './grpc-calls.ts';

/** What the owner of a data dir does for an operator. Calls reject with KeyBalancerError. */
export interface Operator extends UnaryCalls<typeof OperatorService> {
  readonly backUp: ReturnType<typeof streamingBackUp>;
  readonly exportKeys: ReturnType<typeof streamingExport>;
  close(): void;
}

/** Checks and backups take as long as the database is large. */
const LONG_MS = 24 * 60 * 60 * 1000;

/** The operator's side of the socket in a data dir, unix:PATH. Connects with the first call. */
export function connectOperator(address: string): Operator {
  const addresses = parseAddresses(address);
  const credentials = credentialsOf({}, addresses);
  const endpoints = new Endpoints(addresses, credentials);
  const calls = new GrpcCalls(endpoints, credentials.metadata, LONG_MS);
  return {
    ...unaryCalls(OperatorService, calls.invoke),
    backUp: streamingBackUp(calls),
    exportKeys: streamingExport(calls),
    close() {
      calls.close();
      endpoints.close();
    },
  };
}

function streamingBackUp(calls: GrpcCalls) {
  return calls.streaming(OperatorService.method.backUp);
}

function streamingExport(calls: GrpcCalls) {
  return calls.streaming(OperatorService.method.exportKeys);
}
