import { allNodes, type Flag, type Node, type Value } from './tree.ts';

/** A completion of bash 3.2 or newer, with nothing of the bash-completion package. */
export function bashCompletion(root: Node): string {
  const nodes = allNodes(root);
  const values = nodes.flatMap(({ path, flags }) =>
    flags.flatMap(({ name, value }) => (value === undefined ? [] : [{ at: `${path}:${name}`, reply: replyOf(value) }])),
  );
  return `# Completion of keybalancer for bash: eval "$(keybalancer completion bash)"
_keybalancer() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} at='' skip='' word i
  COMPREPLY=()
  # Bash takes --flag=value apart.
  if [ "$cur" = = ]; then
    cur=''
  elif [ "$prev" = = ]; then
    prev=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [ -n "$skip" ]; then
      [ "$word" = = ] || skip=''
      continue
    fi
    case "$at:$word" in
${branches(nodes)}
    esac
  done
  if [ -n "$skip" ]; then
    case "$at:$prev" in
${values.map(({ at, reply }) => `      '${at}') ${reply} ;;`).join('\n')}
    esac
    return
  fi
  case "$at" in
${nodes.map(caseOf).join('\n')}
  esac
}
_keybalancer_words() {
  COMPREPLY=($(compgen -W "$1" -- "$cur"))
}
_keybalancer_paths() {
  compopt -o filenames 2>/dev/null
  local IFS=$'\\n'
  COMPREPLY=($(compgen "$1" -- "$cur"))
}
complete -F _keybalancer keybalancer
`;
}

/** What a word of the line means, for whoever looks for the command that it ends in. */
function branches(nodes: readonly Node[]): string {
  const down = nodes.flatMap(({ path, commands }) =>
    commands.map(({ name, path: below }) => `      '${path}:${name}') at='${below}' ;;`),
  );
  const valued = nodes.flatMap(({ path, flags }) =>
    flags.filter(({ value }) => value !== undefined).map(({ name }: Flag) => `'${path}:${name}'`),
  );
  return [...down, `      ${valued.join(' | \\\n        ')})\n        skip=1 ;;`].join('\n');
}

function caseOf({ path, flags, argument, commands }: Node): string {
  const words = commands.map(({ name }) => name);
  const reply = words.length > 0 ? `_keybalancer_words '${words.join(' ')}'` : replyOf(argument ?? { kind: 'other' });
  return `    '${path}')
      case "$cur" in
        -*) _keybalancer_words '${flags.map(({ name }) => name).join(' ')}' ;;
        *) ${reply} ;;
      esac
      ;;`;
}

function replyOf(value: Value): string {
  switch (value.kind) {
    case 'words':
      return `_keybalancer_words '${value.words.join(' ')}'`;
    case 'file':
      return '_keybalancer_paths -f';
    case 'directory':
      return '_keybalancer_paths -d';
    case 'other':
      return ':';
  }
}
