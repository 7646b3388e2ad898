/** What programs that a test starts have of its environment: where programs are, and where what is compiled is kept. */
export const INHERITED: Readonly<NodeJS.ProcessEnv> = {
  PATH: process.env.PATH,
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
  GOCACHE: process.env.GOCACHE,
};
