import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';

/** A TCP address. An IPv6 host is without its brackets. */
export interface HostPort {
  host: string;
  port: number;
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** HOST:PORT, with the brackets of an IPv6 host. undefined: it is none. A port is 0 to 65535. */
export function parseHostPort(text: string): HostPort | undefined {
  const parts = /^(?:\[([^[\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  if (parts === null) return undefined;
  const [, bracketed, bare, digits] = parts;
  const port = Number(digits);
  if (port > 65_535) return undefined;
  if (bracketed !== undefined) return isIPv6(bracketed) ? { host: bracketed, port } : undefined;
  const host = bare as string;
  // Digits and dots alone are an IPv4 address or a slip of the hand, never a name.
  const valid = /^[\d.]+$/.test(host) ? isIPv4(host) : /^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})$/.test(host);
  return valid ? { host, port } : undefined;
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether only this machine can reach it. A name other than localhost may stand for any address. */
export function isLoopback(host: string): boolean {
  const family = isIP(host);
  if (family === 0) return host.toLowerCase() === 'localhost';
  return LOOPBACK.check(host, family === 4 ? 'ipv4' : 'ipv6');
}
