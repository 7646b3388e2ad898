import { PassThrough, Readable } from 'node:stream';
import { Output } from '../../src/cli/output.ts';
import { execute } from '../../src/cli/program.ts';
import { INHERITED } from './inherited.ts';
import { tempDir } from './temp-dir.ts';

export interface Ran {
  exitCode: number;
  stdout: string;
  stderr: string;
}

export interface HereOptions {
  /** Its environment beside HOME and where programs are, in place of this process's. */
  env?: NodeJS.ProcessEnv;
  /** Standard input. Default: empty. */
  input?: string;
  /** What standard output is, where it is a terminal. */
  terminal?: {
    colours: boolean;
    /** As LC_ALL has it. Default: none. */
    locale?: string;
  };
}

/** Two commands would read each other's environment and input. */
let lent = false;

/** Runs a command line in this process: much faster than cli(), for what is no matter of processes and signals. One at a time. */
export async function cliHere(args: readonly string[], options: HereOptions = {}): Promise<Ran> {
  const { env = {}, input = '', terminal } = options;
  const giveBack = lend({ HOME: tempDir(), ...INHERITED, ...env }, input);
  const [out, err] = [new PassThrough(), new PassThrough()];
  const shape = terminal && { isTTY: true, columns: 100, hasColors: () => terminal.colours };
  const output = new Output(
    Object.assign(out, shape) as unknown as NodeJS.WriteStream,
    err as unknown as NodeJS.WriteStream,
    terminal?.locale === undefined ? {} : { LC_ALL: terminal.locale },
  );
  const [stdout, stderr] = [textOf(out), textOf(err)];
  try {
    const exitCode = await execute(args, output);
    await output.complete();
    out.end();
    err.end();
    return { exitCode, stdout: await stdout, stderr: await stderr };
  } finally {
    giveBack();
  }
}

/** Gives this process another environment and standard input, and returns what takes them back. */
function lend(env: NodeJS.ProcessEnv, input: string): () => void {
  if (lent) throw new Error('one command at a time');
  lent = true;
  const [ownEnv, ownInput] = [{ ...process.env }, Object.getOwnPropertyDescriptor(process, 'stdin')!];
  setEnv(env);
  const stdin = Readable.from([Buffer.from(input)]);
  Object.defineProperty(process, 'stdin', { ...ownInput, get: () => stdin });
  return () => {
    setEnv(ownEnv);
    Object.defineProperty(process, 'stdin', ownInput);
    lent = false;
  };
}

/** In place: what reads the environment natively, such as os.homedir(), must see it too. */
function setEnv(env: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(process.env)) if (env[name] === undefined) delete process.env[name];
  for (const [name, value] of Object.entries(env)) if (value !== undefined) process.env[name] = value;
}

async function textOf(stream: PassThrough): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += chunk;
  return text;
}
