/** What programs that a test starts have of its environment: where programs are, and where those of Node are kept compiled. */
export const INHERITED: Readonly<NodeJS.ProcessEnv> = {
  PATH: process.env.PATH,
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
};
