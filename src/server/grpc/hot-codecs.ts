/** Codecs written by hand for the messages that carry the load, by full method name. What is not here goes by the generated ones. */
export const hotCodecs: Readonly<
  Record<string, { decode: (bytes: Buffer) => unknown; encode: (message: unknown) => Buffer } | undefined>
> = {};
