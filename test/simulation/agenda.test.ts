import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Agenda } from '../../simulation/agenda.ts';

test('an agenda gives what comes first, as a sorted list would', () => {
  const step = fc.oneof(fc.record({ add: fc.integer({ min: 0, max: 50 }) }), fc.constant('take' as const));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const agenda = new Agenda<number>();
      const list: number[] = [];
      for (const each of steps) {
        if (each !== 'take') {
          agenda.add(each.add, each.add);
          list.push(each.add);
          list.sort((a, b) => a - b);
        } else if (list.length > 0) {
          expect(agenda.take()).toBe(list.shift());
        }
        expect(agenda.next).toBe(list[0] ?? Infinity);
      }
    }),
  );
});
