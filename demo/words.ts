import { causeInWords as classInWords } from '../src/cli/words.ts';
import { ErrorClass } from '../src/gen/keybalancer/v1/keybalancer_pb.ts';

/** A class of error in the words of the command line; one that this demo does not know, by name. */
export function causeInWords(name: string): string {
  const known = Object.entries(ErrorClass).find(([each]) => each === name);
  return known === undefined ? name : classInWords(known[1]);
}

/** Such as "6,031". */
export function figure(value: number): string {
  return value.toLocaleString('en');
}

/** Such as "1 key", "2 keys". */
export function amount(value: number, noun: string, plural = `${noun}s`): string {
  return `${figure(value)} ${value === 1 ? noun : plural}`;
}

/** Such as "44.4 %". */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Such as "4 s" or "8 h". */
export function time(ms: number): string {
  return ms > 3_600_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.max(1, Math.ceil(ms / 1000))} s`;
}
