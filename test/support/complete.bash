# complete.bash SCRIPT LINE...: what the completion in SCRIPT offers for each line, one line each.
. "$1"
shift
for line; do
  read -ra COMP_WORDS <<<"keybalancer $line"
  if [[ -z $line || $line = *" " ]]; then COMP_WORDS+=(""); fi
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  _keybalancer
  echo "${COMPREPLY[*]}"
done
