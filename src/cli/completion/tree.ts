import type { Command, Option } from 'commander';

/** What can stand in one place of a command line. */
export type Value =
  | { kind: 'words'; words: readonly string[] }
  | { kind: 'file' }
  | { kind: 'directory' }
  /** Something that only the user knows. */
  | { kind: 'other' };

/** An option, as a shell offers it. */
export interface Flag {
  /** With its dashes. */
  name: string;
  summary: string;
  /** undefined: a switch. */
  value: Value | undefined;
  /** What the help calls the value. */
  valueName: string;
}

/** A command and the way to it: "", "list", "pool list". */
export interface Node {
  path: string;
  name: string;
  summary: string;
  flags: readonly Flag[];
  /** Of its first argument; undefined: it takes none. */
  argument: Value | undefined;
  commands: readonly Node[];
}

/** A program and all that is below it, as its help has it. */
export function treeOf(command: Command, above?: string): Node {
  const help = command.createHelp();
  const path = above === undefined ? '' : `${above} ${command.name()}`.trim();
  const [first] = help.visibleArguments(command);
  return {
    path,
    name: command.name(),
    summary: command.summary(),
    flags: help.visibleOptions(command).flatMap(flagsOf),
    argument: first && expectedBy(first.name()),
    commands: help.visibleCommands(command).map((each) => treeOf(each, path)),
  };
}

/** A node and all below it. */
export function allNodes(node: Node): Node[] {
  return [node, ...node.commands.flatMap(allNodes)];
}

function flagsOf({ long, flags, description }: Option): Flag[] {
  if (!long) return [];
  const valueName = /<(.+)>/.exec(flags)?.[1] ?? '';
  // The rest says where else it can be set, for which the help is the place.
  const summary = description.replace(/(?:; or KEYBALANCER_|\s*\(default: ).*$/s, '');
  return [{ name: long, summary, value: valueName === '' ? undefined : expectedBy(valueName), valueName }];
}

/** By what the help calls it: "full|normal" names the words themselves, FILE and DIR say what there must be. */
function expectedBy(valueName: string): Value {
  if (valueName === 'FILE') return { kind: 'file' };
  if (valueName === 'DIR') return { kind: 'directory' };
  const words = valueName.split('|').filter((word) => /^[a-z][a-z0-9-]*$/.test(word));
  return words.length === 0 ? { kind: 'other' } : { kind: 'words', words };
}
