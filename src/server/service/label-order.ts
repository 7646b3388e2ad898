/**
 * Labels in the order of their names. Clients in some languages send a map in another order each time, and a repeat of a
 * request must be the same content.
 */
export function inOrder(labels: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}
