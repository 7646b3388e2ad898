import { rateOf, type Scene } from '../scene.ts';
import { figure } from '../words.ts';

const PROGRESS_MS = 2_000;

/** Tells the scene in plain lines, for what is no terminal. */
export function openLines(scene: Scene, print: (line: string) => void): () => void {
  const began = Date.now();
  const line = (at: number, text: string): void => print(`${((at - began) / 1000).toFixed(1).padStart(5)} s  ${text}`);
  scene.onEvent = ({ at, text }) => line(at, text);
  const timer = setInterval(() => {
    if (scene.phase !== 'running') return;
    const rate = scene.backends.reduce((sum, backend) => sum + rateOf(backend), 0);
    const parts = scene.backends.map(({ part, counts }) => `${part.name} ${figure(counts.calls)}`);
    line(Date.now(), `${figure(scene.calls)} calls, ${figure(Math.round(rate))} a second (${parts.join(', ')})`);
  }, PROGRESS_MS);
  return () => {
    clearInterval(timer);
    scene.onEvent = () => {};
  };
}
