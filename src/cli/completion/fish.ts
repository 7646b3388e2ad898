import { allNodes, type Flag, type Node, type Value } from './tree.ts';

/** A completion of fish 3 or newer. */
export function fishCompletion(root: Node): string {
  const nodes = allNodes(root);
  const down = nodes.flatMap(({ path, commands }) =>
    commands.map(({ name, path: below }) => `            case '${path}:${name}'\n                set at '${below}'`),
  );
  const valued = nodes.flatMap(({ path, flags }) =>
    flags.filter(({ value }) => value !== undefined).map(({ name }) => `'${path}:${name}'`),
  );
  return `# Completion of keybalancer for fish: keybalancer completion fish | source
function __keybalancer_at --description 'whether the command line is in this command'
    set -l at ''
    set -l skip no
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if test $skip = yes
            set skip no
            continue
        end
        switch "$at:$word"
${down.join('\n')}
            case ${valued.join(' ')}
                set skip yes
        end
    end
    test "$at" = "$argv[1]"
end
complete -c keybalancer -f
${nodes.flatMap(linesOf).join('\n')}
`;
}

function linesOf({ path, flags, argument, commands }: Node): string[] {
  const here = `complete -c keybalancer -n ${quoted(`__keybalancer_at ${quoted(path)}`)}`;
  return [
    ...commands.map(({ name, summary }) => `${here} -a ${name} -d ${quoted(summary)}`),
    ...flags.map((flag) => `${here} ${flagOf(flag)}`),
    ...(commands.length > 0 || argument === undefined || argument.kind === 'other'
      ? []
      : [`${here} ${offered(argument)}`]),
  ];
}

function flagOf({ name, summary, value }: Flag): string {
  const about = `-l ${name.slice(2)} -d ${quoted(summary)}`;
  if (value === undefined) return about;
  return value.kind === 'other' ? `${about} -x` : `${about} -r ${offered(value)}`;
}

function offered(value: Exclude<Value, { kind: 'other' }>): string {
  switch (value.kind) {
    case 'words':
      return `-f -a ${quoted(value.words.join(' '))}`;
    case 'file':
      return '-F';
    case 'directory':
      return "-f -a '(__fish_complete_directories)'";
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
