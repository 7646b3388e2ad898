/** Of every gRPC door. */
export const LIMITS = {
  /** Largest message a client may send. */
  'grpc.max_receive_message_length': 4 * 1024 * 1024,
  /** Calls at once on one connection: more than the default max_waiting of a pool, so that waiting stops nobody's report. */
  'grpc.max_concurrent_streams': 20_000,
};
