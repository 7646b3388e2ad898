import type { WatchedKey } from './messages.ts';
import type { Scene } from './scene.ts';
import { causeInWords, time } from './words.ts';

/** Turns changes of single keys into news for people: what rests with a whole project is told once. */
export class News {
  readonly #scene: Scene;
  /** Projects' rests that were told, by project and model. */
  readonly #resting = new Set<string>();

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  changed(before: WatchedKey | undefined, now: WatchedKey): void {
    const was = before?.rests ?? [];
    for (const rest of now.rests) {
      if (was.some(({ model, cause }) => model === rest.model && cause === rest.cause)) continue;
      const who = rest.projectWide ? now.project : this.#nameOf(now);
      if (rest.projectWide && !this.#first(`${now.project}/${rest.model}`)) continue;
      const what = [
        causeInWords(rest.cause),
        ...(rest.model === '' ? [] : [rest.model]),
        time(rest.until - Date.now()),
      ];
      this.#scene.tell(`${who} rests: ${what.join(', ')}`);
    }
    for (const rest of was) {
      if (now.rests.some(({ model }) => model === rest.model)) continue;
      if (rest.projectWide && !this.#resting.delete(`${now.project}/${rest.model}`)) continue;
      const who = rest.projectWide ? now.project : this.#nameOf(now);
      this.#scene.tell(`${who} is back${rest.model === '' ? '' : ` for ${rest.model}`}`);
    }
  }

  #first(id: string): boolean {
    if (this.#resting.has(id)) return false;
    this.#resting.add(id);
    return true;
  }

  #nameOf({ keyId }: WatchedKey): string {
    return `key ${String(this.#scene.keys.get(keyId)?.number ?? '?').padStart(2, '0')}`;
  }
}
