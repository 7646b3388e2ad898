import { closeSync, constants, createReadStream, fstatSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { addAbortSignal, type Readable } from 'node:stream';
import { isatty, ReadStream } from 'node:tty';
import { redact } from '../gemini/redact.ts';
import { CliError, EXIT } from './exit-code.ts';

const CHUNK = 256 * 1024;

/**
 * The bytes of a file, a pipe, or "-", standard input. They end with an error when the signal comes, even while nothing
 * else does: a thread that waits in open() or read() would keep the process from ending. Throws if it cannot be read.
 */
export function openKeySource(path: string, signal: AbortSignal): Readable {
  return addAbortSignal(signal, openSource(path, 'a readable text file with keys'));
}

/** As openKeySource, until it ends. `allowed`: what the file should be, for whoever names another. */
export function openSource(path: string, allowed: string): Readable {
  return path === '-' ? process.stdin : openFile(path, allowed);
}

function openFile(path: string, allowed: string): Readable {
  let fd: number;
  try {
    // Without O_NONBLOCK, to open a named pipe waits for its writer.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw unusable(path, code === 'ENOENT' ? 'does not exist' : `cannot be read: ${code}`, allowed);
  }
  const info = fstatSync(fd);
  if (info.isDirectory()) {
    closeSync(fd);
    throw unusable(path, 'is a directory', allowed);
  }
  if (info.isFIFO()) return new Socket({ fd, readable: true, writable: false });
  if (isatty(fd)) return new ReadStream(fd);
  return createReadStream(path, { fd, highWaterMark: CHUNK });
}

function unusable(path: string, why: string, allowed: string): CliError {
  return new CliError(EXIT.failed, `FILE is ${redact(path)}, which ${why}; allowed: ${allowed}`);
}
