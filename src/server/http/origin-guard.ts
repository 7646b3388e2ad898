import type { IncomingHttpHeaders } from 'node:http';
import type { Refusal } from './json-reply.ts';

/**
 * Keeps web pages of others away from a door that hands out API keys. A page can make a browser send requests here in two ways:
 * by its own name pointed at a loopback address (DNS rebinding), which the Host header shows, and across sites, which the
 * Origin header shows. Nothing here ever allows a foreign origin, so there are no CORS headers either.
 */
export function foreignPage(headers: IncomingHttpHeaders, loopback: boolean): Refusal | undefined {
  const { host, origin } = headers;
  if (loopback && !isLoopbackHost(host)) {
    return refusal('Host', host, 'localhost, 127.0.0.1 or [::1], with any port, since the server listens on loopback');
  }
  if (origin !== undefined && !isSameHost(origin, host)) {
    return refusal('Origin', origin, `none, or http://${shown(host ?? '')}, which is what Host says`);
  }
  return undefined;
}

/** HOST or HOST:PORT of this machine alone. */
const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i;

function isLoopbackHost(host: string | undefined): boolean {
  return host !== undefined && LOOPBACK_HOST.test(host);
}

/** Whether a page of this origin was itself served under the name that its request goes to. */
function isSameHost(origin: string, host: string | undefined): boolean {
  if (host === undefined || !/^https?:\/\/[^/]+$/i.test(origin)) return false;
  const page = URL.parse(origin);
  // The origin's scheme for both, so that its default port may be left out on either side.
  const target = page && URL.parse(`${page.protocol}//${host}`);
  return page !== null && target !== null && page.host === target.host;
}

function refusal(header: string, value: string | undefined, allowed: string): Refusal {
  const given = value === undefined ? 'missing' : JSON.stringify(shown(value));
  return {
    status: 403,
    code: 'permission_denied',
    message: `the ${header} header is ${given}; allowed: ${allowed}`,
  };
}

function shown(value: string): string {
  return value.length > 80 ? `${value.slice(0, 80)}…` : value;
}
