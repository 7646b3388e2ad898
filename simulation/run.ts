import type { Report } from './account.ts';
import { type SchedulerMaker, simulate } from './day.ts';
import { KeyBalancer } from './keybalancer.ts';
import { drawLoad, type Load } from './load.ts';
import type { WindowKind } from './minute-window.ts';
import { Oracle } from './oracle.ts';
import { RoundRobin } from './round-robin.ts';
import { WaitingRoom } from './waiting-room.ts';
import { drawWorld, type World } from './world.ts';

/** One day, and what each scheduler made of it. */
export interface Run {
  readonly world: World;
  readonly load: Load;
  readonly oracle: Report;
  readonly roundRobin: Report;
  readonly keyBalancer: Report;
}

/** The oracle's first. */
export function reportsOf({ oracle, roundRobin, keyBalancer }: Run): [Report, ...Report[]] {
  return [oracle, roundRobin, keyBalancer];
}

/** `progress` hears of each step that is done, and how long it took in milliseconds. */
export function run(seed: number, window: WindowKind, progress: (step: string, tookMs: number) => void): Run {
  const timed = <T>(step: string, work: () => T): T => {
    const began = performance.now();
    const result = work();
    progress(step, performance.now() - began);
    return result;
  };
  const world = drawWorld(seed, window);
  const load = timed('load', () => drawLoad(world));
  const day = (name: string, make: SchedulerMaker): Report => timed(name, () => simulate(name, world, load, make));
  return {
    world,
    load,
    oracle: day('oracle', (callers) => new WaitingRoom(new Oracle(world), callers)),
    roundRobin: day('round robin', (callers) => new WaitingRoom(new RoundRobin(), callers)),
    keyBalancer: day('KeyBalancer', (callers, gemini) => new KeyBalancer(world, callers, gemini)),
  };
}
