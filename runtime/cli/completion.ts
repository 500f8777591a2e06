/** Completion scripts for three shells, made from the command tree. */
import type { Command } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type ShellName = (typeof SHELLS)[number];

interface Place {
  /** Command words so far: "", "agent", "agent send". */
  readonly path: string;
  /** What may come next: commands, then options. */
  readonly words: readonly string[];
}

export function completionScript(program: Command, shell: ShellName): string {
  const places = placesOf(program, "", optionWords(program).filter((word) => word !== "--version"));
  switch (shell) {
    case "bash":
      return bashScript(places);
    case "zsh":
      return zshScript(places);
    default:
      return fishScript(places);
  }
}

function placesOf(command: Command, path: string, globals: readonly string[]): Place[] {
  const own = path === "" ? ["--version"] : optionWords(command);
  const here = { path, words: [...command.commands.map((child) => child.name()), ...own, ...globals, "--help"] };
  return [here, ...command.commands.flatMap((child) => placesOf(child, path === "" ? child.name() : `${path} ${child.name()}`, globals))];
}

function optionWords(command: Command): string[] {
  return command.options.flatMap((option) => option.long ?? []);
}

function paths(places: readonly Place[]): string {
  return places.flatMap((place) => (place.path === "" ? [] : `"${place.path}"`)).join("|");
}

function choices(places: readonly Place[]): string {
  return places.map((place) => `    "${place.path}") choices="${place.words.join(" ")}" ;;`).join("\n");
}

function bashScript(places: readonly Place[]): string {
  return `# sirsi completion for bash: source <(sirsi completion bash)
_sirsi() {
  local word place="" choices=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "\${place:+$place }$word" in
      ${paths(places)}) place="\${place:+$place }$word" ;;
    esac
  done
  case "$place" in
${choices(places)}
  esac
  COMPREPLY=($(compgen -W "$choices" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _sirsi sirsi
`;
}

function zshScript(places: readonly Place[]): string {
  return `#compdef sirsi
# sirsi completion for zsh: source <(sirsi completion zsh)
_sirsi() {
  local word place="" choices=""
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "\${place:+$place }$word" in
      ${paths(places)}) place="\${place:+$place }$word" ;;
    esac
  done
  case "$place" in
${choices(places)}
  esac
  compadd -- \${=choices} || _files
}
compdef _sirsi sirsi
`;
}

function fishScript(places: readonly Place[]): string {
  const cases = places.map((place) => `    case '${place.path}'\n      printf '%s\\n' ${place.words.join(" ")}`).join("\n");
  const known = places.flatMap((place) => (place.path === "" ? [] : `'${place.path}'`)).join(" ");
  return `# sirsi completion for fish: sirsi completion fish | source
function __sirsi_choices
  set -l place ''
  for word in (commandline -opc)[2..-1]
    set -l longer (string trim "$place $word")
    if contains -- "$longer" ${known}
      set place "$longer"
    end
  end
  switch "$place"
${cases}
  end
end
complete -c sirsi -a '(__sirsi_choices)'
`;
}
