import type { GenAIContext } from './context.ts';
import { LeasedRequest } from './leased-request.ts';
import { outgoing } from './outgoing.ts';

type Fetch = typeof globalThis.fetch;

/** A fetch that makes each request with a leased key, reports it, and tries again with others while that helps. */
export function leasedFetch(context: GenAIContext, inner: Fetch): Fetch {
  return (input, init) => {
    const response = leased(context, inner, input, init);
    context.running?.(response);
    return response;
  };
}

async function leased(context: GenAIContext, inner: Fetch, ...[input, init]: Parameters<Fetch>): Promise<Response> {
  const connection = await context.connected();
  const request = await outgoing(input, init);
  request.signal?.throwIfAborted();
  return new LeasedRequest(context, connection, request, inner).response();
}
