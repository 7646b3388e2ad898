import { connect as connectHttp2 } from 'node:http2';
import { connect as connectSocket } from 'node:net';

/** A connection to the owner of a data dir that carries no calls: when it ends, the owner is gone, or going. */
export interface OwnerWatch {
  readonly gone: Promise<void>;
  close(): void;
}

/** Resolves when somebody listens at the socket, and rejects with the system's error when not: its file alone says nothing, since a killed owner leaves it behind. Does not keep the process alive. */
export function watchOwner(path: string): Promise<OwnerWatch> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      // HTTP/2, so that an owner that closes in good order says so at once, and does not wait for this connection.
      const session = connectHttp2('http://owner', { createConnection: () => socket });
      session.unref();
      session.on('error', () => {});
      const gone = new Promise<void>((done) => {
        session.once('goaway', () => done());
        session.once('close', () => done());
      });
      resolve({ gone, close: () => session.destroy() });
    });
  });
}
