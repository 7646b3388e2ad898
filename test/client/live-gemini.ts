import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';

/** How a live session ends before it begins; undefined: it opens. */
export type LiveRefusal = { code: number; reason: string } | undefined;

export interface LiveGemini {
  /** To give as baseUrl. */
  readonly url: string;
  close(): Promise<void>;
}

/** What RFC 6455 adds to a client's key, to show that the server speaks WebSocket. */
const WEBSOCKET = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const TEXT = 1;
const CLOSE = 8;
/** RFC 6455 has no more for a close frame: two bytes of code, the rest is the reason. */
const LONGEST_REASON = 123;

/** The other half of the fake Gemini: live sessions, which open or are closed at once, as `refusal` says of each key. */
export async function startLiveGemini(refusal: (apiKey: string) => LiveRefusal): Promise<LiveGemini> {
  const server = createServer();
  /** The HTTP server lets go of what is upgraded. */
  const sessions = new Set<Duplex>();
  server.on('upgrade', (request, socket) => {
    sessions.add(socket);
    socket.on('close', () => sessions.delete(socket));
    const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${WEBSOCKET}`).digest('base64');
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    // Gemini closes when it has read the setup, which is the first that a client sends.
    socket.once('data', () => {
      const key = new URL(request.url ?? '/', 'http://live').searchParams.get('key') ?? '';
      const closed = refusal(key);
      if (closed === undefined) socket.write(frame(TEXT, Buffer.from('{"setupComplete":{}}')));
      else socket.end(frame(CLOSE, closePayload(closed)));
    });
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sessions) socket.destroy();
      }),
  };
}

function closePayload({ code, reason }: { code: number; reason: string }): Buffer {
  const words = Buffer.from(reason).subarray(0, LONGEST_REASON);
  const payload = Buffer.alloc(2 + words.length);
  payload.writeUInt16BE(code);
  words.copy(payload, 2);
  return payload;
}

/** Unmasked, as servers send; no payload here is longer than 125 bytes. */
function frame(opcode: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x80 | opcode, payload.length]), payload]);
}
