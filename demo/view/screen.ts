import type { Scene } from '../scene.ts';
import { picture } from './picture.ts';
import { render, wantsColours } from './text.ts';

const FRAME_MS = 100;
const ALTERNATE_SCREEN = '\x1b[?1049h\x1b[?25l';
const NORMAL_SCREEN = '\x1b[?25h\x1b[?1049l';
/** Terminals that know these show a frame only when it is whole; others skip them. */
const FRAME_BEGINS = '\x1b[?2026h';
const FRAME_ENDS = '\x1b[?2026l';

/**
 * Draws the scene on the terminal's other screen, ten times a second, so that what was there before comes back unharmed. Lines are
 * written over, never cleared first: nothing flickers.
 */
export function openScreen(scene: Scene, terminal: NodeJS.WriteStream): () => void {
  const colours = wantsColours(terminal);
  const draw = (): void => {
    // Some terminals say 0, not knowing their size.
    const columns = terminal.columns || 80;
    const lines = picture(scene, terminal.rows || 24, Date.now()).map(
      (line) => `${render(line, columns, colours)}\x1b[K`,
    );
    terminal.write(`${FRAME_BEGINS}\x1b[H${lines.join('\r\n')}\x1b[J${FRAME_ENDS}`);
  };
  let open = true;
  const close = (): void => {
    if (!open) return;
    open = false;
    clearInterval(timer);
    terminal.off('resize', draw);
    terminal.write(NORMAL_SCREEN);
  };
  terminal.write(ALTERNATE_SCREEN);
  const timer = setInterval(draw, FRAME_MS);
  terminal.on('resize', draw);
  // However the process ends, the cursor comes back.
  process.once('exit', close);
  draw();
  return close;
}
