import type { RequestFacts } from './request-facts.ts';
import { interactionsInAnswer, namesInAnswer, pageInAnswer, uploadName } from './resource-names.ts';

/** The resources that are in the project where a request ended well. `start`: of the answer's body. */
export function learnedNames(facts: RequestFacts, headers: Headers, start: string): string[] {
  const { resources, tellsResources, collection } = facts;
  // Also of what was deleted: who still asks for it then is answered at once, and not by one project after the other.
  const names: (string | undefined)[] = [...resources, uploadName(headers.get('x-goog-upload-url') ?? '')];
  if (tellsResources && start !== '') {
    names.push(...(collection === 'interactions' ? interactionsInAnswer(start) : namesInAnswer(start)));
    names.push(pageInAnswer(start, collection));
  }
  return names.filter((name) => name !== undefined);
}
