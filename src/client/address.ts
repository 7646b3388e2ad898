import { resolve } from 'node:path';
import { invalidOption } from './errors.ts';

/** Where a server listens, as people write it and as grpc-js takes it. */
export interface Address {
  /** "HOST:PORT" or "unix:/absolute/path". */
  text: string;
  target: string;
}

const ALLOWED = 'HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051, or unix:PATH';
const HOST_AND_PORT = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/;

export function parseAddress(address: string): Address {
  if (typeof address !== 'string') throw invalidOption('address', `a ${typeof address}`, ALLOWED);
  if (address.startsWith('unix:')) {
    const path = address.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
    if (path === '' || path.includes('\0')) throw refused(address);
    const absolute = resolve(path);
    return { text: `unix:${absolute}`, target: `unix:${absolute}` };
  }
  const port = HOST_AND_PORT.exec(address)?.[2];
  if (port === undefined || Number(port) < 1 || Number(port) > 65_535) throw refused(address);
  return { text: address, target: `dns:${address}` };
}

function refused(address: string): Error {
  return invalidOption('address', JSON.stringify(address.slice(0, 80)), ALLOWED);
}
