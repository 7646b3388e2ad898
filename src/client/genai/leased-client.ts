import { randomUUID } from 'node:crypto';
import type { GoogleGenAI } from '@google/genai';
import { checkGenAI } from '../genai-options.ts';
import type { GenAIOptions } from '../leased-genai.ts';
import { withAffinity } from './call-scope.ts';
import type { GenAIContext } from './context.ts';
import { leasedFetch } from './leased-fetch.ts';
import { leaseSessions } from './leased-live.ts';
import { sdkClient } from './sdk-client.ts';
import { endUnbegunStreams, tellAttempts } from './sdk-patches.ts';

/**
 * A real GoogleGenAI whose every HTTP request, and every live session, is made with a leased key, reported, and tried again with
 * others while that helps. Options are the SDK's own, less what the lease decides. Of the environment only the base URL counts,
 * KEYBALANCER_GEMINI_BASE_URL or GOOGLE_GEMINI_BASE_URL, as it does for what the balancer asks of Gemini itself.
 */
export function createLeasedGenAI(context: GenAIContext, options: GenAIOptions = {}): GoogleGenAI {
  checkGenAI(options);
  const ai = sdkClient(options, (send) => leasedFetch(context, send));
  tellAttempts(ai);
  endUnbegunStreams(ai);
  keepChatsTogether(ai);
  leaseSessions(ai, context);
  return ai;
}

/** The turns of a chat are made with the same key while it is free and well: what Gemini caches of them is the project's. */
function keepChatsTogether({ chats }: GoogleGenAI): void {
  const create = chats.create.bind(chats);
  chats.create = (params) => {
    const chat = create(params);
    const id = randomUUID();
    const sendMessage = chat.sendMessage.bind(chat);
    const sendMessageStream = chat.sendMessageStream.bind(chat);
    chat.sendMessage = (message) => withAffinity(id, () => sendMessage(message));
    chat.sendMessageStream = (message) => withAffinity(id, () => sendMessageStream(message));
    return chat;
  };
}
