import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { redact } from '../../gemini/redact.ts';
import { CliError, EXIT } from '../exit-code.ts';
import type { Output } from '../output.ts';
import { type ExportFormat, FORMATS } from './formats.ts';

/**
 * Writes records to standard output, or to a new file that only its owner may read. A file that could not be written to its end is
 * taken away again. Resolves with how many there were.
 */
export async function writeRecords(
  parts: AsyncIterable<object[]>,
  { format, output: file }: { format: ExportFormat; output?: string },
  output: Output,
): Promise<number> {
  if (file === undefined) return writeAll(parts, format, (text) => output.write(text));
  const fd = create(file);
  try {
    const written = await writeAll(parts, format, (text) => void writeSync(fd, text));
    fsyncSync(fd);
    return written;
  } catch (error) {
    rmSync(file, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
}

async function writeAll(
  parts: AsyncIterable<object[]>,
  format: ExportFormat,
  write: (text: string) => Promise<void> | void,
): Promise<number> {
  const { before, record, between, after } = FORMATS[format];
  let written = 0;
  for await (const records of parts) {
    const [first] = records;
    if (first === undefined) continue;
    const text = records.map(record).join(between);
    await write((written === 0 ? before(Object.keys(first)) : between) + text);
    written += records.length;
  }
  if (written > 0 || format === 'json') await write(written === 0 ? before([]) + after : after);
  return written;
}

function create(file: string): number {
  try {
    return openSync(file, 'wx', 0o600);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'EEXIST' ? 'is there already' : `cannot be written: ${code}`;
    throw new CliError(EXIT.failed, `--output is ${redact(file)}, which ${why}; allowed: a file that is not there yet`);
  }
}
