import { describe, expect, test } from 'vitest';
import { cacheCapacity, SecretCache } from '../../src/store/secret-cache.ts';

describe('cache of decrypted keys', () => {
  test.each([
    [0, 100],
    [99, 100],
    [100, 100],
    [101, 101],
    [1_000, 1_000],
    [5_000, 5_000],
    [100_000, 100_000],
    [1_000_000, 100_000],
  ])('holds, for %d keys, %d', (keys, capacity) => {
    expect(cacheCapacity(keys)).toBe(capacity);
    expect(cacheCapacity(keys, 7)).toBe(7);
  });

  test('counts hits and misses, and lets the least recently used go', () => {
    const cache = new SecretCache(2);
    cache.set(1, 'one');
    cache.set(2, 'two');
    expect(cache.get(1)).toBe('one');
    cache.set(3, 'three');
    expect(cache.get(2)).toBeUndefined();
    expect(cache.get(1)).toBe('one');
    cache.delete(1);
    expect(cache.get(1)).toBeUndefined();
    expect({ hits: cache.hits, misses: cache.misses, size: cache.size, capacity: cache.capacity }).toEqual({
      hits: 2,
      misses: 2,
      size: 1,
      capacity: 2,
    });
  });

  test('grows with the keys, keeping what it holds and in what order', () => {
    const cache = new SecretCache();
    for (let ordinal = 1; ordinal <= 100; ordinal++) cache.set(ordinal, `key ${ordinal}`);
    cache.get(1);
    cache.resize(150);
    const { capacity } = cache;
    expect(capacity).toBeGreaterThanOrEqual(150);
    expect(cache.size).toBe(100);
    // Fill it up to the brim and by one: 2 was the least recently used, not 1.
    for (let ordinal = 101; ordinal <= capacity + 1; ordinal++) cache.set(ordinal, `key ${ordinal}`);
    expect(cache.get(2)).toBeUndefined();
    expect(cache.get(1)).toBe('key 1');
  });

  test('does not shrink, and never goes beyond what was configured', () => {
    const grown = new SecretCache();
    grown.resize(2_000);
    const { capacity } = grown;
    grown.resize(10);
    expect(grown.capacity).toBe(capacity);
    const configured = new SecretCache(5);
    configured.resize(10_000);
    expect(configured.capacity).toBe(5);
  });

  test('of a million keys holds a hundred thousand', () => {
    const cache = new SecretCache();
    cache.resize(60_000);
    cache.resize(1_000_000);
    expect(cache.capacity).toBe(100_000);
  });
});
