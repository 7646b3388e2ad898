/** Whether it is an http or https URL without user, query and fragment: in those, secrets travel that belong elsewhere. */
export function isPlainUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || !['http:', 'https:'].includes(url.protocol)) return false;
  return url.username === '' && url.password === '' && url.search === '' && url.hash === '';
}
