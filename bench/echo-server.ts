/** A grpc-js server that does nothing: what any gRPC service on Node costs before it does its work. Used by bench/acquire.sh. */
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';

const same = (bytes: Buffer): Buffer => bytes;
const echo = {
  path: '/bench.Echo/Echo',
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
};

const server = new Server({ 'grpc.max_concurrent_streams': 20_000 });
server.addService(
  { echo },
  { echo: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => callback(null, call.request) },
);
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`ready grpc=127.0.0.1:${port}`);
});
