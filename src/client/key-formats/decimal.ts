/** A number as people write it. JavaScript also takes 0x10 for 16. */
export const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
