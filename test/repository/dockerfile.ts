import { readFileSync } from 'node:fs';

export interface Instruction {
  /** In upper case, such as RUN. */
  name: string;
  text: string;
  line: number;
}

export interface Stage {
  image: string;
  /** "": it has none. */
  alias: string;
  instructions: Instruction[];
}

export interface Copy {
  /** Stage it copies from; undefined: the build context. */
  from: string | undefined;
  sources: string[];
  target: string;
}

/** The stages of a Dockerfile, as far as ours goes: no heredocs, no parser directives, no ARG before the first FROM. */
export function readStages(path: string): Stage[] {
  const stages: Stage[] = [];
  for (const { name, text, line } of instructions(readFileSync(path, 'utf8'))) {
    if (name === 'FROM') {
      const match = /^(\S+)(?:\s+AS\s+(\S+))?$/i.exec(text);
      if (match === null) throw new Error(`line ${line}: FROM ${text} is not understood`);
      stages.push({ image: match[1]!, alias: match[2] ?? '', instructions: [] });
      continue;
    }
    const stage = stages.at(-1);
    if (stage === undefined) throw new Error(`line ${line}: ${name} before the first FROM`);
    stage.instructions.push({ name, text, line });
  }
  return stages;
}

export function textsOf(stage: Stage, name: string): string[] {
  return stage.instructions.filter((each) => each.name === name).map(({ text }) => text);
}

export function readCopy({ text, line }: Instruction): Copy {
  const words = text.split(/\s+/);
  const flags = words.filter((word) => word.startsWith('--'));
  const paths = words.filter((word) => !word.startsWith('--'));
  const from = flags.find((flag) => flag.startsWith('--from='))?.slice('--from='.length);
  const target = paths.pop();
  if (target === undefined || paths.length === 0 || flags.length > (from === undefined ? 0 : 1)) {
    throw new Error(`line ${line}: COPY ${text} is not understood`);
  }
  return { from, sources: paths, target };
}

/** The words of an instruction in exec form; undefined if it is in shell form. */
export function execForm(text: string): string[] | undefined {
  const start = text.indexOf('[');
  return start === -1 ? undefined : (JSON.parse(text.slice(start)) as string[]);
}

/** NAME=VALUE pairs of a stage's ENV, values without spaces. */
export function environmentOf(stage: Stage): Record<string, string> {
  const pairs = textsOf(stage, 'ENV').flatMap((text) => text.split(/\s+/));
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));
}

function* instructions(text: string): Generator<Instruction> {
  let pending: Instruction | undefined;
  for (const [index, raw] of text.split('\n').entries()) {
    if (raw.trim() === '' || raw.trimStart().startsWith('#')) continue;
    const continues = raw.endsWith('\\');
    const part = (continues ? raw.slice(0, -1) : raw).trim();
    if (pending === undefined) {
      const [name = ''] = part.split(/\s/, 1);
      pending = { name: name.toUpperCase(), text: part.slice(name.length).trim(), line: index + 1 };
    } else {
      pending.text += ` ${part}`;
    }
    if (continues) continue;
    yield pending;
    pending = undefined;
  }
  if (pending !== undefined) throw new Error(`line ${pending.line}: ${pending.name} does not end`);
}
