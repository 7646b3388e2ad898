import { resolve } from 'node:path';
import { invalidOption } from './errors.ts';

/** Where a server listens, as people write it and as grpc-js takes it. */
export interface Address {
  /** "HOST:PORT" or "unix:/absolute/path". */
  text: string;
  target: string;
  /** Whether what is sent there never leaves this machine. */
  local: boolean;
}

const ALLOWED = 'HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051, or unix:PATH';
const HOST_AND_PORT = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[(?:::1|(?:0{1,4}:){7}0{0,3}1)\])$/i;
/** More than anybody has; each has a channel of its own. */
const MOST_ADDRESSES = 64;

/** `name` is what errors call it. */
export function parseAddress(address: string, name = 'address'): Address {
  if (typeof address !== 'string') throw invalidOption(name, `a ${typeof address}`, ALLOWED);
  if (address.startsWith('unix:')) {
    const path = address.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
    if (path === '' || path.includes('\0')) throw refused(name, address);
    const absolute = resolve(path);
    return { text: `unix:${absolute}`, target: `unix:${absolute}`, local: true };
  }
  const [, host, port] = HOST_AND_PORT.exec(address) ?? [];
  if (host === undefined || Number(port) < 1 || Number(port) > 65_535) throw refused(name, address);
  return { text: address, target: `dns:${address}`, local: LOOPBACK.test(host) };
}

/** The addresses of a text that may list several, as the environment and the command line do: "a:1, b:2". */
export function addressList(text: string): string[] {
  return text.split(',').map((address) => address.trim());
}

/** One address, or several in the order in which they are tried; never none. */
export function parseAddresses(address: string | readonly string[], name = 'address'): Address[] {
  if (!Array.isArray(address)) return [parseAddress(address as string, name)];
  if (address.length < 1 || address.length > MOST_ADDRESSES) {
    throw invalidOption(name, `a list of ${address.length}`, `1 to ${MOST_ADDRESSES} of ${ALLOWED}`);
  }
  const parsed = (address as readonly string[]).map((each) => parseAddress(each, name));
  return parsed.filter(({ target }, index) => parsed.findIndex((other) => other.target === target) === index);
}

function refused(name: string, address: string): Error {
  return invalidOption(name, JSON.stringify(address.slice(0, 80)), ALLOWED);
}
