import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DeadlineHeap, type Due } from '../../src/engine/deadline-heap.ts';
import { type Waiter, WaitingQueue } from '../../src/engine/waiting-queue.ts';

function waiter(priority: number, arrival: number): Waiter {
  return { priority, arrival, previous: undefined, next: undefined, queue: undefined };
}

test('waiting acquires stand by priority, the larger first, and within one by arrival', () => {
  const step = fc.oneof(fc.record({ add: fc.integer({ min: -2, max: 2 }) }), fc.record({ remove: fc.nat(1_000) }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const queue = new WaitingQueue();
      let model: Waiter[] = [];
      let arrivals = 0;
      for (const each of steps) {
        if ('add' in each) {
          const fresh = waiter(each.add, ++arrivals);
          queue.add(fresh);
          model.push(fresh);
        } else if (model.length > 0) {
          const gone = model[each.remove % model.length]!;
          queue.remove(gone);
          queue.remove(gone);
          model = model.filter((one) => one !== gone);
        }
        model.sort((a, b) => b.priority - a.priority || a.arrival - b.arrival);
        expect(queue.size).toBe(model.length);
        const line: Waiter[] = [];
        for (let one = queue.first(); one !== undefined; one = queue.after(one)) line.push(one);
        expect(line.map(({ arrival }) => arrival)).toEqual(model.map(({ arrival }) => arrival));
        for (let i = 1; i < line.length; i++) expect(WaitingQueue.before(line[i - 1]!, line[i]!)).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
});

test('what falls due comes out by its deadline, whatever was added, moved and taken out', () => {
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.record({ set: fc.nat(29), at: fc.nat(100) }) },
    { weight: 4, arbitrary: fc.record({ drop: fc.nat(29) }) },
    { weight: 1, arbitrary: fc.record({ popUntil: fc.nat(20) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { minLength: 50, maxLength: 200 }), (steps) => {
      const heap = new DeadlineHeap<Due & { name: number }>();
      const items = Array.from({ length: 30 }, (_, name) => ({ name, deadline: 0, heapIndex: -1 }));
      const model = new Map<number, number>();
      for (const each of steps) {
        if ('set' in each) {
          heap.set(items[each.set]!, each.at);
          model.set(each.set, each.at);
        } else if ('drop' in each) {
          heap.delete(items[each.drop]!);
          model.delete(each.drop);
        } else {
          const due = heap.popDue(each.popUntil);
          const earliest = Math.min(...model.values());
          if (earliest > each.popUntil) expect(due).toBeUndefined();
          else {
            expect(model.get(due!.name)).toBe(earliest);
            model.delete(due!.name);
          }
        }
        expect(heap.size).toBe(model.size);
        expect(heap.next).toBe(Math.min(...model.values()));
        for (const item of items) expect(item.heapIndex >= 0).toBe(model.has(item.name));
      }
      const left = [...model.values()].sort((a, b) => a - b);
      expect(left.map(() => heap.popDue(100)!.deadline)).toEqual(left);
    }),
    { numRuns: 300 },
  );
});
