import { readFileSync, statSync } from 'node:fs';
import { CliError, EXIT, exitCodeOfSignal } from './exit-code.ts';

/** More than any key, less than a file given by mistake. */
const MOST_BYTES = 16 * 1024;

/** What keys send in raw mode; Ctrl-D ends the line as Enter does. */
const ENTER = ['\r', '\n', '\u0004'];
const CTRL_C = '\u0003';
const BACKSPACE = ['\u007f', '\b'];

/** One secret from standard input: a line of a pipe, or typed at a terminal that shows nothing of it. */
export async function readSecret(what: string): Promise<string> {
  const text = process.stdin.isTTY ? await typed(`${what}: `) : await piped(what);
  return onlyLine(text, what, 'on standard input');
}

/** The same from a file. `flag`: which option names it. */
export function secretInFile(path: string, flag: string, what: string): string {
  let text: string;
  try {
    if (statSync(path).size > MOST_BYTES) throw new CliError(EXIT.usage, `${flag} is longer than any ${what}`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(EXIT.failed, `${flag} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
  return onlyLine(text, what, `in the file of ${flag}`);
}

function onlyLine(text: string, what: string, where: string): string {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  if (lines.length === 0) throw new CliError(EXIT.usage, `no ${what} ${where}`);
  if (lines.length > 1) {
    throw new CliError(EXIT.usage, `${lines.length} lines ${where}, where one ${what} is expected`);
  }
  return (lines[0] as string).trim();
}

async function piped(what: string): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    size += (chunk as Buffer).length;
    if (size > MOST_BYTES) throw new CliError(EXIT.usage, `standard input is longer than any ${what}`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function typed(prompt: string): Promise<string> {
  const { stdin, stderr } = process;
  stderr.write(prompt);
  stdin.setRawMode(true);
  stdin.setEncoding('utf8');
  return new Promise((resolve, reject) => {
    let text = '';
    const end = (): void => {
      stdin.setRawMode(false);
      stdin.pause();
      stdin.off('data', onData);
      stderr.write('\n');
    };
    const onData = (data: string): void => {
      for (const character of data) {
        if (ENTER.includes(character)) {
          end();
          resolve(text);
          return;
        }
        if (character === CTRL_C) {
          end();
          reject(new CliError(exitCodeOfSignal('SIGINT'), 'interrupted'));
          return;
        }
        text = BACKSPACE.includes(character) ? text.slice(0, -1) : text + character;
      }
    };
    stdin.on('data', onData);
  });
}
