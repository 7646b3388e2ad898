import { fileURLToPath } from 'node:url';

/** The checkout, without a final slash. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
