/** Pages of a list of the API until its end: a page at a time in memory, and none asked for that nobody takes. */
export async function* pages<P extends { nextPageToken: string }>(
  next: (pageToken: string) => Promise<P>,
): AsyncGenerator<P> {
  let pageToken = '';
  do {
    const page = await next(pageToken);
    yield page;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}
