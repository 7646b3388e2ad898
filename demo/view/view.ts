import type { Scene } from '../scene.ts';
import { openLines } from './lines.ts';
import { openScreen } from './screen.ts';
import { type Line, render, wantsColours } from './text.ts';

/** Shows the running demo, and in the end its summary. */
export interface View {
  /** Stops showing, and leaves the terminal as it was. May be called twice. */
  close(): void;
  print(lines: readonly Line[]): void;
}

/** `quiet`: standard output is for figures alone. */
export function viewFor(scene: Scene, quiet: boolean): View {
  const { stdout } = process;
  const close = quiet
    ? () => {}
    : stdout.isTTY && process.env.TERM !== 'dumb'
      ? openScreen(scene, stdout)
      : openLines(scene, (line) => stdout.write(`${line}\n`));
  return {
    close,
    print(lines) {
      const colours = wantsColours(stdout);
      stdout.write(lines.map((line) => `${render(line, Infinity, colours)}\n`).join(''));
    },
  };
}
