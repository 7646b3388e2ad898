import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

/** The server's end of a WebSocket (RFC 6455), as far as JSON messages need it: no extensions, and nothing but text is sent. */
export interface WebSocketLine {
  send(message: unknown): void;
  close(code: number, reason: string): void;
}

interface Events {
  message(text: string): void;
  /** Whether it was closed in good order. Called once. */
  closed(orderly: boolean): void;
}

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
const FINAL = 0x80;
/** Larger messages are no test of anything here. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** Shakes hands. undefined: the request is no WebSocket's, and was refused. */
export function acceptWebSocket(request: IncomingMessage, socket: Duplex, events: Events): WebSocketLine | undefined {
  const key = request.headers['sec-websocket-key'];
  if (key === undefined) {
    socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
    return undefined;
  }
  const accept = createHash('sha1')
    .update(key + GUID)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
  );
  let waiting = Buffer.alloc(0);
  let parts: Buffer[] = [];
  let orderly = false;
  let closing = false;

  const write = (opcode: number, payload: Buffer): void => {
    if (socket.writable) socket.write(frame(opcode, payload));
  };
  const close = (code: number, reason: string): void => {
    if (closing) return;
    closing = true;
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(code);
    write(CLOSE, Buffer.concat([payload, Buffer.from(reason)]));
  };
  const take = (opcode: number, final: boolean, payload: Buffer): void => {
    if (opcode === CLOSE) {
      orderly = true;
      // The code comes back; without one, there is none to give.
      if (!closing) write(CLOSE, payload.subarray(0, 2));
      closing = true;
      socket.end();
    } else if (opcode === PING) write(PONG, payload);
    else if (opcode !== PONG) {
      parts.push(payload);
      if (!final) return;
      const text = Buffer.concat(parts).toString('utf8');
      parts = [];
      if (!closing) events.message(text);
    }
  };

  socket.on('data', (bytes: Buffer) => {
    waiting = Buffer.concat([waiting, bytes]);
    for (let next = nextFrame(waiting); next !== undefined; next = nextFrame(waiting)) {
      if (next.length > MAX_MESSAGE_BYTES) {
        socket.destroy();
        return;
      }
      waiting = waiting.subarray(next.length);
      take(next.opcode, next.final, next.payload);
    }
  });
  socket.on('error', () => undefined);
  socket.once('close', () => events.closed(orderly));
  return { send: (message) => write(TEXT, Buffer.from(JSON.stringify(message))), close };
}

/** Messages of a server are not masked. */
function frame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  if (length < 126) return Buffer.concat([Buffer.from([FINAL | opcode, length]), payload]);
  const long = length > 0xffff;
  const head = Buffer.alloc(long ? 10 : 4);
  head[0] = FINAL | opcode;
  head[1] = long ? 127 : 126;
  if (long) head.writeBigUInt64BE(BigInt(length), 2);
  else head.writeUInt16BE(length, 2);
  return Buffer.concat([head, payload]);
}

interface Frame {
  opcode: number;
  final: boolean;
  payload: Buffer;
  /** With its head. */
  length: number;
}

/** The first frame, if all of it is here. */
function nextFrame(bytes: Buffer): Frame | undefined {
  if (bytes.length < 2) return undefined;
  const [first, second] = [bytes[0]!, bytes[1]!];
  const short = second & 0x7f;
  const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
  const masked = (second & 0x80) !== 0;
  const head = 2 + lengthBytes + (masked ? 4 : 0);
  if (bytes.length < head) return undefined;
  const size = lengthBytes === 0 ? short : lengthBytes === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (bytes.length < head + size) {
    // Told before all of it is here, so that nobody waits for what will be refused.
    return size > MAX_MESSAGE_BYTES
      ? { opcode: TEXT, final: true, payload: bytes.subarray(0, 0), length: size }
      : undefined;
  }
  const payload = Buffer.from(bytes.subarray(head, head + size));
  if (masked) {
    const mask = bytes.subarray(head - 4, head);
    for (let at = 0; at < size; at++) payload[at] = payload[at]! ^ mask[at % 4]!;
  }
  return { opcode: first & 0x0f, final: (first & FINAL) !== 0, payload, length: head + size };
}
